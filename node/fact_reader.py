"""What a store's records are in the eyes of repair: sums, lists and descriptions.

Rules:
1.  The sums of partitions are kept (node/fact_sums.py), from the first question on: then the whole
    table is counted once.  What lies below a partition is counted anew each time, which with 4,096
    partitions is some hundred records of a million.
2.  Nothing here blocks for long: records are looked at in slices of about a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Final

from node.fact_sums import FactSums, PartitionFacts
from node.index.index_keys import partition_start
from node.table import Table
from ring.comparing import FACTS_MAX, Description, PrefixSum
from ring.digest import Algorithm, Digest
from ring.facts import EMPTY_FINGERPRINT, Facts, FactSum, needs_value, short
from ring.limits import PARTITIONS
from ring.record import RecordKey, RecordState, Space

PARTITION_DIGITS: Final = 3
_SLICE: Final = 256
_SLICE_FIRST: Final = 32  # most partitions have no more of one algorithm
_CLAIMS: Final = 512
_DIGEST_AT: Final = 2  # behind space and algorithm

Visit = Callable[[bytes, RecordState], bool]

assert 16**PARTITION_DIGITS == PARTITIONS


class FactReader:
    """Over a table and the sums that it keeps up to date."""

    def __init__(self, table: Table, sums: FactSums) -> None:
        self._table = table
        self._sums = sums
        self._turn = asyncio.Lock()

    @property
    def facts(self) -> Facts:
        """How facts are made here."""
        return self._sums.facts

    async def partition(self, partition: int) -> PartitionFacts:
        """The sum over a partition; the first call waits until the table is counted.  Not a copy.
        """
        await self._ready()
        return self._sums.partition(partition)

    async def sums(self, prefixes: Sequence[str], shared: Container[int]) -> list[FactSum]:
        """The sum below each prefix, of what lies in the `shared` partitions."""
        found = {prefix: FactSum() for prefix in prefixes}
        await self._ready()
        widths = sorted({len(prefix) for prefix in found if len(prefix) <= PARTITION_DIGITS})
        if widths:
            for partition, facts in self._sums.counted():
                if partition in shared:
                    digits = _digits(partition)
                    for width in widths:
                        total = found.get(digits[:width])
                        if total is not None:
                            total.add_all(facts)
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
        self, prefixes: Sequence[str], shared: Container[int]
    ) -> tuple[PrefixSum, ...]:
        """As they travel."""
        sums = await self.sums(prefixes, shared)
        return tuple(PrefixSum(found.fingerprint, found.count) for found in sums)

    async def listed(
        self, prefixes: Sequence[str], shared: Container[int]
    ) -> tuple[tuple[RecordKey, int], ...] | None:
        """Every record below the prefixes with its fact; None for more than FACTS_MAX."""
        await self._ready()
        found: list[tuple[RecordKey, int]] = []
        wanted = dict.fromkeys(prefixes)
        inside = _within(wanted, shared, PARTITION_DIGITS)
        wide = [prefix for prefix in wanted if len(prefix) < PARTITION_DIGITS]
        for partition in self._below(wide, shared):
            inside[partition] = [*range(PARTITION_DIGITS)]
        for partition, lengths in sorted(inside.items()):

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

    async def counted(self) -> list[int]:
        """The partitions of which there are facts here, rising."""
        await self._ready()
        return sorted(partition for partition, _ in self._sums.counted())

    async def kept(self) -> list[tuple[int, PartitionFacts]]:
        """The partitions of which there are facts here, rising, with their sums; not copies."""
        await self._ready()
        return sorted(self._sums.counted(), key=lambda pair: pair[0])

    async def count_ages(self, partition: int) -> None:
        """Find out which of the partition's copies was hashed longest ago."""
        found = await self.partition(partition)
        found.oldest_s = None

        def visit(_raw: bytes, state: RecordState) -> bool:
            if state.held and needs_value(state):
                found.note_age(state.verified_at_s)
            return True

        await self._each(partition, visit)

    def floor(self, partition: int) -> int:
        """The highest generation ever purged there."""
        return self._table.floor(partition)

    def dropped(self, partition: int) -> int:
        """How many of its records this process has forgotten wholly; it only grows."""
        return self._sums.dropped(partition)

    def describe(self, key: RecordKey) -> Description:
        """All that is known here of a record."""
        raw = key.raw
        state = self._table.state(raw)
        if not state.claimed:
            return Description(state, EMPTY_FINGERPRINT)
        claims = self._sums.claims_on(raw, self._claimants(raw))
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

    async def _ready(self) -> None:
        if self._sums.is_complete:
            return
        async with self._turn:
            if not self._sums.is_complete:
                await self._count()

    async def _count(self) -> None:
        sums, table = self._sums, self._table
        sums.begin()
        after: bytes | None = None
        while keys := table.order.after(after, _SLICE):
            for raw in keys:
                state = table.glance(raw)
                sums.count(raw, state, self._claimants(raw) if state.claimed else ())
            after = keys[-1]
            await asyncio.sleep(0)
        sums.is_complete = True

    def _below(self, prefixes: Sequence[str], shared: Container[int]) -> list[int]:
        """The shared partitions below shorter prefixes, empty ones left out."""
        if not prefixes:
            return []
        return [
            partition
            for partition, _ in self._sums.counted()
            if partition in shared and _digits(partition).startswith(tuple(prefixes))
        ]

    def _facts_of(self, raw: bytes, state: RecordState) -> FactSum:
        facts = FactSum()
        fact = self.facts.of_record(raw, state)
        if fact is not None:
            facts.add(fact)
        if state.claimed:
            facts.add_all(self._sums.claims_on(raw, self._claimants(raw)))
        return facts

    async def _each(self, partition: int, visit: Visit) -> None:
        """Visit every record of a partition, in order, until a visit returns false.

        Between the reading of a record and its visit nothing else happens; others have their turn
        after each partition.
        """
        await asyncio.sleep(0)
        for space in Space:
            for algorithm in Algorithm:
                start = partition_start(space, algorithm, partition)
                end = partition_start(space, algorithm, partition + 1)
                done, limit = False, _SLICE_FIRST
                while not done:
                    keys = self._table.order.after(start, limit)
                    done = len(keys) < limit or keys[-1] >= end
                    for raw in keys:
                        if raw >= end:
                            break
                        if not visit(raw, self._table.glance(raw)):
                            return
                    if not done:
                        start, limit = keys[-1], _SLICE
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
    prefixes: Iterable[str], shared: Container[int], least: int
) -> dict[int, list[int]]:
    """The shared partitions that prefixes of at least so many digits are in, and their lengths."""
    found: dict[int, list[int]] = {}
    for prefix in prefixes:
        if len(prefix) >= least:
            partition = int(prefix[:PARTITION_DIGITS], 16)
            lengths = found.setdefault(partition, [])
            if len(prefix) not in lengths:
                lengths.append(len(prefix))
    return {partition: found[partition] for partition in sorted(found) if partition in shared}
