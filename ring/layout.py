"""Who is a member and who keeps what: an immutable value with an epoch.

A layout's table lists owners and spares for each of the 4,096 partitions.  It is written once (by
`ring/placement.py` for the first layout, later by a planner) and never recomputed; lookup is an
array index.  At most two layouts live at once, while a change is under way.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from ring.digest import Digest
from ring.errors import BadRequest
from ring.life import NodeId
from ring.limits import LAYOUTS_LIVE_MAX, MEMBERS_MAX, PARTITIONS, REPLICAS_MAX, SPARES_MAX
from ring.quorum import Group, Placement

ZONE_CHARACTERS_MAX: Final = 64
_PORTS: Final = 1 << 16
_NODE_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


class MemberState(enum.Enum):
    """Whether the table may use a member."""

    ACTIVE = "active"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Member:
    """A node as the layout knows it.

    address: host:port of the node protocol.  zone: failure domain.  capacity: relative weight.
    """

    node: NodeId
    address: str
    zone: str = "default"
    capacity: int = 1
    state: MemberState = MemberState.ACTIVE

    def __post_init__(self) -> None:
        if not _NODE_ID.fullmatch(self.node):
            raise BadRequest(f"node id {self.node!r} is not [a-z0-9][a-z0-9.-]{{0,62}}")
        match = _ADDRESS.fullmatch(self.address)
        if match is None or not 0 < int(match[2]) < _PORTS:
            raise BadRequest(f"address {self.address!r} of {self.node} is not host:port")
        if not self.zone or len(self.zone) > ZONE_CHARACTERS_MAX:
            raise BadRequest(f"zone of {self.node} must have 1 to {ZONE_CHARACTERS_MAX} characters")
        if not 0 < self.capacity < 1 << 32:
            raise BadRequest(f"capacity of {self.node} must be positive")


@dataclass(frozen=True, slots=True)
class Layout:
    """One epoch's members and table.

    cluster_id: hex; processes of different clusters refuse each other.
    table: PARTITIONS rows of `replicas` owner indices and `spares` spare indices into `members`,
        one byte each.
    retired: node ids that are refused for ever.
    """

    cluster_id: str
    epoch: int
    replicas: int
    spares: int
    members: tuple[Member, ...]
    table: bytes
    retired: tuple[NodeId, ...] = ()

    def __post_init__(self) -> None:
        assert self.epoch >= 1
        assert 1 <= self.replicas <= min(REPLICAS_MAX, len(self.members))
        assert self.spares <= SPARES_MAX
        assert len(self.members) <= MEMBERS_MAX
        assert len(self.table) == PARTITIONS * (self.replicas + self.spares)

    @property
    def write_quorum(self) -> int:
        """W."""
        return self.replicas // 2 + 1

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Ids of all members, in member order."""
        return tuple(member.node for member in self.members)

    def member(self, node: NodeId) -> Member | None:
        """The member of that id."""
        return next((member for member in self.members if member.node == node), None)

    def group(self, partition: int) -> Group:
        """Owners and spares of a partition."""
        ids = [self.members[index].node for index in self.row(partition)]
        return Group(tuple(ids[: self.replicas]), tuple(ids[self.replicas :]))

    def row(self, partition: int) -> bytes:
        """What the table says of a partition: owners, then spares."""
        width = self.replicas + self.spares
        return self.table[partition * width : (partition + 1) * width]


class LiveLayouts:
    """The layouts in force: one, or the old and the new while a change is under way.

    Placements are made once and shared, since every request asks for one; partitions that lie on
    the same nodes in the same order have the same one.
    """

    __slots__ = ("_by_rows", "_distinct", "_placements", "epochs", "layouts", "nodes",
                 "retired")

    def __init__(self, layouts: tuple[Layout, ...]) -> None:
        assert 1 <= len(layouts) <= LAYOUTS_LIVE_MAX
        assert len({layout.cluster_id for layout in layouts}) == 1
        self.layouts = layouts
        self.epochs = tuple(layout.epoch for layout in layouts)
        assert list(self.epochs) == sorted(set(self.epochs))
        every = [node for layout in reversed(layouts) for node in layout.nodes]
        self.nodes = tuple(dict.fromkeys(every))  # of all members; the newest layout's come first
        # Refused by now: what an older live layout still counts on is not.
        newest = layouts[-1].retired
        self.retired = tuple(n for n in newest if all(n in one.retired for one in layouts))
        self._placements: list[Placement | None] = [None] * PARTITIONS
        self._by_rows: dict[tuple[bytes, ...], Placement] = {}
        self._distinct: tuple[Placement, ...] | None = None

    @property
    def cluster_id(self) -> str:
        """Which cluster this is."""
        return self.layouts[-1].cluster_id

    @property
    def newest(self) -> Layout:
        """The layout with the highest epoch."""
        return self.layouts[-1]

    @property
    def members(self) -> tuple[Member, ...]:
        """Members of any live layout by id; the newest layout's word on each."""
        by_id = {member.node: member for layout in self.layouts for member in layout.members}
        return tuple(by_id[node] for node in sorted(by_id))

    def placement(self, digest: Digest) -> Placement:
        """Where a digest may be."""
        return self.partition_placement(digest.partition)

    def partition_placement(self, partition: int) -> Placement:
        """Where the digests of a partition may be."""
        placement = self._placements[partition]
        if placement is None:
            rows = tuple([layout.row(partition) for layout in self.layouts])
            placement = self._by_rows.get(rows)
            if placement is None:
                placement = Placement(tuple([layout.group(partition) for layout in self.layouts]))
                self._by_rows[rows] = placement
            self._placements[partition] = placement
        return placement

    def distinct_placements(self) -> tuple[Placement, ...]:
        """One placement for each choice of owners and spares, whatever their order.

        What holds of quorums in these holds in every partition; made once.
        """
        if self._distinct is None:
            chosen: dict[object, Placement] = {}
            each = map(self.partition_placement, range(PARTITIONS))
            for placement in {id(placement): placement for placement in each}.values():
                sets = [(frozenset(g.owners), frozenset(g.spares)) for g in placement.groups]
                chosen.setdefault(tuple(sets), placement)
            self._distinct = tuple(chosen.values())
        return self._distinct
