"""Sums over the facts of a table, by partition, kept up to date with every change of a record.

Rules:
1.  The table is counted when somebody first asks (node/fact_reader.py); until then a change costs
    nothing.  So a start counts nothing, and what went wrong is counted right after the next.
2.  While it is being counted, in the order of its keys, changes of keys that were counted already
    go into the sums, those behind them are met later.
3.  A chunk that many blobs share has a sum of its claims of its own, once somebody has added them
    up: else every look at it would take as long as it is popular.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from node.index.index_keys import partition_of
from node.record_row import unpack_row
from node.value_check import value_bytes
from ring.facts import Facts, FactSum, needs_value
from ring.record import RecordState

NO_CLUSTER: Final = ""
"""Of stores that nobody compares."""

CLAIMS_MANY: Final = 64
"""More claims on one record than that are added up once."""


class PartitionFacts(FactSum):
    """The facts of a partition.

    kept: how many of its records must have their bytes.  held: those that have them, and
    held_bytes: what these are together.  oldest_s: none of those was last hashed before this
    wall-clock second; None when that is not known of any.
    """

    kept: int = 0
    held: int = 0
    held_bytes: int = 0
    oldest_s: int | None = None

    def note_age(self, verified_at_s: int) -> None:
        """A copy that is here was last hashed at that second."""
        if self.oldest_s is None or verified_at_s < self.oldest_s:
            self.oldest_s = verified_at_s


class FactSums:
    """See the module.  A table tells it of every change, before and after.

    is_complete: whether everything was counted.
    """

    def __init__(self, facts: Facts | None = None) -> None:
        self.facts = facts or Facts(NO_CLUSTER)
        self.is_complete = False
        self._partitions: dict[int, PartitionFacts] = {}
        self._upto: bytes | None = None  # the last key that was counted
        self._dropped: Counter[int] = Counter()
        self._popular: dict[bytes, FactSum] = {}

    def partition(self, partition: int) -> PartitionFacts:
        """The sum over a partition, as far as it was counted; not a copy."""
        found = self._partitions.get(partition)
        if found is None:
            found = self._partitions[partition] = PartitionFacts()
        return found

    def counted(self) -> Iterator[tuple[int, PartitionFacts]]:
        """Partitions that have facts, in no order."""
        return ((partition, found) for partition, found in self._partitions.items() if found.count)

    def dropped(self, partition: int) -> int:
        """How many records of a partition were dropped so far."""
        return self._dropped[partition]

    def watches(self, key: bytes) -> bool:
        """Whether a change of this record has to be told."""
        return self._of(key) is not None

    def record_changed(self, key: bytes, before: int | None, after: int | None) -> None:
        """A row (node/record_row.py) was set, replaced or dropped."""
        if after is None:
            self._dropped[partition_of(key)] += 1
        found = self._of(key)
        if found is not None and before != after:
            if before is not None:
                self._count(found, key, unpack_row(before), -1)
            if after is not None:
                self._count(found, key, unpack_row(after), 1)

    def claim_added(self, key: bytes, claimant: bytes) -> None:
        """A claim that was not there before."""
        self._claim_changed(key, claimant, 1)

    def claim_dropped(self, key: bytes, claimant: bytes) -> None:
        """A claim that was there."""
        self._claim_changed(key, claimant, -1)

    def claims_on(self, key: bytes, claimants: Iterable[bytes]) -> FactSum:
        """The facts of the claims on a record, which are `claimants`; not a copy."""
        known = self._popular.get(key)
        if known is not None:
            return known
        claims = FactSum()
        for claimant in claimants:
            claims.add(self.facts.of_claim(key, claimant))
        if claims.count > CLAIMS_MANY and self.watches(key):
            self._popular[key] = claims
        return claims

    # --- counting ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Count the table; whoever counts tells of its records in order, then sets is_complete."""
        self.is_complete = False
        self._partitions.clear()
        self._popular.clear()
        self._upto = b""

    def count(self, key: bytes, state: RecordState, claimants: Iterable[bytes]) -> None:
        """The next record, and the claims on it."""
        found = self.partition(partition_of(key))
        self._count(found, key, state, 1)
        self._upto = key
        found.add_all(self.claims_on(key, claimants))

    def _of(self, key: bytes) -> PartitionFacts | None:
        if self.is_complete or (self._upto is not None and key <= self._upto):
            return self.partition(partition_of(key))
        return None

    def _claim_changed(self, key: bytes, claimant: bytes, sign: int) -> None:
        found = self._of(key)
        if found is None:
            return
        fact = self.facts.of_claim(key, claimant)
        found.add(fact, sign)
        popular = self._popular.get(key)
        if popular is not None:
            popular.add(fact, sign)
            if not popular.count:
                del self._popular[key]

    def _count(self, found: PartitionFacts, key: bytes, state: RecordState, sign: int) -> None:
        fact = self.facts.of_record(key, state)
        if fact is not None:
            found.add(fact, sign)
            if needs_value(state):
                found.kept += sign
                if state.held:
                    found.held += sign
                    found.held_bytes += sign * value_bytes(state.kind, state.size_bytes)
                    if sign > 0:
                        found.note_age(state.verified_at_s)
