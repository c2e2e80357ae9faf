"""What a store's records are in the eyes of repair: sums, lists and descriptions.

Rules:
1.  The sums of partitions are kept (node/fact_sums.py); what lies below a partition is counted anew
    each time, which with 4,096 partitions is some hundred records of a million.
2.  Nothing here blocks for long: records are looked at in slices of about a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from node.fact_sums import FactSums, PartitionFacts
from node.index.index_keys import partition_start
from node.table import Table
from ring.comparing import FACTS_MAX, Description, PrefixSum
from ring.digest import Algorithm, Digest
from ring.facts import EMPTY_FINGERPRINT, Facts, FactSum, short
from ring.limits import PARTITIONS
from ring.record import RecordKey, RecordState, Space

PARTITION_DIGITS: Final = 3
_SLICE: Final = 256
_CLAIMS: Final = 512
_DIGEST_AT: Final = 2  # behind space and algorithm

Visit = Callable[[bytes, RecordState], bool]

assert 16**PARTITION_DIGITS == PARTITIONS


class FactReader:
    """Over a table and the sums that it keeps up to date."""

    def __init__(self, table: Table, sums: FactSums) -> None:
        self._table = table
        self._sums = sums
        self._turns: dict[int, asyncio.Lock] = {}

    @property
    def facts(self) -> Facts:
        """How facts are made here."""
        return self._sums.facts

    async def partition(self, partition: int) -> PartitionFacts:
        """The sum over a partition, counted when nobody has asked before; not a copy."""
        counted = self._sums.counted(partition)
        if counted is None:
            async with self._turns.setdefault(partition, asyncio.Lock()):
                counted = self._sums.counted(partition) or await self._counted(partition)
            self._turns.pop(partition, None)
        return counted

    async def sums(self, prefixes: Sequence[str], shared: Sequence[int]) -> list[FactSum]:
        """The sum below each prefix, of what lies in the `shared` partitions (rising)."""
        found = {prefix: FactSum() for prefix in prefixes}
        widths = sorted({len(prefix) for prefix in found if len(prefix) <= PARTITION_DIGITS})
        if widths:
            for partition in shared:
                digits = _digits(partition)
                for width in widths:
                    total = found.get(digits[:width])
                    if total is not None:
                        total.add_all(await self.partition(partition))
        for partition, lengths in _within(found, shared, PARTITION_DIGITS + 1).items():

            def visit(raw: bytes, state: RecordState, lengths: list[int] = lengths) -> bool:
                facts, digits = self._facts_of(raw, state), raw[_DIGEST_AT:].hex()
                for length in lengths:
                    total = found.get(digits[:length])
                    if total is not None:
                        total.add_all(facts)
                return True

            await self._each(partition, visit)
        return [found[prefix] for prefix in prefixes]

    async def fingerprints(
        self, prefixes: Sequence[str], shared: Sequence[int]
    ) -> tuple[PrefixSum, ...]:
        """As they travel."""
        sums = await self.sums(prefixes, shared)
        return tuple(PrefixSum(found.fingerprint, found.count) for found in sums)

    async def listed(
        self, prefixes: Sequence[str], shared: Sequence[int]
    ) -> tuple[tuple[RecordKey, int], ...] | None:
        """Every record below the prefixes with its fact; None for more than FACTS_MAX.

        Prefixes are those of partitions or longer; shorter ones list nothing.
        """
        found: list[tuple[RecordKey, int]] = []
        wanted = dict.fromkeys(prefixes)
        for partition, lengths in _within(wanted, shared, PARTITION_DIGITS).items():

            def visit(raw: bytes, state: RecordState, lengths: list[int] = lengths) -> bool:
                digits = raw[_DIGEST_AT:].hex()
                if any(digits[:length] in wanted for length in lengths):
                    facts = self._facts_of(raw, state)
                    if facts.count:
                        found.append((RecordKey.from_raw(raw), short(facts.total)))
                return len(found) <= FACTS_MAX

            await self._each(partition, visit)
            if len(found) > FACTS_MAX:
                return None
        return tuple(found)

    def describe(self, key: RecordKey) -> Description:
        """All that is known here of a record."""
        raw = key.raw
        state = self._table.state(raw)
        if not state.claimed:
            return Description(state, EMPTY_FINGERPRINT)
        claims = FactSum()
        for claimant in self._claimants(raw):
            claims.add(self.facts.of_claim(raw, claimant))
        return Description(state, claims.fingerprint)

    async def walk(self, partition: int) -> list[tuple[RecordKey, RecordState]]:
        """Every record of a partition as it was when it was met, in order."""
        found: list[tuple[RecordKey, RecordState]] = []

        def visit(raw: bytes, state: RecordState) -> bool:
            found.append((RecordKey.from_raw(raw), state))
            return True

        await self._each(partition, visit)
        return found

    # --- steps ------------------------------------------------------------------------------------

    async def _counted(self, partition: int) -> PartitionFacts:
        counting = self._sums.begin(partition)

        def visit(raw: bytes, state: RecordState) -> bool:
            self._sums.count(counting, raw, state)
            if state.claimed:
                for claimant in self._claimants(raw):
                    counting.facts.add(self.facts.of_claim(raw, claimant))
            return True

        try:
            await self._each(partition, visit)
        except BaseException:
            self._sums.give_up(counting)
            raise
        return self._sums.finish(counting)

    def _facts_of(self, raw: bytes, state: RecordState) -> FactSum:
        facts = FactSum()
        fact = self.facts.of_record(raw, state)
        if fact is not None:
            facts.add(fact)
        if state.claimed:
            for claimant in self._claimants(raw):
                facts.add(self.facts.of_claim(raw, claimant))
        return facts

    async def _each(self, partition: int, visit: Visit) -> None:
        """Visit every record of a partition, in order, until a visit returns false.

        Between the reading of a record and its visit nothing else happens.
        """
        for space in Space:
            for algorithm in Algorithm:
                start = partition_start(space, algorithm, partition)
                end = partition_start(space, algorithm, partition + 1)
                done = False
                while not done:
                    keys = self._table.order.after(start, _SLICE)
                    done = len(keys) < _SLICE or keys[-1] >= end
                    for raw in keys:
                        if raw >= end:
                            break
                        if not visit(raw, self._table.state(raw)):
                            return
                    if not done:
                        start = keys[-1]
                        await asyncio.sleep(0)

    def _claimants(self, raw: bytes) -> Iterator[bytes]:
        after: Digest | None = None
        done = False
        while not done:
            page, done = self._table.claimants(raw, after, _CLAIMS)
            yield from (claimant.key for claimant in page)
            after = page[-1] if page else after


def _digits(partition: int) -> str:
    return f"{partition:0{PARTITION_DIGITS}x}"


def _within(
    prefixes: Iterable[str], shared: Sequence[int], least: int
) -> dict[int, list[int]]:
    """The shared partitions that prefixes of at least so many digits are in, and their lengths."""
    allowed = set(shared)
    found: dict[int, list[int]] = {}
    for prefix in prefixes:
        if len(prefix) >= least:
            partition = int(prefix[:PARTITION_DIGITS], 16)
            lengths = found.setdefault(partition, [])
            if len(prefix) not in lengths:
                lengths.append(len(prefix))
    return {partition: found[partition] for partition in sorted(found) if partition in allowed}
