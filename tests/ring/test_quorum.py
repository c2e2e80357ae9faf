"""Ack sets and covers over every shape that fits: compared with the dumb definition."""

from itertools import chain, combinations

import pytest

from ring.life import NodeId
from ring.quorum import Group, Placement

SHAPES = [(owners, spares) for owners in range(1, 6) for spares in range(3)]


def group_of(owners: int, spares: int) -> Group:
    names = [NodeId(f"n{index}") for index in range(owners + spares)]
    return Group(tuple(names[:owners]), tuple(names[owners:]))


def every_subset(nodes: tuple[NodeId, ...]) -> list[tuple[NodeId, ...]]:
    sizes = range(len(nodes) + 1)
    return list(chain.from_iterable(combinations(nodes, size) for size in sizes))


@pytest.mark.parametrize(("owners", "spares"), SHAPES)
def test_a_cover_is_exactly_what_no_ack_set_avoids(owners: int, spares: int) -> None:
    group = group_of(owners, spares)
    subsets = every_subset(group.eligible)
    ack_sets = [set(nodes) for nodes in subsets if group.is_ack_set(nodes)]

    for nodes in subsets:
        meets_all = all(ack_set & set(nodes) for ack_set in ack_sets)

        assert meets_all == group.is_cover(nodes), nodes


@pytest.mark.parametrize(("owners", "spares"), SHAPES)
def test_an_ack_set_has_a_quorum_and_an_owner(owners: int, spares: int) -> None:
    group = group_of(owners, spares)

    for nodes in every_subset(group.eligible):
        enough = len(nodes) >= owners // 2 + 1
        has_owner = any(node in group.owners for node in nodes)

        assert (enough and has_owner) == group.is_ack_set(nodes)


def test_two_live_layouts_must_both_be_satisfied() -> None:
    a, b, c, d = (NodeId(name) for name in "abcd")
    placement = Placement((Group((a, b, c)), Group((b, c, d), (a,))))

    assert (a, b, c, d) == placement.owners
    assert () == placement.spares
    assert not placement.is_ack_set([a, d])
    assert placement.is_ack_set([b, c])
    assert not placement.is_cover([a, b])
    assert placement.is_cover([a, b, c, d])
