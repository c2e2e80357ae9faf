"""One timer for many deadlines.

A timer per call costs more than the call: most are cancelled unused.  Here the timer stands at the
earliest deadline that was ever watched since the last sweep; a sweep lets everything overdue expire
and says when the next one is due.  A deadline is noticed at most `_GRAIN_S` late.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

_GRAIN_S: Final = 0.005


class DeadlineSweep:
    """expire: called with loop.time(); ends what is overdue, returns the earliest deadline left.

    It returns math.inf when nothing is left.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, expire: Callable[[float], float]
    ) -> None:
        self._loop = loop
        self._expire = expire
        self._next = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """Sweep soon after `deadline`, in seconds of loop.time()."""
        if deadline < self._next:
            self._arm(deadline)

    def close(self) -> None:
        """Sweep no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next = math.inf

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = deadline
        self._timer = self._loop.call_at(deadline + _GRAIN_S, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        self._next = math.inf
        self.watch(self._expire(self._loop.time()))
