"""Child processes that are started, watched, started again when they die, and stopped in order.

Rules:
1.  Children share the read end of a pipe as their standard input, and nobody ever writes to it: it
    ends when this process dies, however it dies, and children stop when it does.
2.  Each child is in a process group of its own, so that a Ctrl-C meant for this process does not
    reach them: it is this process that stops them, in order.
3.  A child that dies is started again after a wait that doubles up to a bound, and starts small
    again once a child has lived for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog

RESTART_FIRST_S: Final = 0.2
RESTART_MAX_S: Final = 10.0
LIVED_S: Final = 10.0
HOLDFAST: Final = (sys.executable, "-m", "holdfast")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child: its name in log lines, and its arguments."""

    name: str
    arguments: tuple[str, ...]


class Child:
    """One supervised process.

    restarts: how often it died and was started again.  last_exit: how it ended last, in words.
    """

    def __init__(self, spec: ChildSpec, spawn: Callable[[ChildSpec], Awaitable[Process]]) -> None:
        self.name = spec.name
        self.restarts = 0
        self.last_exit = ""
        self._spec = spec
        self._spawn = spawn
        self._process: Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def run(self) -> None:
        """Keep it running until it is told to stop and has ended."""
        loop = asyncio.get_running_loop()
        wait_s = RESTART_FIRST_S
        while not self._stopping.is_set():
            started_s = loop.time()
            self.last_exit = await self._live()
            if self._stopping.is_set():
                return
            if loop.time() - started_s > LIVED_S:
                wait_s = RESTART_FIRST_S
            self.restarts += 1
            log.warning(
                "a process ended and is started again",
                child=self.name,
                how=self.last_exit,
                wait_s=round(wait_s, 1),
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
            wait_s = min(2 * wait_s, RESTART_MAX_S)

    def stop(self, number: signal.Signals) -> None:
        """Send it a signal, and do not start it again."""
        self._stopping.set()
        if self._process is not None and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _live(self) -> str:
        try:
            self._process = await self._spawn(self._spec)
        except OSError as error:
            return f"could not be started: {error.strerror}"
        if self._stopping.is_set():
            self._process.terminate()
        return _in_words(await self._process.wait())


class Supervisor:
    """Children of this process; leaving the context kills those that still run.

    inherited: descriptors that every child keeps open, such as that of a lock.
    program: what a child's arguments are given to.
    """

    def __init__(
        self, inherited: Sequence[int] = (), *, program: Sequence[str] = HOLDFAST
    ) -> None:
        self._inherited = tuple(inherited)
        self._program = tuple(program)
        self._running: dict[Child, asyncio.Task[None]] = {}
        self._watched, self._held = os.pipe()
        self._stopping: list[Child] = []
        self._patience: list[asyncio.TimerHandle] = []
        self._hurried = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.hurry()
        await self.stop(self.children, grace_s=0)
        for handle in self._patience:
            handle.cancel()
        os.close(self._watched)
        os.close(self._held)

    @property
    def children(self) -> tuple[Child, ...]:
        """All children, in the order in which they were started."""
        return tuple(self._running)

    def start(self, spec: ChildSpec) -> Child:
        """Start a child and keep it running."""
        child = Child(spec, self._spawn)
        self._running[child] = asyncio.get_running_loop().create_task(child.run())
        return child

    async def stop(self, children: Iterable[Child], *, grace_s: float) -> None:
        """SIGTERM, and SIGKILL for those that have not ended `grace_s` later or when hurried."""
        stopped = list(children)
        for child in stopped:
            child.stop(signal.SIGTERM)
        ended = asyncio.gather(*(self._running[child] for child in stopped))
        self._patience.append(asyncio.get_running_loop().call_later(grace_s, self._kill, stopped))
        self._stopping.extend(stopped)
        if self._hurried:
            self.hurry()
        await ended

    def hurry(self) -> None:
        """Wait no longer for those that were told to stop, now and from now on."""
        self._hurried = True
        self._kill(self._stopping)

    def _kill(self, children: Iterable[Child]) -> None:
        for child in children:
            if child.pid is not None:
                log.warning("a process did not stop in time and is killed", child=child.name)
                child.stop(signal.SIGKILL)

    async def _spawn(self, spec: ChildSpec) -> Process:
        return await asyncio.create_subprocess_exec(
            *self._program,
            *spec.arguments,
            stdin=self._watched,
            pass_fds=self._inherited,
            process_group=0,
        )


def _in_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
