"""`python -m tests.sim`: simulate many seeds, or replay one.

    python -m tests.sim --seeds 2000 --first 0     exit status 1 when a seed is red, or when a
                                                   kind of fault never happened in 300 or more
    python -m tests.sim --seed 17 --trace          everything that happens in one seed
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator

from tests.sim.coverage import Coverage
from tests.sim.world import Outcome, run_seed

_WORDS_SHOWN = 5
_PROGRESS_EVERY_S = 10.0


def main(arguments: list[str]) -> int:
    """Exit status: 0 when every seed is green and nothing was left out, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--trace", action="store_true", help="print every event (with --seed)")
    parser.add_argument(
        "--stop-at-red", action="store_true", help="run no further seeds after a red one"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)"
    )
    options = parser.parse_args(arguments)
    if options.seed is not None:
        outcome = run_seed(options.seed, echo=options.trace)
        _tell(outcome)
        print(f"seed {outcome.seed}: trace {outcome.trace_hash}, {outcome.events} events")
        return _summary([outcome])
    seeds = range(options.first, options.first + options.seeds)
    outcomes = []
    started = told = time.monotonic()
    for outcome in _outcomes(seeds, options.workers):
        outcomes.append(outcome)
        _tell(outcome)
        if options.stop_at_red and not outcome.is_green:
            break
        if time.monotonic() - told > _PROGRESS_EVERY_S:
            told = time.monotonic()
            rate = len(outcomes) / (told - started)
            print(f"{len(outcomes)} of {len(seeds)} seeds, {rate:.1f} a second", file=sys.stderr)
    return _summary(outcomes)


def _outcomes(seeds: range, workers: int) -> Iterator[Outcome]:
    """In the order of the seeds, whatever runs where."""
    if workers == 1 or len(seeds) == 1:
        yield from map(run_seed, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(seeds))) as workers_pool:
        yield from workers_pool.imap(run_seed, seeds, chunksize=4)


def _tell(outcome: Outcome) -> None:
    if outcome.is_green:
        return
    print(f"seed {outcome.seed} is red:")
    for words in outcome.violations[:_WORDS_SHOWN]:
        print(f"    {words}")
    if len(outcome.violations) > _WORDS_SHOWN:
        print(f"    and {len(outcome.violations) - _WORDS_SHOWN} more")
    print(f"    replay: python -m tests.sim --seed {outcome.seed} --trace")


def _summary(outcomes: list[Outcome]) -> int:
    red = [outcome.seed for outcome in outcomes if not outcome.is_green]
    coverage = Coverage()
    for outcome in outcomes:
        coverage.add(outcome.virtual_s, outcome.faults, outcome.probes)
    for line in coverage.lines():
        print(line)
    if red:
        print(f"red seeds: {' '.join(map(str, red))}")
    print(f"{len(outcomes)} seeds: {len(outcomes) - len(red)} green, {len(red)} red")
    return 1 if red or coverage.holes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
