"""Explores scenarios and says what was found.

    python -m tests.model [NAME ...] [--seconds N] [--quick]

Exit status 1 when anything is broken; the shortest trace to it is printed in words.
"""

from __future__ import annotations

import argparse
import sys

from tests.model.actor import no_logs
from tests.model.catalogue import SCENARIOS
from tests.model.exploration import Exploration, Found
from tests.model.scenario import Scenario


def explore(scenario: Scenario, seconds: float) -> Found:
    """Explore one for so long."""
    built = scenario.build()
    exploration = Exploration(
        built.world, built.start, built.promises, rest_every=scenario.rest_every
    )
    return exploration.run(seconds, scenario.states_max)


def told(scenario: Scenario, found: Found) -> str:
    """One line, and the trace."""
    end = "BROKEN" if found.fault else "exhausted" if found.is_exhausted else "bound reached"
    line = (
        f"{scenario.name:20} {found.states:9,} states {found.transitions:10,} transitions"
        f"  depth {found.depth:3}  {end:13} {found.seconds:6.1f} s  {found.rests:6,} at rest"
    )
    if found.fault is None:
        return line
    steps = (f"  {number:2}. {step}" for number, step in enumerate(found.trace, start=1))
    return "\n".join((line, f"  {found.fault}", *steps))


def main(arguments: list[str]) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("names", nargs="*", help="words in the names of scenarios; all if none")
    parser.add_argument("--seconds", type=float, help="for each scenario")
    parser.add_argument("--quick", action="store_true", help="only what `make test` runs")
    chosen = parser.parse_args(arguments)
    no_logs()
    broken = 0
    for scenario in SCENARIOS:
        wanted = not chosen.names or any(name in scenario.name for name in chosen.names)
        if not wanted or (chosen.quick and not scenario.is_quick):
            continue
        found = explore(scenario, chosen.seconds or scenario.seconds)
        broken += found.fault is not None
        print(told(scenario, found), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
