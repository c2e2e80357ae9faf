"""A fixed number of threads for work that blocks: disk calls and hashing.

Rules:
1.  Callers wait; the queue holds no more than the requests that the server has admitted.
2.  Work that has begun cannot be stopped.  What came of it is reported to `settled` even when
    nobody waits any more, so that no descriptor and no bookkeeping is lost.

Written by hand because a hop through `concurrent.futures` costs several times as much processor
time: a future with a condition variable, chained to a second one of the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeVar

from ring.errors import StorageFault

T = TypeVar("T")

Settled = Callable[[T | None, "asyncio.Future[T]"], None]
"""Called in the event loop when the work is over, before its future is resolved: the result (None
when it failed) and the future, which is done already when nobody waits any more."""

CLOSE_TIMEOUT_S: Final = 5.0


class Threads:
    """`count` threads, started at once and ended by `close`."""

    def __init__(self, count: int, name: str) -> None:
        self._queue: SimpleQueue[Callable[[], bool]] = SimpleQueue()
        self._open = True
        # Daemons: a disk that hangs for ever must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, work: Callable[[], T], settled: Settled[T] | None = None) -> asyncio.Future[T]:
        """The outcome of `work`, done in a thread; raises StorageFault after `close`."""
        if not self._open:
            raise StorageFault("the threads were stopped")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(partial(_do, loop, future, work, settled))
        return future

    async def close(self) -> bool:
        """Finish what is queued and end the threads; false when some were too slow; idempotent."""
        if not self._open:
            return True
        self._open = False
        loop = asyncio.get_running_loop()
        endings = [loop.create_future() for _ in self._threads]
        for ending in endings:
            self._queue.put(partial(_end, loop, ending))
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(*endings)
        except TimeoutError:
            return False
        for thread in self._threads:
            thread.join(CLOSE_TIMEOUT_S)
        return True

    def _serve(self) -> None:
        while self._queue.get()():
            pass


def _do(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[T],
    work: Callable[[], T],
    settled: Settled[T] | None,
) -> bool:
    """Do the work and report; true means that the thread goes on."""
    result: T | None = None
    failure: BaseException | None = None
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - carried to whoever waits, as it is
        failure = error
    try:
        loop.call_soon_threadsafe(_report, future, result, failure, settled)
    except RuntimeError:  # the loop is closed: nobody can wait any more
        return False
    return True


def _report(
    future: asyncio.Future[T],
    result: T | None,
    failure: BaseException | None,
    settled: Settled[T] | None,
) -> None:
    if settled is not None:
        settled(result, future)
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)  # type: ignore[arg-type]  # None only if T admits it


def _end(loop: asyncio.AbstractEventLoop, ending: asyncio.Future[None]) -> bool:
    """Report that this thread ends."""
    try:
        loop.call_soon_threadsafe(_report, ending, None, None, None)
    except RuntimeError:  # see `_do`
        return False
    return False
