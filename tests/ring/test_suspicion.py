"""Suspicion: who is passed over, when, and how it comes back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring.life import NodeId
from ring.suspicion import Lane, Standing, Suspicion
from tests.ring.watched import NODES, PROMPT_S, ROUND_S, SETTINGS, A, B, C, Watched


def test_nodes_that_answer_are_well() -> None:
    watched = Watched()
    watched.rounds(10)
    assert watched.doubted() == []
    assert not watched.machine.has_doubts
    assert watched.machine.suspects() == {}


@pytest.mark.parametrize("lane", list(Lane))
def test_a_node_that_falls_silent_is_suspect_within_two_seconds(lane: Lane) -> None:
    watched = Watched(lane)
    watched.rounds(1)
    watched.does[A] = None
    watched.rounds(2)
    assert watched.doubted() == [A]


def test_a_node_that_takes_a_hundred_times_as_long_is_suspect() -> None:
    watched = Watched()
    watched.rounds(1)
    watched.does[B] = 100 * PROMPT_S
    watched.rounds(1)
    assert watched.doubted() == [B]
    watched.rounds(10)
    assert watched.doubted() == [B], "a slow answer to a probe is no recovery"


def test_what_all_nodes_do_is_no_nodes_fault() -> None:
    watched = Watched()
    watched.rounds(1)
    watched.does = dict.fromkeys(NODES, None)
    watched.rounds(5)
    assert watched.doubted() == []


def test_a_node_that_is_somewhat_slower_is_well() -> None:
    watched = Watched()
    watched.does[C] = 3 * PROMPT_S
    watched.rounds(10)
    assert watched.doubted() == []


def test_a_round_that_comes_late_judges_nobody() -> None:
    watched = Watched()
    watched.rounds(1)
    for _ in range(10):
        for _ in range(5):
            watched.act(A, None)
            watched.act(B, PROMPT_S)
        watched.now_s += 5 * ROUND_S
        watched.machine.judge(watched.now_s)
    assert watched.doubted() == []


def test_failures_in_a_row_need_no_round() -> None:
    watched = Watched()
    for _ in range(SETTINGS.failures_max):
        assert watched.doubted() == []
        watched.machine.failed(watched.tally(A), watched.now_s)
    assert watched.doubted() == [A]


def test_an_answer_in_between_makes_failures_begin_anew() -> None:
    watched = Watched()
    for _ in range(20):
        watched.machine.failed(watched.tally(A), watched.now_s)
        watched.act(A, PROMPT_S)
    assert watched.doubted() == []


def test_a_node_most_of_whose_calls_are_late_is_suspect() -> None:
    watched = Watched()
    for _ in range(5):
        for _ in range(4):
            watched.machine.late(watched.tally(A), watched.now_s)
        watched.round(3)
    assert watched.doubted() == [A]


def test_a_node_that_is_well_again_is_taken_back_within_seconds() -> None:
    watched = Watched()
    watched.rounds(1)
    watched.does[A] = None
    watched.rounds(30)
    assert watched.doubted() == [A]
    watched.does[A] = PROMPT_S
    watched.rounds(SETTINGS.probe_s_max + 3 * ROUND_S)
    assert watched.doubted() == []
    assert watched.machine.tallies(A)[Lane.READS].standing is Standing.WELL


def test_probes_come_further_and_further_apart() -> None:
    watched = Watched()
    watched.rounds(1)
    watched.does[A] = None
    watched.rounds(20)
    times = [time_s for time_s, node in watched.probed if node == A]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[-1] >= SETTINGS.probe_s_max - 0.01
    assert all(after >= before - ROUND_S for before, after in itertools.pairwise(gaps))
    assert {node for _, node in watched.probed} == {A}


def test_one_late_answer_while_it_is_tried_begins_the_trial_anew() -> None:
    watched = Watched()
    for _ in range(SETTINGS.failures_max):
        watched.machine.failed(watched.tally(A), watched.now_s)
    for elapsed_s in (PROMPT_S, PROMPT_S, 1.0, PROMPT_S, PROMPT_S):
        watched.act(A, elapsed_s)
        assert watched.doubted() == [A]
    watched.act(A, PROMPT_S)
    assert watched.doubted() == []


def test_a_node_that_comes_and_goes_is_tried_less_and_less() -> None:
    watched = Watched()
    watched.rounds(1)
    for _ in range(10):
        watched.does[A] = None
        watched.rounds(2)
        watched.does[A] = PROMPT_S
        watched.rounds(3)
    assert watched.tally(A).interval_s == SETTINGS.probe_s_max
    watched.rounds(SETTINGS.forgive_s + 3)
    watched.does[A] = None
    watched.rounds(0.8)
    assert watched.doubted() == [A]
    assert watched.tally(A).interval_s < SETTINGS.probe_s_max


# --- lanes ----------------------------------------------------------------------------------------


def test_a_hung_disk_is_told_from_a_node_that_reads_well() -> None:
    watched = Watched(Lane.WRITES)
    watched.rounds(1)
    watched.does[A] = None
    for _ in range(20):
        for node in NODES:
            watched.act(node, PROMPT_S, Lane.READS)
        watched.round()
    assert watched.machine.is_doubted(A, Lane.WRITES)
    assert not watched.machine.is_doubted(A, Lane.READS)
    assert watched.machine.suspects() == {A: [Lane.WRITES]}
    assert watched.machine.mute(watched.now_s) == []


def test_trouble_at_reads_casts_doubt_on_writes_of_which_nothing_is_known() -> None:
    watched = Watched(Lane.READS)
    watched.rounds(1)
    watched.does[A] = None
    watched.rounds(2)
    assert watched.machine.is_doubted(A, Lane.WRITES)
    assert not watched.machine.is_doubted(B, Lane.WRITES)
    watched.act(A, PROMPT_S, Lane.WRITES)
    assert not watched.machine.is_doubted(A, Lane.WRITES)
    assert watched.machine.is_doubted(A, Lane.READS)


def test_a_node_that_says_nothing_at_all_is_mute_after_a_while() -> None:
    watched = Watched()
    watched.rounds(1)
    watched.does[A] = None
    watched.rounds(1)
    assert watched.doubted() == [A]
    assert watched.machine.mute(watched.now_s) == []
    watched.rounds(SETTINGS.silence_s)
    assert watched.machine.mute(watched.now_s) == [A]


def test_what_was_asked_long_ago_keeps_nothing_busy() -> None:
    watched = Watched()
    watched.act(A, None)
    for _ in range(SETTINGS.quiet_rounds_max + 1):
        watched.now_s += ROUND_S
        watched.machine.judge(watched.now_s)
    assert watched.machine.is_idle()


# --- whatever happens -----------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["prompt", "slow", "late", "failed", "silent", "round"]),
        st.sampled_from(NODES),
        st.sampled_from(list(Lane)),
    ),
    max_size=120,
)


@given(EVENTS)
def test_whatever_happened_prompt_answers_make_every_node_well(
    events: list[tuple[str, NodeId, Lane]],
) -> None:
    watched = Watched()
    machine = watched.machine
    for event, node, lane in events:
        match event:
            case "prompt" | "slow" | "silent":
                elapsed = {"prompt": PROMPT_S, "slow": 5.0, "silent": None}[event]
                watched.act(node, elapsed, lane)
            case "late":
                machine.late(watched.tally(node, lane), watched.now_s)
            case "failed":
                machine.failed(watched.tally(node, lane), watched.now_s)
            case _:
                watched.now_s += ROUND_S
                machine.judge(watched.now_s)
                machine.probes(watched.now_s)
        _check(machine)
    for _ in range(SETTINGS.probes_good):
        for node in NODES:
            for lane in Lane:
                watched.act(node, PROMPT_S, lane)
                _check(machine)
    assert not machine.has_doubts


def _check(machine: Suspicion) -> None:
    suspects = machine.suspects()
    for node in NODES:
        for tally in machine.tallies(node):
            is_well = tally.standing is Standing.WELL
            assert (tally.lane in suspects.get(node, ())) is not is_well
            if not is_well:
                assert machine.is_doubted(node, tally.lane)
            if tally.doubted:
                assert machine.has_doubts
                assert node in suspects, "doubt has a reason"
            assert min(tally.asked, tally.good, tally.bad, tally.unanswered) >= 0
            assert tally.interval_s <= SETTINGS.probe_s_max
