"""What a store has begun it finishes, whether or not anybody still waits.

A request may be abandoned at any moment; the files and rows that it touches must not be left
between two states, and its key must stay locked until the disk is done with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from node.allowance import Allowance
from ring.errors import HoldfastError, StorageFault

T = TypeVar("T")

OPERATIONS_MAX: Final = 256  # each holds one value of at most CHUNK_BYTES
TRACKED_MAX: Final = 2048  # each holds one small value

log = structlog.get_logger()


class Operations:
    """Owns operations under way: at most `limit` tasks, others wait for their turn."""

    def __init__(self, limit: int = OPERATIONS_MAX) -> None:
        self._turns = Allowance(limit)
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._tracked: dict[asyncio.Future[Any], None] = {}
        self._closed = False

    def begin(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T] | None:
        """The operation as a task of ours that goes on whoever waits; None when no turn is free.

        Raises StorageFault after `close`.
        """
        return self._begun(operation) if self._turns.take_now(1) else None

    @property
    def may_track(self) -> bool:
        """Whether there is room for one more operation without a task."""
        return not self._closed and len(self._tracked) < TRACKED_MAX

    def track(self) -> asyncio.Future[Any]:
        """A future for an operation that needs no task: it goes on until `untrack`.

        Only while `may_track`, and for small values.  It takes no turn: a node that lags behind
        the others has many of them under way, and must not be slower for that.
        """
        assert self.may_track
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._tracked[future] = None
        return future

    def untrack(self, future: asyncio.Future[Any]) -> None:
        """The operation is over, or will be in this very moment."""
        del self._tracked[future]

    async def finish(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the operation returns or raises; once begun it goes on if the caller is cancelled.

        Raises StorageFault after `close`.
        """
        await self._turn()
        task = self._begun(operation)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(report_abandoned)
            raise

    async def until_past(self) -> None:
        """Wait until all that is under way at this moment has ended."""
        under_way = [*self._tasks, *self._tracked]
        if under_way:
            await asyncio.shield(asyncio.gather(*under_way, return_exceptions=True))

    async def close(self) -> None:
        """Begin nothing any more, and wait for what was begun."""
        self._closed = True
        while under_way := [*self._tasks, *self._tracked]:
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _turn(self) -> None:
        """Wait for a turn, after all who asked before."""
        if self._turns.take_now(1):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def granted() -> None:
            if turn.done():
                self._turns.give_back(1)  # whoever waited was cancelled in this very moment
            else:
                turn.set_result(None)

        self._turns.wait(1, granted)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._turns.give_back(1)  # it was our turn already
            else:
                self._turns.withdraw(granted)
            raise

    def _begun(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        if self._closed:
            self._turns.give_back(1)
            raise StorageFault("the store was closed")
        task = asyncio.create_task(operation())
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        self._turns.give_back(1)


def report_abandoned(task: asyncio.Future[Any]) -> None:
    """An abandoned operation has nobody else to tell of our mistakes."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, HoldfastError):
        log.error("an abandoned operation failed", exc_info=error)
