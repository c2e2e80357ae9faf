"""Layouts: what a member may be, rows of the table, and the one or two layouts in force."""

from dataclasses import FrozenInstanceError, replace

import pytest

from ring.digest import Digest
from ring.errors import BadRequest
from ring.layout import ZONE_CHARACTERS_MAX, Layout, LiveLayouts, Member, MemberState
from ring.life import NodeId
from ring.limits import PARTITIONS
from ring.quorum import Group
from tests.ring.members import member, members

A, B, C, D = (NodeId(f"n{index}") for index in range(4))


def layout(*rows: tuple[int, ...], epoch: int = 1, replicas: int = 2) -> Layout:
    """Four members; the rows repeat until the table is full."""
    cells = b"".join(bytes(row) for row in rows) * (PARTITIONS // len(rows))
    return Layout("c1", epoch, replicas, len(rows[0]) - replicas, tuple(members(*"xxyy")), cells)


@pytest.mark.parametrize("node", ["a", "0", "node-1", "node.rack-2.example", "a" * 63])
def test_node_ids_that_may_be(node: str) -> None:
    assert node == member(node).node


@pytest.mark.parametrize(
    "node", ["", "A", "-a", ".a", "a_b", "a b", "a/b", "a\n", "ä", "a" * 64, "a\0"]
)
def test_a_node_id_that_may_not_be_is_told(node: str) -> None:
    with pytest.raises(BadRequest, match="node id"):
        Member(NodeId(node), "host:1")


@pytest.mark.parametrize(
    "address", ["host:1", "10.0.0.1:7071", "[::1]:7071", "a_b.example:65535", "[fe80::1]:1"]
)
def test_addresses_that_may_be(address: str) -> None:
    assert address == Member(A, address).address


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", ":1", "host:0", "host:65536", "host:99999", "host:-1", "host:1x",
     "::1:7071", "[::1]", "[x]:1", "http://host:1", "host:1\n", "ho st:1", "host:\u0661"],
)
def test_an_address_that_may_not_be_is_told(address: str) -> None:
    with pytest.raises(BadRequest, match="address"):
        Member(A, address)


@pytest.mark.parametrize("zone", ["", "z" * (ZONE_CHARACTERS_MAX + 1)])
def test_a_zone_that_may_not_be_is_told(zone: str) -> None:
    with pytest.raises(BadRequest, match="zone of n0"):
        Member(A, "host:1", zone)
    assert ZONE_CHARACTERS_MAX == len(Member(A, "host:1", "z" * ZONE_CHARACTERS_MAX).zone)


@pytest.mark.parametrize("capacity", [0, -1, 1 << 32])
def test_a_capacity_that_may_not_be_is_told(capacity: int) -> None:
    with pytest.raises(BadRequest, match="capacity of n0"):
        Member(A, "host:1", capacity=capacity)


def test_a_row_of_the_table_is_a_group() -> None:
    two = layout((0, 1, 2), (3, 2, 0))

    assert Group((A, B), (C,)) == two.group(0)
    assert Group((D, C), (A,)) == two.group(1)
    assert Group((D, C), (A,)) == two.group(PARTITIONS - 1)


def test_members_are_found_by_id() -> None:
    one = layout((0, 1))

    assert (A, B, C, D) == one.nodes
    assert one.members[2] == one.member(C)
    assert one.member(NodeId("other")) is None


@pytest.mark.parametrize(("replicas", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3)])
def test_a_quorum_is_more_than_half(replicas: int, quorum: int) -> None:
    assert quorum == layout(tuple(range(replicas)), replicas=replicas).write_quorum


def test_a_layout_never_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        layout((0, 1)).epoch = 2  # type: ignore[misc]  # the mistake under test


@pytest.mark.parametrize(
    ("epoch", "replicas", "spares", "cells"),
    [
        (0, 2, 0, 2),
        (1, 0, 2, 2),
        (1, 5, 0, 5),  # more than the members
        (1, 1, 3, 4),
        (1, 2, 0, 3),
    ],
)
def test_a_layout_that_makes_no_sense_cannot_be_made(
    epoch: int, replicas: int, spares: int, cells: int
) -> None:
    with pytest.raises(AssertionError):
        Layout("c1", epoch, replicas, spares, tuple(members(*"xxyy")), bytes(PARTITIONS * cells))


def test_one_layout_in_force() -> None:
    live = LiveLayouts((layout((0, 1, 2), (3, 2, 0)),))
    even, odd = Digest.parse("blake3:002" + "0" * 61), Digest.parse("blake3:fff" + "0" * 61)

    assert (1,) == live.epochs
    assert "c1" == live.cluster_id
    assert live.newest is live.layouts[0]
    assert (A, B) == live.placement(even).owners
    assert (C,) == live.placement(even).spares
    assert (D, C, A) == live.placement(odd).eligible


def test_two_layouts_in_force_place_by_both() -> None:
    old, new = layout((0, 1)), layout((1, 2), epoch=3)
    live = LiveLayouts((old, new))

    assert (1, 3) == live.epochs
    assert live.newest is new
    assert (Group((A, B)), Group((B, C))) == live.partition_placement(7).groups


def test_placements_are_made_once() -> None:
    live = LiveLayouts((layout((0, 1)),))
    digest = Digest.of(b"blob")

    assert live.placement(digest) is live.partition_placement(digest.partition)


def test_of_a_member_in_both_layouts_the_newer_word_counts() -> None:
    old = layout((0, 1))
    moved = replace(old.members[0], address="elsewhere:1", state=MemberState.DRAINING)
    new = replace(old, epoch=2, members=(moved, *old.members[1:], member("n9")))
    live = LiveLayouts((old, new))

    assert ("n0", "n1", "n2", "n3", "n9") == tuple(one.node for one in live.members)
    assert "elsewhere:1" == live.members[0].address


@pytest.mark.parametrize("epochs", [(2, 1), (1, 1), (1, 2, 3), ()])
def test_layouts_in_force_are_one_or_two_with_rising_epochs(epochs: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        LiveLayouts(tuple(layout((0, 1), epoch=epoch) for epoch in epochs))


def test_layouts_of_two_clusters_are_never_in_force_together() -> None:
    with pytest.raises(AssertionError):
        LiveLayouts((layout((0, 1)), replace(layout((0, 1), epoch=2), cluster_id="c2")))
