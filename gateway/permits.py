"""A bound on how much is done or held at once: permits, waited for in line and with a deadline."""

from __future__ import annotations

import asyncio
from collections import deque

from ring.errors import Busy


class Permits:
    """`count` permits, given in the order of asking."""

    def __init__(self, count: int, patience_s: float) -> None:
        assert count > 0
        self._count = self._free = count
        self._patience_s = patience_s
        self._waiting: deque[asyncio.Future[None]] = deque()

    def try_acquire(self) -> bool:
        """Take a permit if one is free and nobody waits."""
        if self._free == 0 or self._waiting:
            return False
        self._free -= 1
        return True

    def try_spare(self) -> bool:
        """Take a permit if more than half of them are free: for what can be done without."""
        return 2 * self._free > self._count and self.try_acquire()

    async def acquire(self) -> None:
        """Take a permit; raises Busy when none becomes free in time."""
        if self.try_acquire():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._patience_s):
                await turn
        except BaseException as error:
            self._leave(turn)
            if isinstance(error, TimeoutError):
                raise Busy("too many large blobs are under way; try again") from error
            raise

    def release(self) -> None:
        """Give a permit back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _leave(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.release()  # it was given to us while we gave up
        elif turn in self._waiting:
            self._waiting.remove(turn)


class Lease:
    """At most one permit, for as long as its holder keeps what it stands for."""

    def __init__(self, permits: Permits) -> None:
        self._permits = permits
        self._is_held = False

    async def take(self) -> None:
        """Hold a permit from now on; raises Busy when none becomes free in time."""
        if not self._is_held:
            await self._permits.acquire()
            self._is_held = True

    def give_back(self) -> None:
        """Idempotent."""
        if self._is_held:
            self._is_held = False
            self._permits.release()
