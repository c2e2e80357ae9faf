"""Stores as a node has them, on a loop as a node has it, without anything else of a node.

Rule: every wait in the loop has a share of the run's deadline.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
import uvloop

from bench.deadline import Deadline
from bench.failure import RowFailed
from node.file_store import FileRecordStore
from node.host import HostClock, HostRandomness
from node.index.lmdb_index import LmdbHome
from node.posix_disk import PosixDisk
from node.posix_threads import Threads
from node.record_keeper import RecordKeeper
from node.recordlog.page_store import PageRecordStore, PageSettings
from ring.errors import HoldfastError

T = TypeVar("T")

HASHING_THREADS: Final = 2  # as node/process.py
_STEP_S: Final = 240.0  # no single step takes longer on any machine that is worth measuring


class Kind(Enum):
    """A store that keeps things."""

    PAGES = "pages"
    FILES = "files"


@asynccontextmanager
async def opened(
    kind: Kind,
    folder: Path,
    settings: PageSettings | None = None,
    disk: PosixDisk | None = None,
) -> AsyncIterator[RecordKeeper]:
    """A store in `folder`, closed at the end."""
    async with AsyncExitStack() as cleanup:
        threads = Threads(HASHING_THREADS, "hash")
        cleanup.push_async_callback(threads.close)
        disk = disk or PosixDisk(str(folder))
        cleanup.push_async_callback(disk.close)
        clock, randomness = HostClock(), HostRandomness()
        store: RecordKeeper
        if kind is Kind.FILES:
            store = await FileRecordStore.open(
                disk, clock=clock, randomness=randomness, offload=threads.run
            )
        else:
            home = LmdbHome(disk, str(folder))
            store = await PageRecordStore.open(
                disk,
                home,
                clock=clock,
                randomness=randomness,
                offload=threads.run,
                settings=settings,
            )
        cleanup.push_async_callback(store.close)
        yield store


class Loop:
    """One event loop for several steps, between which it stands still."""

    def __init__(self, runner: asyncio.Runner, deadline: Deadline) -> None:
        self._runner = runner
        self._deadline = deadline
        self._cleanup = AsyncExitStack()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """What the step returns; RowFailed when it takes too long or the store refuses it."""
        try:
            limit_s = self._deadline.share_s(_STEP_S, "a step of the store's bench")
        except RowFailed:
            step.close()
            raise
        try:
            return self._runner.run(asyncio.wait_for(step, limit_s))
        except TimeoutError as error:
            raise RowFailed(f"a step took more than {limit_s:.0f} s") from error
        except HoldfastError as error:
            raise RowFailed(f"the store refused: {error.detail}") from error

    def open(
        self,
        kind: Kind,
        folder: Path,
        settings: PageSettings | None = None,
        disk: PosixDisk | None = None,
    ) -> RecordKeeper:
        """A store that is open until `close`."""
        context = opened(kind, folder, settings, disk)
        return self.run(self._cleanup.enter_async_context(context))

    def close(self) -> None:
        """Close all stores; takes a bounded time, for a store's close does."""
        self._runner.run(self._cleanup.aclose())


@contextmanager
def running_loop(deadline: Deadline) -> Iterator[Loop]:
    """A loop of uvloop; its stores are closed at the end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = Loop(runner, deadline)
        try:
            yield loop
        finally:
            loop.close()


def log_to_stderr() -> None:
    """Standard output belongs to the report; of what stores say only warnings matter here."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def drop_cache(folder: Path) -> None:
    """Have the kernel forget what it holds of all files below, as far as it is not mapped."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
                os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(number)


def folder_bytes(folder: Path) -> int:
    """Sum of the lengths of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
