"""Whether what was pulled from a peer may still be taken in.

Source of the rule: the exhaustive model of deletes (docs/REPAIR.md).  A pull that was under way
while this node purged a tombstone could bring back what it buried.

Rule: nothing is taken in if, since the pull began, this node raised the partition's floor, forgot a
record of it, began or ceased to vote on it, ceased to be one that may hold it, or learnt layouts.
"""

from __future__ import annotations

from node.fact_reader import FactReader
from node.membership import Membership


class PullGuard:
    """Made when a pull begins; `holds` is asked when nobody else is at work on the record."""

    def __init__(self, facts: FactReader, membership: Membership, partition: int) -> None:
        self._facts = facts
        self._membership = membership
        self._partition = partition
        self._before = self._now()

    def holds(self) -> bool:
        """Whether nothing of the rule has happened."""
        return self._before == self._now()

    def _now(self) -> tuple[object, ...]:
        membership, partition = self._membership, self._partition
        return (
            self._facts.floor(partition),
            self._facts.dropped(partition),
            membership.votes(partition),
            membership.receiver_since,
            membership.layouts.live.epochs,
        )
