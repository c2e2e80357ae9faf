"""One life of a simulated disk: how long an operation takes, whether it fails, when it ends.

Rules:
1.  Every step takes the seed's time, and its effect falls at the end of that time.
2.  An operation whose caller was cancelled may happen all the same, as a thread's would.
3.  Once a life is over, what still waits for it waits for ever: the program no longer runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from ring.errors import DiskFull, HoldfastError, StorageFault
from tests.sim.platter import FileNode

T = TypeVar("T")
Steps = Generator[None, None, T]


@dataclass(slots=True)
class DiskFaults:
    """Switches, shared by all lives of a disk.  Rates are probabilities per operation.

    slow: factor on every latency.  warm: how often `read_now` finds what it wants in memory.
    """

    read_error_rate: float = 0.0
    write_error_rate: float = 0.0
    sync_error_rate: float = 0.0
    full: bool = False
    slow: float = 1.0
    warm: float = 0.5


class Device:
    """See the module.  `latency_s` is the mean of what one step takes."""

    def __init__(self, rng: Random, latency_s: float, faults: DiskFaults) -> None:
        self.rng = rng
        self.latency_s = latency_s
        self.faults = faults
        self.alive = True
        self._steps_left = 0
        self._trip: Callable[[], None] | None = None

    def trip_after(self, steps: int, trip: Callable[[], None] | None) -> None:
        """Call `trip`, which may end this life, in place of the `steps`-th step from now on."""
        self._steps_left, self._trip = steps, trip

    def act(self, effect: Callable[[], T]) -> asyncio.Future[T]:
        """The outcome of `effect`, in a while."""
        return self.operate(_one_step(effect))

    def operate(self, steps: Steps[T]) -> asyncio.Future[T]:
        """The outcome of `steps`, worked one by one with time before each."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self.alive:
            loop.call_later(self._latency_s(), self._start, loop, future, steps)
        return future

    def is_warm(self) -> bool:
        """Whether a read that must not wait finds what it wants in memory."""
        return self.alive and self.rng.random() < self.faults.warm

    def check_read(self) -> None:
        """Raise what a read meets now."""
        self._check(self.faults.read_error_rate, "input/output error while reading")

    def check_write(self, growth_bytes: int) -> None:
        """Raise what a write meets now."""
        self._check(self.faults.write_error_rate, "input/output error while writing")
        if self.faults.full:
            raise DiskFull(f"no room for {growth_bytes} more bytes")

    def check_overwrite(self) -> None:
        """Raise what a write meets now that needs no room."""
        self._check(self.faults.write_error_rate, "input/output error while writing")

    def check_sync(self) -> None:
        """Raise what a sync meets now."""
        self._check(self.faults.sync_error_rate, "input/output error while syncing")

    def sync(self, node: FileNode, mark: int) -> None:
        """Make what was written before `mark` durable, or fail and lose some of it."""
        try:
            self.check_sync()
        except StorageFault:
            node.forsake(mark, self.rng)
            raise
        node.commit(mark)

    def _start(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], steps: Steps[T]
    ) -> None:
        was_queued = future.cancelled() and self.rng.random() < 0.5
        if not was_queued:
            self._advance(loop, future, steps)

    def _advance(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], steps: Steps[T]
    ) -> None:
        if self._trip is not None:
            self._steps_left -= 1
            if not self._steps_left:
                trip, self._trip = self._trip, None
                trip()
        if not self.alive:
            return
        try:
            next(steps)
        except StopIteration as stop:
            if not future.done():
                future.set_result(stop.value)
        except (HoldfastError, OSError, AssertionError) as error:
            if not future.done():
                future.set_exception(error)
        else:
            loop.call_later(self._latency_s(), self._advance, loop, future, steps)

    def _latency_s(self) -> float:
        return self.rng.expovariate(1.0) * self.latency_s * self.faults.slow

    def _check(self, rate: float, words: str) -> None:
        if rate and self.rng.random() < rate:
            raise StorageFault(words)


def _one_step(effect: Callable[[], T]) -> Steps[T]:
    yield from ()
    return effect()
