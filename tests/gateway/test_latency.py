"""What a node usually takes, and the budget of extra questions."""

from __future__ import annotations

from random import Random

import pytest

from gateway.latency import HedgeBudget, Latency


@pytest.mark.parametrize("scale_s", [0.001, 0.05, 2.0])
def test_the_estimate_comes_to_rest_near_the_95th_percentile(scale_s: float) -> None:
    rng, latency = Random(1), Latency()
    for _ in range(20_000):
        latency.observe(rng.random() * scale_s)

    assert 0.85 * scale_s < latency.p95_s < 1.05 * scale_s


def test_the_estimate_never_falls_to_nothing_and_follows_a_node_that_slows_down() -> None:
    latency = Latency()
    for _ in range(100_000):
        latency.observe(0)
    assert latency.p95_s > 0.0001
    for _ in range(100):
        latency.observe(1)
    assert latency.p95_s > 0.9


def test_one_question_in_twenty_may_be_an_extra_one_after_the_first_burst() -> None:
    budget = HedgeBudget()
    burst = 0
    while budget.spend():
        burst += 1
    spent = 0
    for _ in range(10_000):
        budget.earn()
        spent += budget.spend()

    assert burst == HedgeBudget.BURST
    assert 490 <= spent <= 500


def test_a_long_calm_saves_no_more_than_a_burst() -> None:
    budget = HedgeBudget()
    for _ in range(10_000):
        budget.earn()
    spent = 0
    while budget.spend():
        spent += 1

    assert spent == HedgeBudget.BURST
