"""One lock for each key that somebody is at work on, and none for the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence


class KeyLocks:
    """Locks by key, handed on in the order of arrival; never held by more tasks than are alive."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[asyncio.Future[None]]] = {}

    def is_held(self, key: bytes) -> bool:
        """Whether somebody is at work on the key."""
        return key in self._waiting

    def take_now(self, key: bytes) -> bool:
        """Take one lock if nobody holds it; whoever took it calls `release`."""
        if key in self._waiting:
            return False
        self._waiting[key] = deque()
        return True

    def hold(self, keys: Iterable[bytes]) -> Hold:
        """Hold the locks of several keys, taken in order so that two tasks never wait in a ring."""
        return Hold(self, sorted({*keys}))

    async def acquire(self, key: bytes) -> None:
        """Take one lock, after all who asked before."""
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
                self.release(key)  # it was our turn already
            raise

    def release(self, key: bytes) -> None:
        """Hand the lock on."""
        waiting = self._waiting[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[key]


class Hold:
    """Locks taken for the time of an `async with`."""

    __slots__ = ("_held", "_keys", "_locks")

    def __init__(self, locks: KeyLocks, keys: Sequence[bytes]) -> None:
        self._locks = locks
        self._keys = keys
        self._held = 0

    async def __aenter__(self) -> None:
        try:
            for key in self._keys:
                await self._locks.acquire(key)
                self._held += 1
        except BaseException:
            self._let_go()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        for key in self._keys[: self._held]:
            self._locks.release(key)
        self._held = 0
