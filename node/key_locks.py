"""One lock for each key that somebody is at work on, and none for the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class KeyLocks:
    """Locks by key, handed on in the order of arrival; never held by more tasks than are alive."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[asyncio.Future[None]]] = {}

    def is_held(self, key: bytes) -> bool:
        """Whether somebody is at work on the key."""
        return key in self._waiting

    @asynccontextmanager
    async def hold(self, keys: Iterable[bytes]) -> AsyncIterator[None]:
        """Hold the locks of several keys, taken in order so that two tasks never wait in a ring."""
        held: list[bytes] = []
        try:
            for key in sorted({*keys}):
                await self._acquire(key)
                held.append(key)
            yield
        finally:
            for key in held:
                self._release(key)

    async def _acquire(self, key: bytes) -> None:
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(key)  # it was our turn already
            raise

    def _release(self, key: bytes) -> None:
        waiting = self._waiting[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[key]
