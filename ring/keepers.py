"""Which nodes shall have the records of a partition: its owners, or who makes up for them.

Rules:
1.  A partition has as many keepers as it has owners: the owners that are there, and for each one
    that is away the next spare that is there, in table order.
2.  While two layouts live, the keepers of both keep.
3.  Two nodes that name the same absent nodes agree on who keeps what.
"""

from __future__ import annotations

from collections.abc import Collection

from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.quorum import Group, Placement


def keepers(placement: Placement, absent: Collection[NodeId] = ()) -> tuple[NodeId, ...]:
    """In the order of the tables, each once."""
    if not absent:
        return placement.owners
    found: dict[NodeId, None] = {}
    for group in placement.groups:
        found.update(dict.fromkeys(_keepers_of(group, absent)))
    return tuple(found)


def _keepers_of(group: Group, absent: Collection[NodeId]) -> list[NodeId]:
    owners = [node for node in group.owners if node not in absent]
    spares = [node for node in group.spares if node not in absent]
    return owners + spares[: len(group.owners) - len(owners)]


class Shared:
    """The partitions that two nodes both keep while `absent` are away, asked one by one."""

    __slots__ = ("_absent", "_known", "_live", "_one", "_other")

    def __init__(
        self, live: LiveLayouts, one: NodeId, other: NodeId, absent: Collection[NodeId] = ()
    ) -> None:
        self._live = live
        self._one = one
        self._other = other
        self._absent = absent
        self._known: dict[int, bool] = {}

    def __contains__(self, partition: object) -> bool:
        assert isinstance(partition, int)
        known = self._known.get(partition)
        if known is None:
            nodes = keepers(self._live.partition_placement(partition), self._absent)
            known = self._known[partition] = self._one in nodes and self._other in nodes
        return known
