"""What a write does to a record, in every small state: the rules of ring/admission.py."""

from collections.abc import Iterable
from itertools import product

import pytest
from msgspec.structs import replace

from ring.admission import bury, next_generation, put_chunk, put_root, refuses_put
from ring.record import (
    ABSENT,
    NO_ROOT,
    RecordKind,
    RecordState,
    dead,
    generation_of,
    is_live,
    live,
    merge,
    without_value,
)

ROOTS = [NO_ROOT, dead(0), live(1), dead(1), live(2), dead(2), live(3), dead(3)]
GENERATIONS = range(1, 5)
FLOORS = range(4)
VALUES = [  # kind, size in bytes, held, verified at
    (RecordKind.NONE, 0, False, 0),
    *product((RecordKind.DATA, RecordKind.RECIPE), (5,), (False,), (0,)),
    *product((RecordKind.DATA, RecordKind.RECIPE), (5,), (True,), (0, 7)),
]
STATES = [
    RecordState(kind, size_bytes, root, held, claimed, verified_at_s)
    for (kind, size_bytes, held, verified_at_s), root, claimed in product(
        VALUES, ROOTS, (False, True)
    )
]


def put(state: RecordState, generation: int) -> RecordState:
    return put_root(state, kind=RecordKind.DATA, size_bytes=5, generation=generation, now_s=9)


def is_dead(state: RecordState) -> bool:
    return state.root != NO_ROOT and not is_live(state.root)


def settled(state: RecordState) -> RecordState:
    """What a store makes of a merged state: bytes that came with a newer tombstone go."""
    return bury(state, generation_of(state.root)) if is_dead(state) else state


def test_a_put_at_or_below_the_dead_generation_is_refused() -> None:
    for state, floor, generation in product(STATES, FLOORS, GENERATIONS):
        if is_dead(state) and generation <= generation_of(state.root):
            assert refuses_put(state, floor, generation), (state, floor, generation)


def test_a_put_below_a_live_generation_is_refused() -> None:
    for state, floor, generation in product(STATES, FLOORS, GENERATIONS):
        if is_live(state.root) and generation < generation_of(state.root):
            assert refuses_put(state, floor, generation), (state, floor, generation)


def test_a_put_at_or_below_the_floor_is_refused_unless_it_is_live_here() -> None:
    for state, floor, generation in product(STATES, FLOORS, GENERATIONS):
        is_here = is_live(state.root) and generation_of(state.root) >= generation
        if generation <= floor and not is_here:
            assert refuses_put(state, floor, generation), (state, floor, generation)


def test_every_other_put_is_accepted() -> None:
    for state, floor, generation in product(STATES, FLOORS, GENERATIONS):
        above_dead = not is_dead(state) or generation > generation_of(state.root)
        if is_live(state.root) and generation <= generation_of(state.root):
            fits = generation == generation_of(state.root)
        else:
            fits = above_dead and generation > floor

        assert fits != refuses_put(state, floor, generation), (state, floor, generation)


def accepted() -> Iterable[tuple[RecordState, int, int]]:
    for state, floor, generation in product(STATES, FLOORS, GENERATIONS):
        if not refuses_put(state, floor, generation):
            yield state, floor, generation


def test_an_accepted_put_counts_at_its_generation() -> None:
    for state, _, generation in accepted():
        after = put(state, generation)

        assert live(generation) == after.root, (state, generation)
        assert after.root >= state.root
        assert after.visible
        assert after.held
        assert (RecordKind.DATA, 5, 9) == (after.kind, after.size_bytes, after.verified_at_s)
        assert state.claimed == after.claimed


def test_an_accepted_put_may_be_repeated() -> None:
    for state, floor, generation in accepted():
        after = put(state, generation)

        assert not refuses_put(after, floor, generation)
        assert after == put(after, generation)


def test_a_refused_put_succeeds_where_it_is_told_to_and_not_before() -> None:
    for state, floor, generation in product(STATES, FLOORS, GENERATIONS):
        if not refuses_put(state, floor, generation):
            continue
        following = next_generation(state.root, floor, generation)

        assert following > generation
        assert not refuses_put(state, floor, following), (state, floor, generation)
        for earlier in range(generation, following):
            assert refuses_put(state, floor, earlier), (state, floor, generation, earlier)


def test_a_higher_live_generation_is_joined_and_not_topped() -> None:
    assert 3 == next_generation(live(3), 0, 1)
    assert 3 == next_generation(live(3), 7, 1)
    assert 4 == next_generation(dead(3), 0, 1)
    assert 8 == next_generation(dead(3), 7, 1)
    assert 8 == next_generation(NO_ROOT, 7, 1)
    assert 10 == next_generation(dead(3), 7, 9)


def test_a_chunk_changes_no_root() -> None:
    for state, claimed in product(STATES, (False, True)):
        after = put_chunk(state, size_bytes=5, claimed=claimed, now_s=9)

        assert state.root == after.root
        assert after.held
        assert 9 == after.verified_at_s
        assert (state.claimed or claimed) == after.claimed
        assert after.kind is not RecordKind.NONE
        assert state.visible == after.visible


def test_a_tombstone_never_lowers_a_root_and_spares_newer_puts() -> None:
    for state, generation in product(STATES, range(4)):
        after = bury(state, generation)

        assert max(state.root, dead(generation)) == after.root
        if is_live(after.root):
            assert state == after


def test_bytes_go_with_their_last_claim_and_not_before() -> None:
    for state, generation in product(STATES, range(4)):
        after = bury(state, generation)

        assert (state.held and (state.claimed or is_live(after.root))) == after.held
        assert state.claimed == after.claimed
        if state.claimed:
            assert (state.kind, state.size_bytes) == (after.kind, after.size_bytes)
        elif not is_live(after.root):
            assert RecordState(root=after.root) == after


def test_a_tombstone_may_be_repeated() -> None:
    for state, generation in product(STATES, range(4)):
        after = bury(state, generation)

        assert after == bury(after, generation)


def test_a_put_after_a_tombstone_needs_a_higher_generation() -> None:
    for state, generation in product(STATES, GENERATIONS):
        after = bury(state, generation)
        if is_live(after.root):
            continue

        assert refuses_put(after, 0, generation)
        assert not refuses_put(after, 0, generation_of(after.root) + 1)


@pytest.mark.parametrize("generation", range(4))
def test_tombstones_and_merges_may_change_places(generation: int) -> None:
    for one, other in product(STATES[::3], STATES):
        apart = settled(merge(bury(one, generation), bury(other, generation)))
        together = settled(bury(merge(one, other), generation))

        assert apart.root == together.root
        assert apart.claimed == together.claimed
        assert apart.held <= together.held  # a claim here may have saved bytes there


def test_puts_and_merges_may_change_places() -> None:
    for one, other, generation in product(STATES[::3], STATES, GENERATIONS):
        if refuses_put(merge(one, other), 0, generation):
            continue

        assert not refuses_put(one, 0, generation)
        assert not refuses_put(other, 0, generation)
        apart = merge(put(one, generation), put(other, generation))
        together = put(merge(one, other), generation)
        assert (apart.root, apart.held, apart.claimed) == (
            together.root,
            together.held,
            together.claimed,
        )


def test_what_was_before_is_no_news_to_what_came_after() -> None:
    for state, generation in product(STATES, GENERATIONS):
        after = bury(state, generation)
        assert after.root == merge(state, after).root
        if not refuses_put(state, 0, generation):
            after = put(state, generation)
            assert after.root == merge(state, after).root


def steps(state: RecordState) -> Iterable[RecordState]:
    for generation in GENERATIONS:
        if not refuses_put(state, 0, generation):
            yield put(state, generation)
        yield bury(state, generation)
    for claimed in (False, True):
        yield put_chunk(state, size_bytes=5, claimed=claimed, now_s=9)
    yield without_value(state)
    if state.kind is RecordKind.DATA and state.held:
        yield replace(state, claimed=True)  # a commit confirms the chunk


def test_states_that_writes_lead_to_make_sense() -> None:
    seen = {ABSENT}
    frontier = [ABSENT]
    while frontier:
        for after in steps(frontier.pop()):
            if after not in seen:
                seen.add(after)
                frontier.append(after)

    for state in seen:
        assert state.held <= (state.kind is RecordKind.DATA), state
        assert state.visible <= (state.kind is RecordKind.DATA), state
        assert (state.kind is RecordKind.NONE) <= (state.size_bytes == 0), state
        assert state.claimed <= (state.kind is RecordKind.DATA), state
        assert (state.verified_at_s > 0) <= state.held, state
    assert 41 == len(seen)
