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
from ring.limits import PARTITIONS
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


def shared_partitions(
    live: LiveLayouts, one: NodeId, other: NodeId, absent: Collection[NodeId] = ()
) -> tuple[int, ...]:
    """The partitions that both keep, rising."""
    shared = []
    for partition in range(PARTITIONS):
        nodes = keepers(live.partition_placement(partition), absent)
        if one in nodes and other in nodes:
            shared.append(partition)
    return tuple(shared)


def kept_partitions(
    live: LiveLayouts, node: NodeId, absent: Collection[NodeId] = ()
) -> tuple[int, ...]:
    """The partitions that a node keeps, rising."""
    return shared_partitions(live, node, node, absent)
