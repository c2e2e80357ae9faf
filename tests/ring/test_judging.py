"""Suspicion: what a round is judged by, and what a node that was suspect has behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ring.suspicion import PROBED, Lane, Suspicion, Tally
from tests.ring.watched import NODES, PROMPT_S, ROUND_S, SETTINGS, A, B, C, Watched


def failing(watched: Watched, tally: Tally) -> None:
    """A becomes suspect at once."""
    for _ in range(SETTINGS.failures_max):
        watched.machine.failed(tally, watched.now_s)
    assert tally.doubted


# --- compared with whom ---------------------------------------------------------------------------


@pytest.mark.parametrize("elapsed_s", [None, 100 * PROMPT_S])
def test_of_two_nodes_the_bad_one_is_told(elapsed_s: float | None) -> None:
    watched = Watched()
    del watched.does[C]
    watched.rounds(1)
    watched.does[A] = elapsed_s
    watched.rounds(2)
    assert watched.doubted() == [A]


def test_a_prompt_answer_is_prompt_however_fast_the_others_are() -> None:
    watched = Watched()
    watched.does = {A: 0.000_5, B: 0.000_5, C: 0.02}
    watched.rounds(10)
    assert watched.doubted() == []


def test_what_is_slow_depends_on_what_the_others_take() -> None:
    watched = Watched()
    watched.does = {A: 0.02, B: 0.02, C: 0.1}
    watched.rounds(10)
    assert watched.doubted() == []
    watched.does[C] = 1.0
    watched.rounds(2)
    assert watched.doubted() == [C]


def test_that_others_answered_since_a_silence_began_is_enough() -> None:
    watched = Watched()
    watched.round()
    for node in (B, C):
        watched.act(node, PROMPT_S)
    for _ in range(SETTINGS.rounds_bad + 1):  # and from then on nobody asks the others
        for _ in range(10):
            watched.act(A, None)
        watched.round(0)
    assert watched.doubted() == [A]


# --- silence --------------------------------------------------------------------------------------


def test_a_node_that_is_asked_little_is_found_out_too() -> None:
    watched = Watched()
    watched.does[A] = None
    for _ in range(SETTINGS.unanswered_min + SETTINGS.rounds_bad):
        watched.round(1)
    assert watched.doubted() == [A]


def test_a_node_that_answered_everything_and_is_asked_no_more_is_well() -> None:
    watched = Watched()
    watched.rounds(2)
    for _ in range(SETTINGS.quiet_rounds_max):
        for node in (B, C):
            watched.act(node, PROMPT_S)
        watched.round(0)
    assert watched.doubted() == []


def test_silence_is_nothing_before_answers_are_due_and_no_longer_than_seconds_after() -> None:
    watched = Watched(Lane.CHUNKS)
    watched.does = dict.fromkeys(NODES, 0.25)
    watched.rounds(5)
    watched.does[A] = None
    watched.rounds(1.5)
    assert watched.doubted() == [], "eight times the usual are two seconds"
    watched.rounds(1)
    assert watched.doubted() == [A]

    watched = Watched(Lane.CHUNKS)
    watched.does = dict.fromkeys(NODES, 1.0)
    watched.rounds(10)
    watched.does[A] = None
    watched.rounds(5)
    assert watched.doubted() == [A], "eight seconds are too long to be found out"


def test_what_is_not_answered_yet_keeps_the_watch_going() -> None:
    watched = Watched()
    watched.act(A, None)
    watched.round(0)
    assert not watched.machine.is_idle()


# --- what is behind a node ------------------------------------------------------------------------


def test_bad_rounds_with_good_ones_between_do_not_add_up() -> None:
    watched = Watched()
    for _ in range(5 * SETTINGS.rounds_bad):
        for _ in range(20):
            watched.machine.late(watched.tally(A), watched.now_s)
        watched.round()
        watched.round()
    assert watched.doubted() == []


def test_a_node_that_was_taken_back_is_judged_anew() -> None:
    watched = Watched()
    watched.rounds(1)
    watched.does[A] = None
    watched.rounds(5)
    for _ in range(SETTINGS.probes_good):
        watched.act(A, PROMPT_S)
    assert watched.doubted() == []
    for _ in range(20):
        watched.machine.late(watched.tally(A), watched.now_s)
    watched.does[A] = PROMPT_S
    watched.round(0)
    assert watched.doubted() == [], "one bad round is none"


@pytest.mark.parametrize("goes_wrong", [Suspicion.late, Suspicion.failed])
def test_what_goes_wrong_while_a_node_is_tried_begins_the_trial_anew(
    goes_wrong: Callable[[Suspicion, Tally, float], None],
) -> None:
    watched = Watched()
    tally = watched.tally(A)
    failing(watched, tally)
    for _ in range(SETTINGS.probes_good - 1):
        watched.act(A, PROMPT_S)
    goes_wrong(watched.machine, tally, watched.now_s)
    for _ in range(SETTINGS.probes_good - 1):
        watched.act(A, PROMPT_S)
        assert watched.doubted() == [A]
    watched.act(A, PROMPT_S)
    assert watched.doubted() == []


def test_a_suspect_that_answers_late_is_tried_at_once() -> None:
    watched = Watched()
    watched.rounds(1)
    watched.does[A] = None
    watched.rounds(20)
    watched.does[A] = PROMPT_S
    watched.act(A, 5.0)  # what it was asked while it stood still
    watched.rounds(3 * ROUND_S)
    assert watched.doubted() == []


# --- other lanes ----------------------------------------------------------------------------------


def test_failures_cast_doubt_on_everything_at_once_but_on_what_has_just_gone_well() -> None:
    watched = Watched()
    watched.act(A, PROMPT_S, Lane.CHUNKS)
    failing(watched, watched.tally(A))
    doubted = [lane for lane in Lane if watched.machine.is_doubted(A, lane)]
    assert doubted == [Lane.READS, Lane.VALUES, Lane.WRITES]


def test_only_what_changes_nothing_is_probed_and_less_and_less() -> None:
    watched = Watched()
    watched.rounds(1)
    for lane in Lane:
        failing(watched, watched.tally(A, lane))
    probed: list[Lane] = []
    for _ in range(50):
        watched.now_s += ROUND_S
        watched.machine.judge(watched.now_s)
        probed += [tally.lane for tally in watched.machine.probes(watched.now_s)]
    assert set(probed) == set(PROBED)
    assert len(probed) <= 9 * len(PROBED)


def test_where_only_doubt_is_probes_come_further_apart_too() -> None:
    watched = Watched()
    watched.rounds(1)
    failing(watched, watched.tally(A, Lane.READS))
    probed: list[Lane] = []
    for _ in range(50):
        watched.now_s += ROUND_S
        watched.machine.judge(watched.now_s)
        probed += [tally.lane for tally in watched.machine.probes(watched.now_s)]
    assert 1 <= probed.count(Lane.VALUES) <= 9


def test_a_node_that_was_left_alone_is_not_mute_the_moment_it_fails() -> None:
    watched = Watched()
    watched.rounds(1)
    for _ in range(50):
        watched.round(0)
    failing(watched, watched.tally(A))
    assert watched.machine.mute(watched.now_s) == []
    watched.does[A] = None
    watched.rounds(SETTINGS.silence_s + ROUND_S)
    assert watched.machine.mute(watched.now_s) == [A]
