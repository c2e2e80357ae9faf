"""Lives, layouts, floors and status from a peer: in bounds, or the peer's fault."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

from ring.codec import decode_reply, encode_reply, pack, unpack
from ring.control import (
    FloorsReply,
    Introduce,
    LayoutsReply,
    StatusReply,
    TeachLayouts,
    pack_layout,
    pack_life,
    parse_layout,
    parse_layouts,
    parse_life,
)
from ring.errors import PeerProtocol
from ring.layout import ZONE_CHARACTERS_MAX, Layout, LiveLayouts, Member
from ring.life import Life, NodeId
from ring.limits import (
    ENVELOPE_BYTES_MAX,
    GENERATION_MAX,
    MEMBERS_MAX,
    PARTITIONS,
    REPLICAS_MAX,
    SPARES_MAX,
)
from ring.placement import first_layout
from tests.ring.every_message import LAYOUT, LIFE
from tests.ring.members import members
from tests.ring.values import INTEGER_MAX, layouts, lives

Change = Callable[[list[object]], None]


def arrived(layout: Layout) -> list[object]:
    """As it comes out of msgpack, to be changed."""
    fields = unpack(pack(pack_layout(layout)))
    assert isinstance(fields, list)
    return fields


@given(lives)
def test_a_life_reads_back(life: Life) -> None:
    assert life == parse_life(unpack(pack(pack_life(life))))


@pytest.mark.parametrize(
    "value",
    [
        None,
        (1, 1),
        (1, 1, 1),
        (1, 1, b"123456789"),
        (1, 1, "12345678"),
        (-1, 1, b""),
        (1, INTEGER_MAX + 1, b""),
        (1.0, 1, b""),
    ],
)
def test_a_life_that_makes_no_sense_is_refused(value: object) -> None:
    with pytest.raises(PeerProtocol):
        parse_life(value)


@given(layouts())
@settings(max_examples=30)
def test_a_layout_reads_back(layout: Layout) -> None:
    assert layout == parse_layout(arrived(layout))


def test_a_first_layout_reads_back_and_places_alike() -> None:
    layout = first_layout(members("a", "b", "c", "c"), 3, "seed")
    (other,) = parse_layouts([arrived(layout)])

    assert layout == other
    assert LiveLayouts((other,)).partition_placement(9).eligible == layout.group(9).eligible


def put(at: int, value: object) -> Change:
    """A change that sets one field."""
    return lambda fields: fields.__setitem__(at, value)


def member(at: int, field: int, value: object) -> Change:
    """A change that sets one field of one member."""

    def change(fields: list[object]) -> None:
        rows = fields[4]
        assert isinstance(rows, list)
        rows[at][field] = value

    return change


def swap_table(*row: int) -> Change:
    return put(5, bytes(row) * (PARTITIONS * 2 // len(row)))


@pytest.mark.parametrize(
    "change",
    [
        put(0, 17),
        put(0, "x" * 65),
        put(1, 0),
        put(1, -1),
        put(2, 0),
        put(2, 2),  # the table has one owner and one spare
        put(2, REPLICAS_MAX + 1),
        put(2, 16),
        put(3, SPARES_MAX + 1),
        put(3, 0),
        put(4, []),
        put(4, [["a", "host:1", "zone", 1]]),
        put(4, [["a", "host:1", "zone", 1, "active"]]),  # fewer members than the table names
        put(5, b""),
        put(5, b"\0\1"),
        put(5, "\0\1" * PARTITIONS),
        swap_table(0, 2),  # no such member
        swap_table(0, 0),  # one member twice in a row
        put(5, b"\0\1" * (PARTITIONS - 1) + b"\1\1"),
        put(5, b"\0\1" * (PARTITIONS - 1) + b"\1\2"),
        put(6, None),
        put(6, [17]),
        put(6, ["x" * 65]),
        member(0, 0, "UPPER"),
        member(0, 0, "b"),  # the other's id
        member(0, 0, ""),
        member(0, 1, "nowhere"),
        member(0, 1, "host:0"),
        member(0, 2, ""),
        member(0, 2, "z" * (ZONE_CHARACTERS_MAX + 1)),
        member(0, 3, 0),
        member(0, 3, 1 << 32),
        member(0, 4, "asleep"),
        member(0, 4, 1),
    ],
)
def test_a_layout_that_makes_no_sense_is_the_peers_fault(change: Change) -> None:
    fields = arrived(LAYOUT)
    assert LAYOUT == parse_layout(fields)
    change(fields)

    with pytest.raises(PeerProtocol):
        parse_layout(fields)


def test_more_fields_of_a_layout_and_its_members_are_ignored() -> None:
    fields = arrived(LAYOUT)
    rows = fields[4]
    assert isinstance(rows, list)
    longer = [*fields, "new"]
    longer[4] = [[*row, "new"] for row in rows]

    assert LAYOUT == parse_layout(longer)


def test_layouts_live_together_when_they_rise_within_one_cluster() -> None:
    later = replace(LAYOUT, epoch=9)
    other = replace(later, cluster_id="another")
    one, two, three = map(arrived, (LAYOUT, later, other))

    assert (LAYOUT,) == parse_layouts([one])
    assert (LAYOUT, later) == parse_layouts([one, two])
    for together in ([], [two, one], [one, one], [one, three], [one, two, two]):
        with pytest.raises(PeerProtocol):
            parse_layouts(together)
        with pytest.raises(PeerProtocol):
            TeachLayouts.parse([together])
        with pytest.raises(PeerProtocol):
            LayoutsReply.parse([together])


def test_two_of_the_largest_layouts_fit_into_an_envelope() -> None:
    crowd = tuple(
        Member(NodeId(f"{at:0>63}"), f"{at:0>200}.example:65535", "\U0001f600" * 64, (1 << 32) - 1)
        for at in range(MEMBERS_MAX)
    )
    row = bytes(range(REPLICAS_MAX + SPARES_MAX))
    largest = Layout("f" * 64, 1, REPLICAS_MAX, SPARES_MAX, crowd, row * PARTITIONS)
    reply = LayoutsReply((largest, replace(largest, epoch=2)))
    envelope = encode_reply(1, reply, voter=True, sender=None)

    assert len(envelope) <= ENVELOPE_BYTES_MAX
    assert reply == decode_reply(envelope).outcome


@pytest.mark.parametrize(
    "floors",
    [[[PARTITIONS, 1]], [[-1, 1]], [[0, GENERATION_MAX + 1]], [[0]], [[0, 0]] * (PARTITIONS + 1)],
)
def test_floors_out_of_bounds_are_refused(floors: list[object]) -> None:
    with pytest.raises(PeerProtocol):
        FloorsReply.parse([floors])


def test_floors_of_all_partitions_fit_into_an_envelope() -> None:
    reply = FloorsReply(tuple((at, GENERATION_MAX) for at in range(PARTITIONS)))
    envelope = encode_reply(1, reply, voter=True, sender=None)

    assert len(envelope) <= ENVELOPE_BYTES_MAX
    assert reply == decode_reply(envelope).outcome


@pytest.mark.parametrize("node", ["x" * 65, b"a", 1, None])
def test_a_name_that_is_none_introduces_nobody(node: object) -> None:
    with pytest.raises(PeerProtocol):
        Introduce.parse([node, pack_life(LIFE), False, False])


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 1),
        (1, "x" * ((1 << 16) + 1)),
        (2, -1),
        (5, [["name"]]),
        (5, [["x" * 129, 1]]),
        (5, [["a", 1]] * 1_025),
    ],
)
def test_a_status_out_of_bounds_is_refused(at: int, value: object) -> None:
    fields: list[object] = ["voter", "", 0, 0, 0, []]
    assert StatusReply("voter", "", 0, 0, 0, ()) == StatusReply.parse(fields)
    fields[at] = value

    with pytest.raises(PeerProtocol):
        StatusReply.parse(fields)
