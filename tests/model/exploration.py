"""Walks every state of a scenario, breadth first, so that a trace to a fault is a shortest one."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tests.model.actor import Event
from tests.model.promises import Promises
from tests.model.state import State
from tests.model.world import Mistake, World

_CLOCK_EVERY: Final = 64

Wanted = Callable[[], bool]


class Found(Struct):
    """states, transitions: how many.  depth: steps of the longest shortest way.

    is_exhausted: nothing was left out but what the scenario bounds.  fault: what was broken, and
    `trace` how, in words.  rests: states from which peace was tried.
    """

    states: int
    transitions: int
    depth: int
    is_exhausted: bool
    seconds: float
    fault: str | None = None
    trace: tuple[str, ...] = ()
    rests: int = 0


class Exploration:
    """One walk.  rest_every: peace is tried from every so many-th state, 0 for none."""

    def __init__(
        self, world: World, start: list[State], promises: Promises, *, rest_every: int
    ) -> None:
        self._world = world
        self._promises = promises
        self._rest_every = rest_every
        self._parents: dict[State, tuple[State, Event] | None] = dict.fromkeys(start)
        self._frontier = list(self._parents)

    def run(self, seconds: float, states_max: int) -> Found:
        """Until all is seen, something is broken, or a bound is reached."""
        gc.disable()
        started = time.perf_counter()
        found = Found(len(self._frontier), 0, 0, is_exhausted=True, seconds=0.0)
        try:
            self._walk(found, started + seconds, states_max)
        finally:
            self._world.books.close()
            gc.unfreeze()
            gc.enable()
        found.seconds = time.perf_counter() - started
        found.states = len(self._parents)
        found.rests = self._promises.rests
        return found

    def _walk(self, found: Found, until: float, states_max: int) -> None:
        for state in self._frontier:
            if self._is_broken(state, found):
                return
        while self._frontier:
            following: list[State] = []
            for number, state in enumerate(self._frontier):
                if number % _CLOCK_EVERY == 0 and (
                    time.perf_counter() > until or len(self._parents) > states_max
                ):
                    found.is_exhausted = False
                    return
                if self._spread(state, following, found):
                    return
            self._frontier = following
            found.depth += bool(following)

    def _spread(self, state: State, following: list[State], found: Found) -> bool:
        """Whether a fault was found one step from here."""
        world, parents = self._world, self._parents
        for event in world.events(state):
            found.transitions += 1
            try:
                child = world.after(state, event)
            except Mistake as mistake:
                self._tell(found, f"a mistake: {mistake}", state, event)
                return True
            if child not in parents:
                parents[child] = (state, event)
                following.append(child)
                if self._is_broken(child, found):
                    return True
        return False

    def _is_broken(self, state: State, found: Found) -> bool:
        fault = self._promises.broken(state)
        if fault is None and self._rest_every and len(self._parents) % self._rest_every == 0:
            try:
                fault = self._promises.unrest(state)
            except Mistake as mistake:
                fault = f"in peace, a mistake: {mistake}"
        if fault is not None:
            self._tell(found, fault, state, None)
        return fault is not None

    def _tell(self, found: Found, fault: str, state: State, last: Event | None) -> None:
        steps: list[tuple[State, Event]] = [] if last is None else [(state, last)]
        step = self._parents[state]
        while step is not None:
            steps.append(step)
            step = self._parents[step[0]]
        found.fault = fault
        found.is_exhausted = False
        found.trace = tuple(
            self._world.words.step(before, event) for before, event in reversed(steps)
        )
