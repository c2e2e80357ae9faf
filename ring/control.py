"""Messages about nodes rather than records: introduction, layouts, floors, status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from ring.errors import BadRequest, PeerProtocol
from ring.fields import Packed, flag, integer, items, octets, row, text
from ring.layout import Layout, Member, MemberState
from ring.life import Life, NodeId
from ring.limits import GENERATION_MAX, MEMBERS_MAX, PARTITIONS, REPLICAS_MAX, SPARES_MAX
from ring.messages import Reply, Request

Lives = tuple[tuple[NodeId, Life], ...]


def pack_life(life: Life) -> Packed:
    """incarnation, boot, nonce."""
    return (life.incarnation, life.boot, life.nonce.to_bytes(8, "big"))


def parse_life(value: object) -> Life:
    """Read `pack_life`."""
    incarnation, boot, nonce = row(value, 3)
    return Life(integer(incarnation), integer(boot), int.from_bytes(octets(nonce, 8), "big"))


def pack_lives(lives: Lives) -> list[Packed]:
    """Pairs of node id and life."""
    return [(node, pack_life(life)) for node, life in lives]


def parse_lives(value: object) -> Lives:
    """Read `pack_lives`."""
    pairs = [row(pair, 2) for pair in items(value, 4 * MEMBERS_MAX)]
    return tuple((NodeId(text(node, 64)), parse_life(life)) for node, life in pairs)


def pack_layout(layout: Layout) -> Packed:
    """All fields of a layout; members as id, address, zone, capacity, state."""
    members = [
        (member.node, member.address, member.zone, member.capacity, member.state.value)
        for member in layout.members
    ]
    return (
        layout.cluster_id,
        layout.epoch,
        layout.replicas,
        layout.spares,
        members,
        layout.table,
        list(layout.retired),
    )


def parse_layout(value: object) -> Layout:
    """Read `pack_layout`; raises PeerProtocol."""
    cluster, epoch, replicas, spares, rows, table, retired = row(value, 7)
    try:
        members = tuple(_member(fields) for fields in items(rows, MEMBERS_MAX))
    except (BadRequest, ValueError) as error:
        raise PeerProtocol(f"layout: {error}") from error
    owned, spared = integer(replicas, REPLICAS_MAX), integer(spares, SPARES_MAX)
    cells = octets(table)
    _check_table(cells, owned, owned + spared, len(members))
    if integer(epoch) < 1 or len({member.node for member in members}) != len(members):
        raise PeerProtocol("layout without an epoch, or with two members of one name")
    return Layout(
        cluster_id=text(cluster, 64),
        epoch=integer(epoch),
        replicas=owned,
        spares=spared,
        members=members,
        table=cells,
        retired=tuple(NodeId(text(node, 64)) for node in items(retired)),
    )


def _check_table(cells: bytes, replicas: int, width: int, members: int) -> None:
    """Every row names as many different members as it has places."""
    if not 1 <= replicas <= members or len(cells) != PARTITIONS * width or max(cells) >= members:
        raise PeerProtocol("layout table does not fit its members")
    rows = {cells[start : start + width] for start in range(0, len(cells), width)}
    if any(len(set(places)) != width for places in rows):
        raise PeerProtocol("layout table names a member twice for one partition")


def _member(fields: object) -> Member:
    node, address, zone, capacity, state = row(fields, 5)
    return Member(
        NodeId(text(node, 64)),
        text(address, 300),
        text(zone, 64),
        integer(capacity),
        MemberState(text(state, 16)),
    )


class Introduce(Request, frozen=True):
    """A node tells a peer which life it is in.

    The peer stores a later life durably before it answers, and answers Fenced when it remembers
    one that this does not exceed.  `blank` asks only: a node without a marker wants to know
    whether anybody remembers it, and claims no life yet.
    """

    op = 32
    node: NodeId
    life: Life
    blank: bool
    receiver: bool

    def pack(self) -> Packed:
        return (self.node, pack_life(self.life), self.blank, self.receiver)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        node, life, blank, receiver = row(fields, 4)
        return cls(NodeId(text(node, 64)), parse_life(life), flag(blank), flag(receiver))


class IntroducedReply(Reply, frozen=True):
    """What the peer remembered of the asker before (None: never heard of), and of everybody."""

    op = 33
    remembered: Life | None
    lives: Lives

    def pack(self) -> Packed:
        remembered = None if self.remembered is None else pack_life(self.remembered)
        return (remembered, pack_lives(self.lives))

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        remembered, lives = row(fields, 2)
        return cls(None if remembered is None else parse_life(remembered), parse_lives(lives))


class FetchLayouts(Request, frozen=True):
    """The live layouts, whatever the asker knows."""

    op = 34

    def pack(self) -> Packed:
        return ()

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        row(fields, 0)
        return cls()


class TeachLayouts(Request, frozen=True):
    """Learn these live layouts; answers LayoutsReply with what is in force afterwards."""

    op = 35
    layouts: tuple[Layout, ...]

    def pack(self) -> Packed:
        return ([pack_layout(layout) for layout in self.layouts],)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (layouts,) = row(fields, 1)
        return cls(parse_layouts(layouts))


def parse_layouts(value: object) -> tuple[Layout, ...]:
    """One or two layouts of one cluster with rising epochs; raises PeerProtocol."""
    layouts = tuple(parse_layout(fields) for fields in items(value, 2))
    epochs = [layout.epoch for layout in layouts]
    clusters = [layout.cluster_id for layout in layouts]
    if not layouts or epochs != sorted(set(epochs)) or clusters.count(clusters[0]) != len(layouts):
        raise PeerProtocol(f"layouts of epochs {epochs} cannot live together")
    return layouts


class LayoutsReply(Reply, frozen=True):
    """The live layouts of the answering node."""

    op = 36
    layouts: tuple[Layout, ...]

    def pack(self) -> Packed:
        return ([pack_layout(layout) for layout in self.layouts],)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (layouts,) = row(fields, 1)
        return cls(parse_layouts(layouts))


class GetFloors(Request, frozen=True):
    """The floors that are above 0."""

    op = 37

    def pack(self) -> Packed:
        return ()

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        row(fields, 0)
        return cls()


class FloorsReply(Reply, frozen=True):
    """Pairs of partition and floor, by partition."""

    op = 38
    floors: tuple[tuple[int, int], ...]

    def pack(self) -> Packed:
        return (list(self.floors),)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (floors,) = row(fields, 1)
        pairs = [row(pair, 2) for pair in items(floors, PARTITIONS)]
        return cls(
            tuple(
                (integer(partition, PARTITIONS - 1), integer(floor, GENERATION_MAX))
                for partition, floor in pairs
            )
        )


class GetStatus(Request, frozen=True):
    """How the node is."""

    op = 39

    def pack(self) -> Packed:
        return ()

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        row(fields, 0)
        return cls()


class StatusReply(Reply, frozen=True):
    """What an operator wants to know of a node; counts are since its start.

    state: "voter", "receiver", "fenced", "mending" (its index is made anew) or "out of service",
        with the reason in words.
    counters: name and value, by name (quarantined_total, put_total ...).
    """

    op = 40
    state: str
    reason: str
    records: int
    bytes_stored: int
    bytes_free: int
    counters: tuple[tuple[str, int], ...]

    def pack(self) -> Packed:
        return (
            self.state,
            self.reason,
            self.records,
            self.bytes_stored,
            self.bytes_free,
            list(self.counters),
        )

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        state, reason, records, stored, free, counters = row(fields, 6)
        pairs = [row(pair, 2) for pair in items(counters, 1024)]
        return cls(
            text(state),
            text(reason),
            integer(records),
            integer(stored),
            integer(free),
            tuple((text(name, 128), integer(value)) for name, value in pairs),
        )
