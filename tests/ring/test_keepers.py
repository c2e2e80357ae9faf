"""Who keeps what while nodes are away."""

from __future__ import annotations

from itertools import combinations

from ring.keepers import Shared, keepers
from ring.layout import LiveLayouts
from ring.limits import PARTITIONS
from ring.placement import first_layout
from ring.quorum import Group, Placement
from tests.fakes.small_cluster import next_layout
from tests.ring.members import members

LAYOUT = first_layout(members("a", "b", "c", "a", "b", "c"), 3, "keepers")
LIVE = LiveLayouts((LAYOUT,))


def test_owners_keep_when_nobody_is_away() -> None:
    for partition in range(0, PARTITIONS, 97):
        assert keepers(LIVE.partition_placement(partition)) == LAYOUT.group(partition).owners


def test_for_each_owner_away_the_next_spare_that_is_there_keeps() -> None:
    group = LAYOUT.group(5)
    placement = Placement((group,))
    first, second = group.spares
    for away in group.owners:
        rest = tuple(node for node in group.owners if node != away)
        assert keepers(placement, (away,)) == (*rest, first)
        assert keepers(placement, (away, first)) == (*rest, second)
        assert keepers(placement, (away, first, second)) == rest
    one, two, three = group.owners
    assert keepers(placement, (one, two)) == (three, first, second)
    assert keepers(placement, (one, two, three)) == (first, second)


def test_a_spare_that_is_away_changes_nothing() -> None:
    group = LAYOUT.group(5)
    assert keepers(Placement((group,)), group.spares) == group.owners


def test_the_keepers_of_both_layouts_keep() -> None:
    one, two = Group(("a", "b"), ("c",)), Group(("b", "d"), ("a",))  # type: ignore[arg-type]  # names will do
    assert keepers(Placement((one, two))) == ("a", "b", "d")
    assert keepers(Placement((one, two)), ("b",)) == ("a", "c", "d")  # type: ignore[arg-type]  # names will do


def test_both_sides_agree_on_what_they_share() -> None:
    live = LiveLayouts((LAYOUT, next_layout(LAYOUT)))
    for one, other in combinations(LAYOUT.nodes, 2):
        for absent in ((), (LAYOUT.nodes[0],), (LAYOUT.nodes[5], LAYOUT.nodes[2])):
            here = Shared(live, one, other, absent)
            there = Shared(live, other, one, absent)
            for partition in range(0, PARTITIONS, 61):
                assert (partition in here) == (partition in there)
