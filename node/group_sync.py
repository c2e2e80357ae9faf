"""One sync for everybody who asked before it began."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ring.errors import HoldfastError, StorageFault


class GroupSync:
    """Calls `sync` such that each caller is covered by a run that began after it asked.

    When a run fails, those who wait for the next one fail with it: what they want made durable may
    have been in the failed run, and a second one would not tell.
    """

    def __init__(self, sync: Callable[[], Awaitable[None]]) -> None:
        self._sync = sync
        self._waiting: list[asyncio.Future[None]] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return self._worker is None

    async def wait(self) -> None:
        """Return when everything done before this call is durable; raises what `sync` raises."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        await done

    async def _work(self) -> None:
        """Sync until nobody waits."""
        covered: list[asyncio.Future[None]] = []
        try:
            while self._waiting:
                covered, self._waiting = self._waiting, []
                try:
                    await self._sync()
                except HoldfastError as error:
                    _fail([*covered, *self._waiting], error)
                    self._waiting = []
                for done in covered:
                    if not done.done():
                        done.set_result(None)
        except (Exception, asyncio.CancelledError):
            _fail([*covered, *self._waiting], StorageFault("the sync was broken off"))
            self._waiting = []
            raise
        finally:
            self._worker = None


def _fail(waiting: list[asyncio.Future[None]], error: HoldfastError) -> None:
    for done in waiting:
        if not done.done():
            done.set_exception(type(error)(error.detail, **error.facts))
