"""Requests that are being worked on: bounded, and each answered by its deadline.

Two kinds: tasks of ours, which are cancelled at the deadline, and what has begun elsewhere and goes
on by itself (node.handler.Begun), which is only waited for until then.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

from node.allowance import Allowance
from node.deadline_sweep import DeadlineSweep
from node.handler import Begun, Response
from node.operations import report_abandoned
from ring.errors import DeadlineExceeded


class Job:
    """One request: what it waits for, and until when the asker waits (seconds of loop.time())."""

    __slots__ = ("_respond", "deadline", "ended", "expired", "future")

    def __init__(
        self,
        future: asyncio.Future[Any],
        deadline: float,
        ended: Callable[[Job], None],
        respond: Callable[[Any], Response] | None = None,
    ) -> None:
        self.future = future
        self.deadline = deadline
        self.ended = ended
        self.expired = False
        self._respond = respond

    @property
    def goes_on(self) -> bool:
        """Whether it is not ours to cancel."""
        return self._respond is not None

    def response(self) -> Response:
        """Once it has ended; raises what it raised, and DeadlineExceeded when it goes on."""
        if self._respond is None:
            response: Response = self.future.result()
            return response
        if self.expired:
            raise DeadlineExceeded("the work was not done in time")
        return self._respond(self.future.result())


class Work:
    """Everything under way on one server.

    allowance: how many jobs may run; owners of connections stop reading beyond it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, jobs_max: int) -> None:
        self._loop = loop
        self._jobs: dict[asyncio.Future[Any], Job] = {}
        self._sweep = DeadlineSweep(loop, self._expire)
        self._idle: asyncio.Future[None] | None = None
        self.allowance = Allowance(jobs_max)

    def __len__(self) -> int:
        return len(self._jobs)

    def start(
        self,
        work: Coroutine[object, object, Response],
        deadline: float,
        ended: Callable[[Job], None],
    ) -> None:
        """Run `work` as a task that is cancelled at `deadline`; `ended` is called exactly once."""
        self._add(Job(self._loop.create_task(work), deadline, ended))

    def follow(self, begun: Begun, deadline: float, ended: Callable[[Job], None]) -> None:
        """Wait for what has begun, until `deadline`; `ended` is called exactly once."""
        self._add(Job(begun.future, deadline, ended, begun.respond))

    async def finished(self) -> None:
        """Wait until nothing is under way."""
        if self._jobs:
            self._idle = self._loop.create_future()
            await self._idle

    async def close(self) -> None:
        """Cancel what is ours, let go of what is not, and wait for the end of the first."""
        for job in list(self._jobs.values()):
            if job.goes_on:
                job.future.remove_done_callback(self._done)
                job.future.add_done_callback(report_abandoned)
                self._let_go(job)
                self._drop(job)
            else:
                job.future.cancel()
        await self.finished()
        self._sweep.close()

    def _add(self, job: Job) -> None:
        self._jobs[job.future] = job
        self.allowance.overdraw(1)
        self._sweep.watch(job.deadline)
        job.future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        job = self._jobs[future]
        self._drop(job)
        if job.goes_on and job.expired:
            report_abandoned(future)
        else:
            job.ended(job)

    def _drop(self, job: Job) -> None:
        del self._jobs[job.future]
        self.allowance.give_back(1)
        if not self._jobs and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _let_go(self, job: Job) -> None:
        """Answer for a job that goes on."""
        if not job.expired:
            job.expired = True
            job.ended(job)

    def _expire(self, now: float) -> float:
        earliest = math.inf
        for job in list(self._jobs.values()):
            if job.expired:
                continue
            if job.deadline > now:
                earliest = min(earliest, job.deadline)
            elif job.goes_on:
                self._let_go(job)
            else:
                job.expired = True
                job.future.cancel()
        return earliest
