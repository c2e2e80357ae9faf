"""The natural order of nodes for a partition, and the first layout that follows from it.

The order comes from consistent hashing (uhashring's own ring over MD5, not its ketama one, which
gives a small node no point at all); the walk takes a zone only once while there are zones left that
have none.  Epoch 1 is a pure function of the initial members, so that every process that was given
the same list computes the same table.  Later layouts are planned, not computed (they move as little
as possible); a golden file keeps this one from ever changing.

uhashring facts that this module hides: keys go through `str`, `range` yields fewer nodes than asked
for without a word when there are fewer, the ring mutates in place, and it makes `vnodes` points for
every unit of weight, however many that are.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from typing import Final

from blake3 import blake3
from uhashring import HashRing

from ring.errors import BadRequest
from ring.layout import Layout, Member, MemberState
from ring.life import NodeId
from ring.limits import MEMBERS_MAX, PARTITIONS, REPLICAS_MAX, SPARES_MAX

POINTS_PER_UNIT: Final = 160
UNITS_MAX: Final = 1_024  # 160,000 points; a start must not wait longer than for these
_CIRCLE: Final = 1 << 128  # points are MD5 hashes


class NaturalOrder:
    """Members in ring order from a partition's point, zones spread first.

    Points are in proportion to capacity.  Capacities are divided by what they have in common, so
    that bytes make the same ring as terabytes; where they still add up to more than UNITS_MAX they
    are rounded, to 1 at least.
    """

    __slots__ = ("_points", "_ring", "_zone_of")

    def __init__(self, members: Sequence[Member]) -> None:
        self._zone_of = {member.node: member.zone for member in members}
        self._ring = HashRing(
            {
                node: {"weight": units, "vnodes": POINTS_PER_UNIT}
                for node, units in _units(members).items()
            }
        )
        self._points: dict[NodeId, list[int]] = {}
        for point, node in self._ring.get_points():
            self._points.setdefault(NodeId(node), []).append(point)
        assert self._points.keys() == self._zone_of.keys()

    def of(self, partition: int) -> list[NodeId]:
        """Every member, most natural owner first: first those that open their zone, and so on."""
        rounds: list[list[NodeId]] = []
        met: dict[str, int] = {}
        for node in self._walk(self._ring.hashi(f"partition-{partition}")):
            zone = self._zone_of[node]
            turn = met.get(zone, 0)
            met[zone] = turn + 1
            if turn == len(rounds):
                rounds.append([])
            rounds[turn].append(node)
        return [node for nodes in rounds for node in nodes]

    def _walk(self, start: int) -> list[NodeId]:
        """Nodes by first point from `start`: as `HashRing.range`, but without every point."""
        first: dict[int, NodeId] = {}
        for node, points in self._points.items():
            at = bisect(points, start)
            first[points[at] if at < len(points) else points[0] + _CIRCLE] = node
        return [first[point] for point in sorted(first)]


def _units(members: Sequence[Member]) -> dict[NodeId, int]:
    common = math.gcd(*(member.capacity for member in members))
    units = {member.node: member.capacity // common for member in members}
    total = sum(units.values())
    if total <= UNITS_MAX:
        return units
    return {node: max(1, count * UNITS_MAX // total) for node, count in units.items()}


def first_layout(members: Sequence[Member], replicas: int, cluster_seed: str) -> Layout:
    """Epoch 1.

    cluster_seed: random text made by whoever writes the configuration; with the member list it
    makes the cluster id.  Raises BadRequest for a list that no layout can be made of.
    """
    members = tuple(sorted(members, key=lambda member: member.node))
    _check(members, replicas)
    spares = min(SPARES_MAX, len(members) - replicas)
    natural = NaturalOrder(members)
    index_of = {member.node: index for index, member in enumerate(members)}
    table = bytearray()
    for partition in range(PARTITIONS):
        order = natural.of(partition)
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
    _refuse_repeats("id", [member.node for member in members])
    _refuse_repeats("address", [member.address for member in members])
    if not 1 <= replicas <= REPLICAS_MAX:
        raise BadRequest(f"replicas must be 1 to {REPLICAS_MAX}, not {replicas}")
    if not replicas <= len(members) <= MEMBERS_MAX:
        raise BadRequest(
            f"{replicas} copies need {replicas} to {MEMBERS_MAX} members, got {len(members)}"
        )
    if any(member.state is not MemberState.ACTIVE for member in members):
        raise BadRequest("every member of a first layout is active")


def _refuse_repeats(what: str, values: Sequence[str]) -> None:
    for value, times in Counter(values).items():
        if times > 1:
            raise BadRequest(f"{times} members have the {what} {value!r}")


def _cluster_id(members: tuple[Member, ...], replicas: int, cluster_seed: str) -> str:
    """Ids, zones, capacities and the seed; addresses may change without making a new cluster."""
    lines = [f"{member.node} {member.zone} {member.capacity}" for member in members]
    text = "\n".join(["holdfast cluster 1", cluster_seed, str(replicas), *lines])
    return blake3(text.encode()).hexdigest()[:32]
