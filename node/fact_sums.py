"""Sums over the facts of a table, by partition, kept up to date with every change of a record.

Rules:
1.  A partition is counted when somebody first asks (node/fact_reader.py); until then a change of it
    costs nothing.  So a start counts nothing, and what went wrong is counted right after the next.
2.  While a partition is being counted, changes of keys that were counted already go into the sum,
    those behind them are met later.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from node.index.index_keys import partition_of
from node.record_row import unpack_row
from ring.facts import Facts, FactSum, needs_value
from ring.record import RecordState

NO_CLUSTER: Final = ""
"""Of stores that nobody compares."""


class PartitionFacts(FactSum):
    """The facts of a partition; kept: how many of its records must have their bytes."""

    kept: int = 0


class Counting(Struct):
    """A partition on its way.  upto: the last key that was counted."""

    partition: int
    facts: PartitionFacts
    upto: bytes = b""


class FactSums:
    """See the module.  A table tells it of every change, before and after."""

    def __init__(self, facts: Facts | None = None) -> None:
        self.facts = facts or Facts(NO_CLUSTER)
        self._counted: dict[int, PartitionFacts] = {}
        self._counting: dict[int, Counting] = {}

    def counted(self, partition: int) -> PartitionFacts | None:
        """The sum over a partition, None when it has not been counted."""
        return self._counted.get(partition)

    def watches(self, key: bytes) -> bool:
        """Whether a change of this record has to be told."""
        return self._of(key) is not None

    def record_changed(self, key: bytes, before: int | None, after: int | None) -> None:
        """A row (node/record_row.py) was set, replaced or dropped."""
        found = self._of(key)
        if found is not None and before != after:
            if before is not None:
                self._count(found, key, unpack_row(before), -1)
            if after is not None:
                self._count(found, key, unpack_row(after), 1)

    def claim_added(self, key: bytes, claimant: bytes) -> None:
        """A claim that was not there before."""
        found = self._of(key)
        if found is not None:
            found.add(self.facts.of_claim(key, claimant))

    def claim_dropped(self, key: bytes, claimant: bytes) -> None:
        """A claim that was there."""
        found = self._of(key)
        if found is not None:
            found.add(self.facts.of_claim(key, claimant), -1)

    # --- counting ---------------------------------------------------------------------------------

    def begin(self, partition: int) -> Counting:
        """Count a partition; whoever counts tells of its records in order, then calls `finish`."""
        counting = self._counting[partition] = Counting(partition, PartitionFacts())
        return counting

    def count(self, counting: Counting, key: bytes, state: RecordState) -> None:
        """The next record; its claims follow before anything else."""
        self._count(counting.facts, key, state, 1)
        counting.upto = key

    def finish(self, counting: Counting) -> PartitionFacts:
        """All records were told."""
        if self._counting.get(counting.partition) is counting:
            del self._counting[counting.partition]
            self._counted[counting.partition] = counting.facts
        return counting.facts

    def give_up(self, counting: Counting) -> None:
        """The counting ended early."""
        if self._counting.get(counting.partition) is counting:
            del self._counting[counting.partition]

    def _of(self, key: bytes) -> PartitionFacts | None:
        partition = partition_of(key)
        counted = self._counted.get(partition)
        if counted is not None or not self._counting:
            return counted
        counting = self._counting.get(partition)
        return counting.facts if counting is not None and key <= counting.upto else None

    def _count(self, found: PartitionFacts, key: bytes, state: RecordState, sign: int) -> None:
        fact = self.facts.of_record(key, state)
        if fact is not None:
            found.add(fact, sign)
            found.kept += sign * needs_value(state)
