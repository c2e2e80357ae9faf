"""What a write does to a record, in every small state: the rules of ring/admission.py."""

from collections.abc import Iterable
from itertools import product

import pytest
from msgspec.structs import replace

from ring.admission import (
    absorb,
    bury,
    discard,
    next_generation,
    put_chunk,
    put_root,
    refuses_put,
    settle,
)
from ring.record import (
    ABSENT,
    NO_ROOT,
    RecordKind,
    RecordState,
    dead,
    generation_of,
    is_dead,
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
] + [RecordState(root=root, settled=True) for root in ROOTS if is_dead(root)]


def put(state: RecordState, generation: int) -> RecordState:
    return put_root(state, kind=RecordKind.DATA, size_bytes=5, generation=generation, now_s=9)


def tidied(state: RecordState) -> RecordState:
    """What a store makes of a merged state: bytes that came with a newer tombstone go."""
    return bury(state, generation_of(state.root)) if is_dead(state.root) else state


def test_a_put_at_or_below_the_dead_generation_is_refused() -> None:
    for state, floor, generation in product(STATES, FLOORS, GENERATIONS):
        if is_dead(state.root) and generation <= generation_of(state.root):
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
        above_dead = not is_dead(state.root) or generation > generation_of(state.root)
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

        is_wanted = state.claimed or is_live(after.root) or state.root == NO_ROOT
        assert (state.held and is_wanted) == after.held
        assert state.claimed == after.claimed
        if after.held or state.claimed:
            assert (state.kind, state.size_bytes) == (after.kind, after.size_bytes)
        elif not is_live(after.root):
            assert after.is_tombstone
            assert RecordKind.NONE is after.kind


def test_bytes_in_the_trash_stay_and_remember_when_they_were_buried() -> None:
    for state, generation in product(STATES, range(4)):
        after = bury(state, generation, keep_value=True, now_s=33)
        again = bury(after, generation, keep_value=True, now_s=44)

        assert state.held == after.held
        assert after == again
        if after.in_trash:
            assert (state.kind, state.size_bytes) == (after.kind, after.size_bytes)
            is_news = after.root != state.root
            assert (33 if is_news else state.verified_at_s) == after.verified_at_s
            assert bury(after, generation) == RecordState(root=after.root)
            assert discard(after) == RecordState(root=after.root, verified_at_s=after.verified_at_s)


def test_a_put_above_it_finds_the_bytes_in_the_trash() -> None:
    for state in STATES:
        if state.held and is_live(state.root):
            generation = generation_of(state.root)
            buried = bury(state, generation, keep_value=True, now_s=33)

            assert buried.held
            assert not buried.visible
            assert put(buried, generation + 1).visible


def test_only_a_tombstone_is_settled_and_every_change_of_it_clears_that() -> None:
    for state in STATES:
        if not state.is_tombstone:
            with pytest.raises(AssertionError):
                settle(state)
            continue
        settled = settle(state)
        assert RecordState(root=state.root, settled=True) == settled
        for after in (*steps(settled), *(absorbed(settled, other) for other in STATES)):
            assert after.settled <= (after == settled), after
        same = absorb(settled, state, claimed=False, brought=False, now_s=3)
        assert settled == same == bury(settled, generation_of(state.root))


def absorbed(own: RecordState, theirs: RecordState) -> RecordState:
    return absorb(own, theirs, claimed=theirs.claimed, brought=theirs.held, now_s=33)


def test_what_a_peer_knows_is_absorbed_and_its_trash_is_not() -> None:
    for own, theirs in product(STATES[::3], STATES):
        after = absorbed(own, theirs)

        assert max(own.root, theirs.root) == after.root
        assert (own.claimed or theirs.claimed) == after.claimed
        if is_dead(after.root) and not after.claimed:
            assert own.held == after.held
            assert 33 == after.verified_at_s or own.root == after.root
        else:
            assert (own.held or theirs.held) == after.held
        assert after == absorb(after, theirs, claimed=False, brought=False, now_s=99)


def test_a_tombstone_may_be_repeated() -> None:
    for state, generation in product(STATES, range(4)):
        after = bury(state, generation)
        if after.in_trash and state.root == NO_ROOT:
            continue  # a chunk of an upload, which a second delete cannot tell from trash

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
        apart = tidied(merge(bury(one, generation), bury(other, generation)))
        together = tidied(bury(merge(one, other), generation))

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
        yield bury(state, generation, keep_value=True, now_s=9)
    if state.in_trash:
        yield discard(state)
    if state.is_tombstone:
        yield settle(state)
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
        assert (state.verified_at_s > 0) <= (state.held or is_dead(state.root)), state
        assert state.settled <= state.is_tombstone, state
    assert 57 == len(seen)
