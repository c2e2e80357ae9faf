"""The first layout: pinned by a golden file, spread over zones, the same for everybody."""

import math
import re
from collections import Counter
from dataclasses import replace
from itertools import combinations, permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uhashring import HashRing

from ring.digest import Algorithm, Digest
from ring.errors import BadRequest
from ring.layout import LiveLayouts, Member, MemberState
from ring.life import NodeId
from ring.limits import MEMBERS_MAX, PARTITIONS, REPLICAS_MAX
from ring.placement import POINTS_PER_UNIT, NaturalOrder, first_layout
from tests.golden.golden_file import Golden
from tests.ring.members import member, member_lists, members

PARTITION_NUMBERS = st.integers(0, PARTITIONS - 1)

PINNED = [
    member("amber", "east", 4),
    member("birch", "east", 2),
    member("cedar", "north", 3),
    member("delta", "north", 1),
    member("ember", "south", 2),
    member("flint", "south", 2),
    member("grove", "west", 5),
]


def test_placement_never_changes(golden: Golden) -> None:
    """A change of this file moves the data of every cluster that a user has."""
    layout = first_layout(PINNED, 3, "golden")
    live = LiveLayouts((layout,))
    lines = [f"cluster {layout.cluster_id}"]
    for index in range(1_000):
        digest = Digest.of(b"%d" % index, list(Algorithm)[index % 3])
        placement = live.placement(digest)
        owners, spares = " ".join(placement.owners), " ".join(placement.spares)
        lines.append(f"{digest.algorithm.label}:{digest.hex[:16]} {owners} | {spares}")

    golden.check("placement.txt", "\n".join(lines) + "\n")


def test_whole_tables_never_change(golden: Golden) -> None:
    """Of lists at the edges: alone, many, and capacities that have to be rounded."""
    disks = (931, 931, 1_863, 3_726, 3_726, 7_452, 14_901)
    lists = {
        "one": members("a"),
        "three": members("a", "a", "a"),
        "fifty in five zones": members(*"abcde" * 10),
        "gigabytes": [member(f"n{at}", "ab"[at % 2], size) for at, size in enumerate(disks)],
        "uneven": [member("small"), member("large", capacity=(1 << 32) - 1)],
    }
    lines = []
    for name, some in lists.items():
        layout = first_layout(some, min(3, len(some)), "golden")
        groups = {layout.group(partition).eligible for partition in range(PARTITIONS)}
        assert all(len(set(eligible)) == len(eligible) for eligible in groups)
        lines.append(f"{name}: {Digest.of(layout.table)}")
    crowd = NaturalOrder(members(*"ab" * (MEMBERS_MAX // 2)))
    lines.extend(
        f"as many as there may be, {partition}: {' '.join(crowd.of(partition)[:9])}"
        for partition in range(0, PARTITIONS, 128)
    )

    golden.check("tables.txt", "\n".join(lines) + "\n")


@given(member_lists(zones="a"), PARTITION_NUMBERS)
@settings(max_examples=30)
def test_without_zones_the_order_is_uhashrings(some: list[Member], partition: int) -> None:
    common = math.gcd(*(one.capacity for one in some))
    weights = {one.node: one.capacity // common for one in some}
    ring = HashRing(
        {node: {"weight": weight, "vnodes": POINTS_PER_UNIT} for node, weight in weights.items()}
    )
    walk = [entry["nodename"] for entry in ring.range(f"partition-{partition}")]

    assert walk == NaturalOrder(some).of(partition)


@given(member_lists(), PARTITION_NUMBERS, st.integers(2, 1 << 29))
@settings(max_examples=30)
def test_the_unit_of_capacity_is_everybodys_own(
    some: list[Member], partition: int, unit: int
) -> None:
    scaled = [replace(one, capacity=one.capacity * unit) for one in some]

    assert NaturalOrder(some).of(partition) == NaturalOrder(scaled).of(partition)


@given(member_lists(), PARTITION_NUMBERS, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_holds_everybody_once_in_whatever_order_they_came(
    some: list[Member], partition: int, random: Random
) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)
    order = NaturalOrder(some).of(partition)

    assert order == NaturalOrder(shuffled).of(partition)
    assert sorted(order) == sorted(one.node for one in some)


@given(member_lists(), PARTITION_NUMBERS)
@settings(max_examples=50)
def test_zones_take_turns_while_they_last(some: list[Member], partition: int) -> None:
    """Any first k of the order are in as many zones as k members can be."""
    zone_of = {one.node: one.zone for one in some}
    order = NaturalOrder(some).of(partition)
    for count in range(1, len(order) + 1):
        used = Counter(zone_of[node] for node in order[:count])
        assert len(used) == min(count, len(set(zone_of.values())))
        for zone, times in used.items():
            size = sum(one.zone == zone for one in some)
            assert times >= min(size, max(used.values()) - 1)


def steady(zone: str) -> Member:
    """Somebody of capacity 1, so that the capacities of no list have a common factor."""
    return member("steady", zone)


@given(member_lists(), PARTITION_NUMBERS)
@settings(max_examples=50)
def test_a_new_member_takes_from_the_old_and_gives_them_nothing(
    some: list[Member], partition: int
) -> None:
    """So no partition moves between two members that both were there before."""
    new, *old = some
    old.append(steady(new.zone))
    before = NaturalOrder(old).of(partition)
    after = NaturalOrder([*old, new]).of(partition)
    for count in range(1, len(before) + 1):
        assert set(after[:count]) - set(before[:count]) <= {new.node}


@given(member_lists(zones="a"), PARTITION_NUMBERS)
@settings(max_examples=50)
def test_a_new_member_of_the_only_zone_leaves_the_others_in_order(
    some: list[Member], partition: int
) -> None:
    new, *old = some
    old.append(steady("a"))
    before = NaturalOrder(old).of(partition)

    assert before == [node for node in NaturalOrder([*old, new]).of(partition) if node != new.node]


def test_the_first_layout_follows_the_natural_order() -> None:
    layout = first_layout(PINNED, 3, "seed")
    natural = NaturalOrder(PINNED)

    assert 1 == layout.epoch
    assert (3, 2) == (layout.replicas, layout.spares)
    assert list(layout.nodes) == sorted(layout.nodes)
    assert () == layout.retired
    for partition in range(PARTITIONS):
        assert list(layout.group(partition).eligible) == natural.of(partition)[:5]


@pytest.mark.parametrize(
    ("zones", "replicas"), [("aab", 3), ("aabb", 3), ("aaabbc", 3), ("abcdef", 5), ("aabbcc", 2)]
)
def test_owners_are_in_as_many_zones_as_there_are(zones: str, replicas: int) -> None:
    layout = first_layout(members(*zones), replicas, "seed")
    for partition in range(PARTITIONS):
        group = layout.group(partition)
        used = {member.zone for member in layout.members if member.node in group.owners}

        assert len(set(group.eligible)) == len(group.eligible)
        assert len(used) == min(replicas, len(set(zones)))


def test_capacity_is_a_share_of_the_partitions() -> None:
    layout = first_layout([member("a"), member("b", capacity=3)], 1, "seed")
    owned = Counter(layout.group(partition).owners[0] for partition in range(PARTITIONS))

    assert 0.7 < owned[NodeId("b")] / PARTITIONS < 0.8


@pytest.mark.parametrize("capacity", [300, 1_000_000_007])
def test_a_member_that_is_tiny_beside_the_others_is_a_member(capacity: int) -> None:
    layout = first_layout([member("a"), member("b", capacity=capacity)], 1, "seed")
    owned = Counter(layout.group(partition).owners[0] for partition in range(PARTITIONS))

    assert owned[NodeId("a")] < PARTITIONS / 100
    assert layout.group(0).eligible in {("a", "b"), ("b", "a")}


@pytest.mark.parametrize(
    ("count", "replicas", "spares"), [(1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 3, 1), (5, 3, 2)]
)
def test_spares_are_two_where_there_are_as_many_members(
    count: int, replicas: int, spares: int
) -> None:
    layout = first_layout(members(*"a" * count), replicas, "seed")

    assert spares == layout.spares
    assert spares == len(layout.group(17).spares)


def test_the_order_of_the_list_is_of_no_consequence() -> None:
    some = [member("a", "x", 2), member("b", "y"), member("c", "x")]
    layouts = [first_layout(order, 2, "seed") for order in permutations(some)]

    assert all(layout == layouts[0] for layout in layouts)


def test_another_address_is_the_same_cluster() -> None:
    moved = [replace(one, address=f"10.0.0.{at}:80") for at, one in enumerate(PINNED, 1)]
    one, other = first_layout(PINNED, 3, "seed"), first_layout(moved, 3, "seed")

    assert one.cluster_id == other.cluster_id
    assert one.table == other.table


def test_another_seed_or_list_is_another_cluster() -> None:
    first, *rest = members("x", "y", "z", "z")
    layouts = [
        first_layout([first, *rest], 3, "seed"),
        first_layout([first, *rest], 3, "seeds"),
        first_layout([first, *rest], 2, "seed"),
        first_layout(rest, 3, "seed"),
        first_layout([replace(first, node=NodeId("other")), *rest], 3, "seed"),
        first_layout([replace(first, zone="w"), *rest], 3, "seed"),
        first_layout([replace(first, capacity=2), *rest], 3, "seed"),
    ]

    for one, other in combinations(layouts, 2):
        assert one.cluster_id != other.cluster_id
    assert all(re.fullmatch("[0-9a-f]{32}", layout.cluster_id) for layout in layouts)


def test_the_seed_moves_no_data() -> None:
    one, other = first_layout(PINNED, 3, "seed"), first_layout(PINNED, 3, "another")

    assert one.table == other.table


TWO = members("a", "b")


@pytest.mark.parametrize(
    ("some", "replicas", "words"),
    [
        ([*TWO, member("n0")], 2, "2 members have the id 'n0'"),
        ([*TWO, replace(TWO[0], node=NodeId("n2"))], 2, "2 members have the address 'n0.ex"),
        (TWO, 0, "replicas must be 1 to 7, not 0"),
        (TWO, -1, "replicas must be"),
        (members(*"a" * 9), REPLICAS_MAX + 1, "replicas must be 1 to 7, not 8"),
        (TWO, 3, "3 copies need 3 to 256 members, got 2"),
        ([], 1, "1 copies need 1 to 256 members, got 0"),
        (members(*"a" * (MEMBERS_MAX + 1)), 3, "got 257"),
        ([TWO[0], replace(TWO[1], state=MemberState.DRAINING)], 1, "active"),
    ],
)
def test_a_list_that_makes_no_layout_is_refused_in_words(
    some: list[Member], replicas: int, words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        first_layout(some, replicas, "seed")
