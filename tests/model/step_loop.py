"""An event loop that runs until nothing is ready, and then stands still: no clock, no sockets.

Time is a number that moves only when somebody says so (`ring_next`).  Making one costs nothing, so
that every replay of an actor has its own, and work on a node's store another.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

_TURNS_MAX = 100_000
_CANCEL_ROUNDS = 20
_numbers = itertools.count(1)  # of all loops: asyncio keeps all tasks in one set


class StepTask(asyncio.Task[T]):
    """A task whose place in a set depends on when it was made; one that is let go is no news."""

    def __init__(
        self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], *, birth: int, **kwargs: Any
    ) -> None:
        self.birth = birth
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self.birth


class StepLoop(asyncio.AbstractEventLoop):
    """complaints: what nobody retrieved, in words."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._now_s = 0.0
        self._tasks: list[StepTask[Any]] = []

    # --- what asyncio asks of a loop --------------------------------------------------------------

    def call_soon(  # type: ignore[override]  # typeshed's variadic signature says no more
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # likewise
        self, delay: float, callback: Callable[..., object], *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # likewise
        self, when: float, callback: Callable[..., object], *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(_numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are left out as they come up."""

    def time(self) -> float:
        return self._now_s

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], *, name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task: StepTask[T] = StepTask(
            coro, birth=next(_numbers), loop=self, name=name, context=context
        )
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        words = str(context.get("message", ""))
        self.complaints.append(f"{words}: {error!r}" if error is not None else words)

    # --- what the exploration asks of it ----------------------------------------------------------

    def settle(self) -> None:
        """Run until nothing is ready."""
        ready = self._ready
        with self.running():
            for _ in range(_TURNS_MAX):
                if not ready:
                    return
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 - what a loop does with a handle has no other name
        raise RuntimeError("it never comes to rest")

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """Be the running loop, also within another one."""
        before = asyncio._get_running_loop()  # noqa: SLF001 - as documented as the one below
        asyncio._set_running_loop(self)  # noqa: SLF001 - the documented hook of other loops
        try:
            yield
        finally:
            asyncio._set_running_loop(before)  # noqa: SLF001 - the documented hook of other loops

    @property
    def has_timers(self) -> bool:
        """Whether anything is to happen later."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return bool(self._timers)

    def ring_next(self) -> None:
        """Let the time of the next timer come."""
        assert self.has_timers
        when, _, handle = heapq.heappop(self._timers)
        self._now_s = max(self._now_s, when)
        self._ready.append(handle)
        self.settle()

    def finish(self, coro: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns or raises that waits for nobody."""
        with self.running():
            task = self.create_task(coro)
        self.settle()
        self._tasks.clear()
        if not task.done():
            raise RuntimeError(f"{coro!r} waits for something")
        return task.result()

    def dismiss(self) -> None:
        """Cancel what is left, and let it clean up."""
        for _ in range(_CANCEL_ROUNDS):
            left = [task for task in self._tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self.settle()
        self._timers.clear()
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.exception()


def step_loop() -> StepLoop:
    """A new one."""
    return StepLoop()  # type: ignore[abstract]  # it knows no sockets, and nobody asks for any
