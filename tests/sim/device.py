"""One life of a simulated disk: how long an operation takes, whether it fails, when it ends.

Rules:
1.  Every step takes the seed's time, and its effect falls at the end of that time.
2.  An operation whose caller was cancelled may happen all the same, as a thread's would.
3.  Once a life is over, what still waits for it waits for ever: the program no longer runs.
4.  A disk that hangs takes operations and does nothing; once it is well it goes on with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TypeVar

from ring.errors import DiskFull, HoldfastError, StorageFault
from tests.sim.platter import FileNode

T = TypeVar("T")
Steps = Generator[None, None, T]
Hit = Callable[[FileNode, int, bytes], None]


@dataclass(slots=True)
class DiskFaults:
    """Switches, shared by all lives of a disk.  Rates are probabilities per operation.

    freed_bytes: room that was given back since the disk was full.
    errors_left: after so many errors their rates are 0 again, None for never.  slow: factor on
    every latency.  warm: how often `read_now` finds what it wants in memory.  strike: what happens
    to one write.  suspended: nothing fails for the moment.  troubled_at_s: when a program last met
    an error.
    """

    read_error_rate: float = 0.0
    write_error_rate: float = 0.0
    sync_error_rate: float = 0.0
    errors_left: int | None = None
    full: bool = False
    freed_bytes: int = 0
    slow: float = 1.0
    warm: float = 0.5
    strike: Strike | None = None
    suspended: bool = False
    troubled_at_s: float = -1.0
    _hanging: list[Callable[[], object]] | None = None

    @property
    def hangs(self) -> bool:
        """Whether nothing is answered at the moment."""
        return self._hanging is not None and not self.suspended

    @property
    def is_full(self) -> bool:
        """Whether there is no room at the moment."""
        return self.full and not self.suspended

    def hang(self) -> None:
        """Answer nothing until `recover`."""
        if self._hanging is None:
            self._hanging = []

    def recover(self) -> None:
        """Go on with what was asked for meanwhile."""
        waiting, self._hanging = self._hanging or [], None
        for go_on in waiting:
            go_on()

    def wait(self, go_on: Callable[[], object]) -> None:
        """Have `go_on` called when the disk is well again."""
        assert self._hanging is not None
        self._hanging.append(go_on)

    def heal(self) -> None:
        """Nothing goes wrong any more, but what a strike left stays."""
        self.stop_failing()
        self.full = False
        self.freed_bytes = 0
        self.slow = 1.0
        self.strike = None
        self.recover()

    def stop_failing(self) -> None:
        """No more input/output errors."""
        self.read_error_rate = self.write_error_rate = self.sync_error_rate = 0.0
        self.errors_left = None


@dataclass(slots=True)
class Strike:
    """Something that goes wrong with the next write that it takes, and unnoticed.

    takes: whether it is a write into a file of that path.  hit: is called in the write's place.
    """

    takes: Callable[[str], bool]
    hit: Hit


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
        if self.faults.is_full and growth_bytes <= self.faults.freed_bytes > 0:
            self.faults.freed_bytes -= growth_bytes
        elif self.faults.is_full:
            self._note_trouble()
            raise DiskFull(f"no room for {growth_bytes} more bytes")

    def check_overwrite(self) -> None:
        """Raise what a write meets now that needs no room."""
        self._check(self.faults.write_error_rate, "input/output error while writing")

    def check_sync(self) -> None:
        """Raise what a sync meets now."""
        self._check(self.faults.sync_error_rate, "input/output error while syncing")

    def write(self, node: FileNode, path: str, offset: int, data: bytes) -> None:
        """Into the cache, unless a strike has other plans."""
        strike = self.faults.strike
        if strike is not None and data and strike.takes(path):
            self.faults.strike = None
            strike.hit(node, offset, data)
        else:
            node.write(offset, data)

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
        if self.faults.hangs:
            # In the context of whoever waits for it: a process may be frozen when the disk is well.
            self._note_trouble()
            context = copy_context()
            self.faults.wait(
                partial(loop.call_soon, self._advance, loop, future, steps, context=context)
            )
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
        faults = self.faults
        if rate and not faults.suspended and self.rng.random() < rate:
            self._note_trouble()
            if faults.errors_left is not None:
                faults.errors_left -= 1
                if not faults.errors_left:
                    faults.stop_failing()
            raise StorageFault(words)

    def _note_trouble(self) -> None:
        self.faults.troubled_at_s = asyncio.get_running_loop().time()


def _one_step(effect: Callable[[], T]) -> Steps[T]:
    yield from ()
    return effect()
