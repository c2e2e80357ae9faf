"""Requests that are being worked on: each a task, owned here, bounded, ended at its deadline."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine

from node.allowance import Allowance
from node.deadline_sweep import DeadlineSweep
from node.handler import Response

JobTask = asyncio.Task[Response]


class Job:
    """One request: its task, and until when the asker waits (seconds of loop.time())."""

    __slots__ = ("deadline", "expired", "task")

    def __init__(self, task: JobTask, deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.expired = False


class Work:
    """Everything under way on one server.

    allowance: how many jobs may run; owners of connections stop reading beyond it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, jobs_max: int) -> None:
        self._loop = loop
        self._jobs: dict[JobTask, Job] = {}
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
        task = self._loop.create_task(work)
        job = self._jobs[task] = Job(task, deadline)
        self.allowance.overdraw(1)
        self._sweep.watch(deadline)

        def done(task: JobTask) -> None:
            del self._jobs[task]
            self.allowance.give_back(1)
            ended(job)
            if not self._jobs and self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

        task.add_done_callback(done)

    async def finished(self) -> None:
        """Wait until nothing is under way."""
        if self._jobs:
            self._idle = self._loop.create_future()
            await self._idle

    async def close(self) -> None:
        """Cancel what is under way and wait for its end."""
        for task in self._jobs:
            task.cancel()
        await self.finished()
        self._sweep.close()

    def _expire(self, now: float) -> float:
        earliest = math.inf
        for job in self._jobs.values():
            if job.expired:
                continue
            if job.deadline <= now:
                job.expired = True
                job.task.cancel()
            else:
                earliest = min(earliest, job.deadline)
        return earliest
