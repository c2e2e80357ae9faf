"""Explores scenarios and says what was found.

    python -m tests.model [NAME ...] [--seconds N] [--quick]

What is explored is the product itself, not a second model of it.  Two ways were weighed.  Actors
over the machines of ring/ alone, with states that can be hashed, are fast, but the drivers' glue,
where most planted bugs sit, would be written again.  The real coroutines on a loop that replays
every prefix of choices are all glue, and take milliseconds for every state.  This is both: nodes
are images that one message turns into others (real_node.py); whoever acts over several messages is
the real coroutine, whose state is what it was told so far, replayed only for a step that was never
taken before (actor.py).  So nearly every step is the look-up of two numbers, ten to thirty thousand
a second, and traces are shortest ones.

What it does not see: messages between two steps of one store's operation (its own tests), bytes
that rot, crashes that keep the disk, generations and operations beyond the few of a scenario.

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
    parser = argparse.ArgumentParser(prog="python -m tests.model")
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
