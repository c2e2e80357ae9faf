"""Jobs of a server: each is answered once and by its deadline, whoever does the work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from node.handler import Begun, Response
from node.work import Job, Work
from ring.errors import DeadlineExceeded, StorageFault, Unavailable
from ring.messages import FlagsReply
from tests.fakes.virtual_time import in_virtual_time

DONE = Response(FlagsReply((True,)))


class Jobs:
    """Work, and how each of its jobs ended."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.work = Work(self.loop, 9)
        self.ended: list[Response | BaseException] = []

    def follow(self, future: asyncio.Future[Any], patience_s: float = 5.0) -> None:
        begun = Begun(future, lambda answer: answer)
        self.work.follow(begun, self.loop.time() + patience_s, self.end)

    def end(self, job: Job) -> None:
        try:
            self.ended.append(job.response())
        except (asyncio.CancelledError, Exception) as error:  # noqa: BLE001 - to be looked at
            self.ended.append(error)


@in_virtual_time
async def test_what_has_begun_is_answered_when_it_is_done() -> None:
    jobs = Jobs()
    good, bad = jobs.loop.create_future(), jobs.loop.create_future()
    for future in (good, bad):
        jobs.follow(future)
    assert len(jobs.work) == 2
    good.set_result(DONE)
    bad.set_exception(StorageFault("broken"))
    await jobs.work.finished()

    assert jobs.ended[0] is DONE
    assert isinstance(jobs.ended[1], StorageFault)
    assert len(jobs.work) == 0
    await jobs.work.close()


@pytest.mark.parametrize("how", ["well", "refused", "by a bug"])
@in_virtual_time
async def test_what_has_begun_is_answered_at_the_deadline_and_goes_on(how: str) -> None:
    jobs = Jobs()
    future = jobs.loop.create_future()
    jobs.follow(future)
    await asyncio.sleep(6.0)
    assert [type(end) for end in jobs.ended] == [DeadlineExceeded]
    assert not future.done()
    assert len(jobs.work) == 1  # its memory is still in use
    with capture_logs() as lines:
        if how == "well":
            future.set_result(DONE)
        else:
            error = Unavailable("no") if how == "refused" else ZeroDivisionError()
            future.set_exception(error)
        await jobs.work.finished()

    assert len(jobs.ended) == 1
    assert bool(lines) == (how == "by a bug")
    await jobs.work.close()


@in_virtual_time
async def test_each_is_answered_at_its_own_deadline_in_whatever_order_they_came() -> None:
    jobs = Jobs()
    futures = [jobs.loop.create_future() for _ in range(4)]
    for future, patience_s in zip(futures, (1.0, 5.0, 9.0, 3.0), strict=True):
        jobs.follow(future, patience_s)
    ended = []
    for _ in range(10):
        await asyncio.sleep(1.01)
        ended.append(len(jobs.ended))

    assert ended == [1, 1, 2, 2, 3, 3, 3, 3, 4, 4]
    await jobs.work.close()
    for future in futures:
        future.cancel()


@in_virtual_time
async def test_a_close_cancels_tasks_and_lets_go_of_what_goes_on() -> None:
    jobs = Jobs()

    async def work() -> Response:
        await asyncio.Event().wait()
        return DONE

    future = jobs.loop.create_future()
    jobs.follow(future)
    jobs.work.start(work(), jobs.loop.time() + 5, jobs.end)
    await asyncio.sleep(1.0)
    await jobs.work.close()

    assert [type(end) for end in jobs.ended] == [DeadlineExceeded, asyncio.CancelledError]
    assert not future.done()
    assert jobs.work.allowance.used == 0
    future.cancel()


@in_virtual_time
async def test_whoever_may_not_answer_any_more_says_so() -> None:
    jobs = Jobs()
    future = jobs.loop.create_future()

    def respond(_: object) -> Response:
        raise Unavailable("fenced meanwhile")

    jobs.work.follow(Begun(future, respond), jobs.loop.time() + 5, jobs.end)
    future.set_result(DONE)
    await jobs.work.finished()

    assert [type(end) for end in jobs.ended] == [Unavailable]
    await jobs.work.close()
