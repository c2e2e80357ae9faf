"""Tests whose clock is the simulator's: waits cost nothing, and work left behind fails the test."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from tests.sim.loop import run
from tests.sim.quiet import quiet_logs

P = ParamSpec("P")


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test to its end on the virtual-time loop."""

    @functools.wraps(test)
    def runs(*args: P.args, **kwargs: P.kwargs) -> None:
        with quiet_logs(echo=False):
            run(test(*args, **kwargs))

    return runs
