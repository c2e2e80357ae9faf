"""Writes that were acknowledged without waiting for every node.

Rules:
1.  While nodes are well their writes go on: beyond the bound whoever writes next waits a moment
    for a place, so that a node that merely lags behind gets its copies.
2.  What goes on only for nodes in doubt is cancelled as the doubt arises, and left to repair.
3.  When waiting was in vain the number grows, up to a bound of its own; there the oldest is
    cancelled, whomever it is for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.fanout import Fanout

_HARD_FACTOR: Final = 8


class Stragglers:
    """Owns what it adopted; cancelled at close.

    limit: how many writes may be under way before others wait.  patience_s: how long they do.
    """

    def __init__(self, limit: int, patience_s: float) -> None:
        assert limit > 0
        self._limit = limit
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._fanouts: dict[Fanout, Callable[[], None] | None] = {}
        self._cancelled: dict[Fanout, Callable[[], None] | None] = {}  # until their calls end
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_closed = False
        self.cancelled_total = 0

    @property
    def under_way(self) -> int:
        """Writes that go on."""
        return len(self._fanouts)

    @property
    def is_full(self) -> bool:
        """Whether whoever adds one is to wait for a place."""
        return len(self._fanouts) > self._limit

    async def room(self) -> None:
        """Wait until there is a place again, but not for long."""
        if not self.is_full:
            return
        turn: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_later(self._patience_s, _resolve, turn)
        self._waiting.append(turn)
        try:
            await turn
        finally:
            timer.cancel()
            if turn in self._waiting:
                self._waiting.remove(turn)

    def adopt(self, fanout: Fanout, when_over: Callable[[], None] | None = None) -> None:
        """Own what is still under way; `when_over` is called once all of it has ended."""
        if not fanout.leave(self._over):
            if when_over is not None:
                when_over()
            return
        self._fanouts[fanout] = when_over
        if self._is_closed:
            self._cancel(fanout)
        elif len(self._fanouts) > _HARD_FACTOR * self._limit:
            self.cancelled_total += 1
            self._cancel(next(iter(self._fanouts)))

    def give_up_in_doubt(self) -> None:
        """A node became suspect: cancel what goes on for it."""
        for fanout in list(self._fanouts):
            fanout.give_up_writes_in_doubt()

    def close(self) -> None:
        """Cancel everything."""
        self._is_closed = True
        for fanout in list(self._fanouts):
            self._cancel(fanout)
        for turn in self._waiting:
            _resolve(turn)

    def _cancel(self, fanout: Fanout) -> None:
        self._cancelled[fanout] = self._fanouts.pop(fanout)
        fanout.abandon()

    def _over(self, fanout: Fanout) -> None:
        owner = self._fanouts if fanout in self._fanouts else self._cancelled
        when_over = owner.pop(fanout)
        if when_over is not None:
            when_over()
        while self._waiting and not self.is_full:
            _resolve(self._waiting.popleft())


def _resolve(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
