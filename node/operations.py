"""What a store has begun it finishes, whether or not anybody still waits.

A request may be abandoned at any moment; the files and rows that it touches must not be left
between two states, and its key must stay locked until the disk is done with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from ring.errors import HoldfastError, StorageFault

T = TypeVar("T")

OPERATIONS_MAX: Final = 256  # each holds one value of at most CHUNK_BYTES

log = structlog.get_logger()


class Operations:
    """Owns the tasks of operations under way: at most `limit`, others wait for their turn."""

    def __init__(self, limit: int = OPERATIONS_MAX) -> None:
        self._turns = asyncio.Semaphore(limit)
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._closed = False

    async def finish(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the operation returns or raises; once begun it goes on if the caller is cancelled.

        Raises StorageFault after `close`.
        """
        await self._turns.acquire()
        if self._closed:
            self._turns.release()
            raise StorageFault("the store was closed")
        task = asyncio.create_task(operation())
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_report)
            raise

    async def close(self) -> None:
        """Begin nothing any more, and wait for what was begun."""
        self._closed = True
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        self._turns.release()


def _report(task: asyncio.Task[Any]) -> None:
    """An abandoned operation has nobody else to tell of our mistakes."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, HoldfastError):
        log.error("an abandoned operation failed", exc_info=error)
