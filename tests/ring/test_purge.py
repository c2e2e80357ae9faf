"""One step of a purge: whose word it needs, what counts as such, and what voids it."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from ring.digest import Digest
from ring.life import Life, NodeId
from ring.purge import PurgeStep, Step, Tombstone, confirms
from ring.record import ABSENT, RecordKey, RecordKind, RecordState, dead, live

A, B, C = (NodeId(name) for name in "abc")
LIFE = Life(1, 1, 7)
ONE = Tombstone(RecordKey(Digest.of(b"one")), dead(2))
TWO = Tombstone(RecordKey(Digest.of(b"two")), dead(5))

HELD = RecordState(root=dead(2))
SETTLED = RecordState(root=dead(2), settled=True)
TRASH = RecordState(RecordKind.DATA, 3, dead(2), held=True)
CLAIMED = RecordState(RecordKind.DATA, 3, dead(2), claimed=True)
OLDER = [RecordState(RecordKind.DATA, 3, live(2), held=True), RecordState(root=dead(1))]
NEWER = [RecordState(RecordKind.DATA, 3, live(3), held=True), RecordState(root=dead(3))]
CHUNK = RecordState(RecordKind.DATA, 3, held=True, claimed=True)


def test_only_a_stored_tombstone_or_something_newer_confirms_that_it_is_held() -> None:
    for state in (HELD, SETTLED, *NEWER):
        assert confirms(Step.HOLD, ONE, state), state
    for state in (ABSENT, CHUNK, *OLDER):
        assert not confirms(Step.HOLD, ONE, state), state


def test_a_tombstone_above_bytes_or_claims_is_not_settled_yet() -> None:
    for state in (TRASH, CLAIMED):
        assert not confirms(Step.HOLD, ONE, state), state


def test_settled_or_newer_or_gone_lets_a_settled_tombstone_go() -> None:
    for state in (SETTLED, ABSENT, CHUNK, *NEWER):
        assert confirms(Step.SETTLED, ONE, state), state
    for state in (HELD, TRASH, CLAIMED, *OLDER, RecordState(root=dead(1), settled=True)):
        assert not confirms(Step.SETTLED, ONE, state), state


def test_every_node_is_asked_about_all_of_its_tombstones_together() -> None:
    step = PurgeStep(Step.HOLD, {ONE: (A, B), TWO: (B, C)})

    assert step.questions() == [(A, (ONE,)), (B, (ONE, TWO)), (C, (TWO,))]


def test_a_tombstone_that_needs_nobody_is_confirmed_at_once() -> None:
    assert PurgeStep(Step.HOLD, {ONE: ()}).confirmed() == [ONE]


def test_one_node_that_is_silent_or_may_not_vote_keeps_a_tombstone() -> None:
    for silent in (A, B, C):
        step = PurgeStep(Step.HOLD, {ONE: (A, B, C)})
        for node in (A, B, C):
            step.answered(node, LIFE, [ONE], [None if node is silent else HELD])

        assert step.confirmed() == []
        assert step.waiting() == {silent: 1}


def test_a_life_that_is_over_has_confirmed_nothing() -> None:
    step = PurgeStep(Step.HOLD, {ONE: (A, B), TWO: (B,)})
    step.answered(A, LIFE, [ONE], [HELD])
    step.answered(B, LIFE, [ONE, TWO], [HELD, RecordState(root=dead(5))])
    assert step.confirmed() == [ONE, TWO]

    step.superseded(A)

    assert step.confirmed() == [TWO]
    assert step.waiting() == {A: 1}


def test_two_processes_of_one_node_confirm_nothing_together() -> None:
    step = PurgeStep(Step.HOLD, {ONE: (A,), TWO: (A,)})
    step.answered(A, LIFE, [ONE], [HELD])
    step.answered(A, Life(2, 1, 9), [TWO], [RecordState(root=dead(5))])

    assert step.confirmed() == []


_STATES = [None, ABSENT, HELD, SETTLED, TRASH, CLAIMED, CHUNK, *OLDER, *NEWER]


@given(
    st.sampled_from(Step),
    st.lists(st.tuples(st.sampled_from([A, B, C]), st.sampled_from(_STATES)), max_size=9),
)
def test_a_tombstone_is_confirmed_by_all_or_not(
    kind: Step, answers: list[tuple[NodeId, RecordState | None]]
) -> None:
    step = PurgeStep(kind, {ONE: (A, B, C)})
    for node, state in answers:
        step.answered(node, LIFE, [ONE], [state])

    for node in (A, B, C):
        said = [state for other, state in answers if other is node]
        yes = any(state is not None and confirms(kind, ONE, state) for state in said)
        assert yes is (node not in step.waiting())
    assert bool(step.confirmed()) is not bool(step.waiting())


def test_no_root_below_the_tombstone_ever_confirms() -> None:
    for kind, root, settled in product(Step, range(1, dead(2)), (False, True)):
        state = RecordState(root=type(ONE.root)(root), settled=settled)

        assert not confirms(kind, ONE, state), (kind, root)
