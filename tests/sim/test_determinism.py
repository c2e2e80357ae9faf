"""One seed, one trace: in every process, whatever its hashes and whatever ran there before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.world import run_seed

ROOT = Path(__file__).parent.parent.parent
SEEDS = (1, 7, 21)  # both stores, wipes, a large blob
PROGRAM = """
import sys
from tests.sim.world import run_seed
for seed in map(int, sys.argv[1:]):
    print(run_seed(seed).trace_hash)
"""


def _hashes(seeds: list[int], hash_seed: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, seeds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture(scope="module")
def here() -> list[str]:
    return [run_seed(seed).trace_hash for seed in SEEDS]


def test_a_seed_leaves_the_same_trace_in_every_process(here: list[str]) -> None:
    there = _hashes(list(SEEDS), hash_seed=1)
    backwards = _hashes(list(reversed(SEEDS)), hash_seed=4321)

    assert here == there == list(reversed(backwards))


def test_a_seed_leaves_the_same_trace_twice_in_one_process(here: list[str]) -> None:
    assert here == [run_seed(seed).trace_hash for seed in SEEDS]


def test_different_seeds_leave_different_traces(here: list[str]) -> None:
    assert len(set(here)) == len(SEEDS)
