"""The natural order of nodes for a partition, and the first layout that follows from it.

The order comes from consistent hashing (uhashring's ketama ring, weighted by capacity); the walk
takes a zone only once while there are zones left that have none.  Epoch 1 is a pure function of
the initial members, so that every process that was given the same list computes the same table.
Later layouts are planned, not computed (they move as little as possible); a golden file keeps this
one from ever changing.

uhashring facts that this module hides: keys go through `str`, `range` yields fewer nodes than asked
for without a word when there are fewer, and the ring mutates in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from blake3 import blake3
from uhashring import HashRing

from ring.errors import BadRequest
from ring.layout import Layout, Member, MemberState
from ring.life import NodeId
from ring.limits import MEMBERS_MAX, PARTITIONS, REPLICAS_MAX, SPARES_MAX


def natural_order(members: Sequence[Member], partition: int, ring: HashRing) -> list[NodeId]:
    """All nodes in ring order from the partition's point, zones spread first."""
    zone_of = {member.node: member.zone for member in members}
    walk = [NodeId(entry["nodename"]) for entry in ring.range(f"partition-{partition}")]
    assert len(walk) == len(members)
    ordered: list[NodeId] = []
    while walk:
        taken: set[str] = set()
        rest: list[NodeId] = []
        for node in walk:
            fresh = zone_of[node] not in taken
            taken.add(zone_of[node])
            (ordered if fresh else rest).append(node)
        walk = rest
    return ordered


def first_layout(members: Sequence[Member], replicas: int, cluster_seed: str) -> Layout:
    """Epoch 1.

    cluster_seed: random text made by whoever writes the configuration; with the member list it
    makes the cluster id.  Raises BadRequest for a list that no layout can be made of.
    """
    members = tuple(sorted(members, key=lambda member: member.node))
    _check(members, replicas)
    spares = min(SPARES_MAX, len(members) - replicas)
    ring = HashRing(
        {member.node: {"weight": member.capacity, "vnodes": 160} for member in members}
    )
    index_of = {member.node: index for index, member in enumerate(members)}
    table = bytearray()
    for partition in range(PARTITIONS):
        order = natural_order(members, partition, ring)
        table += bytes(index_of[node] for node in order[: replicas + spares])
    return Layout(
        cluster_id=_cluster_id(members, replicas, cluster_seed),
        epoch=1,
        replicas=replicas,
        spares=spares,
        members=members,
        table=bytes(table),
    )


def _check(members: tuple[Member, ...], replicas: int) -> None:
    nodes = [member.node for member in members]
    addresses = [member.address for member in members]
    if len(set(nodes)) != len(nodes):
        raise BadRequest("two members have the same id")
    if len(set(addresses)) != len(addresses):
        raise BadRequest("two members have the same address")
    if not 1 <= replicas <= REPLICAS_MAX:
        raise BadRequest(f"replicas must be 1 to {REPLICAS_MAX}, not {replicas}")
    if not replicas <= len(members) <= MEMBERS_MAX:
        raise BadRequest(
            f"{replicas} copies need {replicas} to {MEMBERS_MAX} members, got {len(members)}"
        )
    if any(member.state is not MemberState.ACTIVE for member in members):
        raise BadRequest("every member of a first layout is active")


def _cluster_id(members: tuple[Member, ...], replicas: int, cluster_seed: str) -> str:
    """Ids, zones, capacities and the seed; addresses may change without making a new cluster."""
    lines = [f"{member.node} {member.zone} {member.capacity}" for member in members]
    text = "\n".join(["holdfast cluster 1", cluster_seed, str(replicas), *lines])
    return blake3(text.encode()).hexdigest()[:32]
