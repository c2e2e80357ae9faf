"""The quick scenarios, and that the exploration is what it says it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.model.__main__ import explore
from tests.model.actor import BEGIN, no_logs
from tests.model.catalogue import SCENARIOS, put_delete
from tests.model.scenario import Scenario
from tests.model.state import ACKED
from tests.model.step_loop import step_loop

QUICK = [scenario for scenario in SCENARIOS if scenario.is_quick]


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    before = structlog.get_config()
    no_logs()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.name)
def test_every_interleaving_keeps_the_promises(scenario: Scenario) -> None:
    found = explore(scenario, scenario.seconds)
    assert found.fault is None, "\n".join((found.fault, *found.trace))
    assert found.is_exhausted


def test_names_of_scenarios_are_unlike() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_an_actor_that_is_replayed_does_what_it_did() -> None:
    built, again = put_delete(), put_delete()
    state = built.start[0]
    state = built.world.after(state, ("begin", 0))
    for _ in range(2):
        call = built.world.waiting(state, 0)[0]
        state = built.world.after(state, ("deliver", 0, call.number))
    assert state.slots[0] == ACKED

    slot = again.world.slots[0]
    actor = again.world.books.actor(slot.name, slot.node, slot.main)
    first = again.world.books.step(actor, -1, -1, BEGIN)
    assert [call.what for call in first.waiting] == ["PutRecord"] * 3
    assert first == again.world.books.step(actor, -1, -1, BEGIN)


def test_two_explorations_find_the_same_states() -> None:
    scenario = next(one for one in QUICK if one.name == "wiped-partly")
    one, other = explore(scenario, 60.0), explore(scenario, 60.0)
    assert (one.states, one.transitions, one.depth) == (
        other.states, other.transitions, other.depth
    )


def test_the_loop_stands_still_until_a_timer_is_rung() -> None:
    loop = step_loop()
    rung: list[float] = []
    with loop.running():
        loop.call_later(5.0, lambda: rung.append(loop.time()))
    loop.settle()
    assert not rung

    loop.ring_next()
    assert rung == [5.0]
    assert not loop.has_timers
