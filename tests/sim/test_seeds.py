"""Three hundred simulated clusters; `make sim SEEDS=10000` runs more."""

from __future__ import annotations

import pytest

from tests.sim.world import run_seed

SEEDS = 300


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_promise_holds(seed: int) -> None:
    outcome = run_seed(seed)

    replay = f"python -m tests.sim --seed {seed} --trace"
    assert outcome.is_green, "\n".join([*outcome.violations, f"replay: {replay}"])
