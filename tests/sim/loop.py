"""An event loop whose clock is a number: a simulated hour passes as fast as its events are worked.

Production code uses plain asyncio on it: sleep, timeout, TaskGroup and Queue all run in virtual
time, and the order of everything depends on nothing but the program.

Rules:
1.  Time is an integer of microseconds and moves only when nothing is ready to run.
2.  Nothing ready and nothing scheduled means that nothing can ever happen again: Deadlock.
3.  No threads and no sockets: both raise.
4.  Sets of tasks iterate by age (TaskGroup keeps one): a task's hash is its birth number, not its
    address.
5.  An exception that nobody retrieved fails the run.
6.  Cyclic garbage is collected after the run (garbage.py).
7.  What a simulated process does carries its name (`owner`), through tasks, timers and callbacks,
    so that all of it can be taken out of the loop and given back: a process that is stopped.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import math
import selectors
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from typing import Any, TypeVar, TypeVarTuple, Unpack

from tests.sim.garbage import collected_afterwards

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEPS_MAX = 1_000_000
_CANCEL_ROUNDS_MAX = 1_000
_SELF_PIPE_ONLY = 1

owner: ContextVar[object | None] = ContextVar("owner", default=None)
"""The simulated process on whose behalf the running code runs; None for the world itself."""


class Deadlock(Exception):
    """Nothing is scheduled, and yet the run is not over."""


class Livelock(Exception):
    """The run takes more steps than any honest one."""


class Unretrieved(Exception):
    """Background work failed and nobody looked."""


class _VirtualSelector(selectors.BaseSelector):
    """Waiting is moving the clock; of files it knows only the loop's own wake-up pipe."""

    def __init__(self, steps_max: int) -> None:
        self.now_us = 0
        self.steps = 0
        self._steps_max = steps_max
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if len(self._keys) >= _SELF_PIPE_ONLY:
            raise RuntimeError("the simulation has no sockets")
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, descriptor, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._keys.clear()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.steps += 1
        if self.steps > self._steps_max:
            raise Livelock(f"{self.steps} steps until virtual second {self.now_us / 1e6}")
        if timeout is None:
            raise Deadlock(f"nothing is scheduled at virtual second {self.now_us / 1e6}")
        if timeout > 0:
            # A hair below the next microsecond is that microsecond: floats are not exact.
            self.now_us += max(1, math.ceil(timeout * 1e6 - 0.01))
        return []


class SimTask(asyncio.Task[T]):
    """A task whose place in a set depends on when it was made, not on where."""

    def __init__(
        self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], *, birth: int, **kwargs: Any
    ) -> None:
        self.birth = birth
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self.birth


class SimLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self, steps_max: int = STEPS_MAX) -> None:
        self._virtual = _VirtualSelector(steps_max)
        self._births = itertools.count(1)
        self.complaints: list[str] = []
        super().__init__(self._virtual)
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._record)

    def time(self) -> float:
        """Virtual seconds since the run began."""
        return self._virtual.now_us / 1e6

    @property
    def now_us(self) -> int:
        """Virtual microseconds since the run began."""
        return self._virtual.now_us

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Always raises: threads end determinism."""
        raise RuntimeError(f"the simulation has no threads to run {func} in")

    def allow_more_steps(self) -> None:
        """Count anew: a run that was stopped still has to clean up."""
        self._virtual.steps = 0

    def take(self, process: object) -> list[asyncio.Handle]:
        """Everything that a process was about to do, or would do later; the loop forgets it."""
        queues = vars(self)  # asyncio has no name for them that is for others
        taken: list[asyncio.Handle] = []
        for name in ("_ready", "_scheduled"):
            queue = queues[name]
            its = [handle for handle in queue if _owner_of(handle) is process]
            if its:
                rest = [handle for handle in queue if _owner_of(handle) is not process]
                queue.clear()
                queue.extend(rest)
                taken += its
        heapq.heapify(queues["_scheduled"])
        return taken

    def give_back(self, taken: list[asyncio.Handle]) -> None:
        """Let it do all that; timers that ran out meanwhile ring at once."""
        queues = vars(self)
        for handle in taken:
            if isinstance(handle, asyncio.TimerHandle):
                heapq.heappush(queues["_scheduled"], handle)
            else:
                queues["_ready"].append(handle)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> SimTask[T]:
        return SimTask(coro, birth=next(self._births), loop=loop, name=name, context=context)

    def _record(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = str(context.get("message", ""))
        self.complaints.append(f"{what}: {error!r}" if error is not None else what)


def _owner_of(handle: asyncio.Handle) -> object | None:
    context: Context = vars(asyncio.Handle)["_context"].__get__(handle)
    return context.get(owner)


def run(main: Coroutine[Any, Any, T], *, steps_max: int = STEPS_MAX) -> T:
    """Run `main` to its end in virtual time, then cancel what is left.

    Raises what `main` raised, Deadlock, Livelock, or Unretrieved for failures in the background.
    """
    with collected_afterwards():
        return _run(main, steps_max)


def _run(main: Coroutine[Any, Any, T], steps_max: int) -> T:
    loop = SimLoop(steps_max)
    try:
        result = loop.run_until_complete(main)
        _cancel_rest(loop)
        gc.collect()
        if loop.complaints:
            raise Unretrieved("; ".join(loop.complaints[:5]))
        return result
    finally:
        # Whatever is still pending after a failure was abandoned on purpose.
        loop.set_exception_handler(lambda _loop, _context: None)
        _abandon(loop)
        loop.close()


def _cancel_rest(loop: SimLoop) -> None:
    """Cancel again and again: cleaning up may wait for something that will never come."""
    for _ in range(_CANCEL_ROUNDS_MAX):
        rest = sorted(asyncio.all_tasks(loop), key=lambda task: getattr(task, "birth", 0))
        if not rest:
            return
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    raise Livelock(f"tasks that cannot be cancelled: {[task.get_name() for task in rest]}")


def _abandon(loop: SimLoop) -> None:
    """After a failed run: let go of what is left, as far as it lets go."""
    loop.allow_more_steps()
    if asyncio.all_tasks(loop):
        try:
            _cancel_rest(loop)
        except (Deadlock, Livelock):
            return
