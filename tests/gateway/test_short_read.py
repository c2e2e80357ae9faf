"""The short way of a GET: what it serves, what it leaves to the plan, and whom it blames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from gateway.cluster import Cluster
from gateway.short_read import Patience, ShortRead
from gateway.state_questions import StateQuestions
from ring.errors import Unreachable
from ring.life import Life, NodeId
from ring.messages import Answer, GetRecord, RecordReply, StatesReply, StatRecords
from ring.record import RecordKind, RecordState, Root, dead, live
from ring.suspicion import Lane
from tests.fakes.manual_transport import ManualTransport
from tests.fakes.small_cluster import BLOB, KEY, small_layout
from tests.fakes.virtual_time import in_virtual_time

A, B, C = NodeId("n0"), NodeId("n1"), NodeId("n2")
LATER = Life(1, 6, 1)
LIVE = live(1)
FLOOR_S, RECHECK_S = 0.01, 0.1
OVERDUE_S = 0.04  # twice what a node takes of which nothing is known yet
Task = asyncio.Task[Answer | None]


def state(root: Root, *, held: bool = True) -> RecordState:
    return RecordState(RecordKind.DATA, len(BLOB), root, held=held)


class Gets:
    """One gateway's GETs of one blob: A is asked for the bytes, B for its state."""

    def __init__(self) -> None:
        self.transport = ManualTransport()
        self.cluster = Cluster(self.transport, small_layout(3, 3))
        self.questions = StateQuestions(self.cluster, 4.0)
        self.patience = Patience(FLOOR_S, RECHECK_S)
        self.loop = asyncio.get_running_loop()

    async def begun(self, first: Sequence[NodeId] = (A, B)) -> tuple[ShortRead, Task]:
        """A read whose questions have been asked."""
        live_now = self.cluster.live
        read = ShortRead(self.cluster, self.questions, KEY, first, live=live_now, timeout_s=4.0)
        task = self.loop.create_task(read.run(self.patience))
        await asyncio.sleep(0)
        assert isinstance(self.transport.last(A).request, GetRecord)
        assert isinstance(self.transport.last(B).request, StatRecords)
        return read, task

    def deliver(
        self,
        root: Root = LIVE,
        *,
        voter: bool = True,
        news: tuple[tuple[NodeId, Life], ...] | None = None,
    ) -> None:
        """A gives the bytes."""
        reply = RecordReply(state(root))
        self.transport.last(A).answer(reply, payload=BLOB, voter=voter, peers=news)

    def tell(
        self, root: Root = LIVE, *, news: tuple[tuple[NodeId, Life], ...] | None = None
    ) -> None:
        """B tells its state."""
        self.transport.last(B).answer(StatesReply((state(root),)), peers=news)

    def end(self) -> None:
        self.cluster.vigil.close()


@pytest.mark.parametrize("bytes_first", [True, False])
@in_virtual_time
async def test_what_two_nodes_agree_on_is_served(bytes_first: bool) -> None:
    gets = Gets()
    _, task = await gets.begun()
    for step in (gets.deliver, gets.tell) if bytes_first else (gets.tell, gets.deliver):
        step()
        await asyncio.sleep(0)
    answer = await task
    assert answer is not None
    assert answer.payload == BLOB
    gets.end()


@pytest.mark.parametrize("bytes_first", [True, False])
@pytest.mark.parametrize("with_bytes", [True, False])
@in_virtual_time
async def test_an_answer_that_brings_news_of_lives_is_left_to_the_plan(
    with_bytes: bool, bytes_first: bool
) -> None:
    """The news may be that the other answer, which is there already, does not count."""
    gets = Gets()
    _, task = await gets.begun()
    news = ((B if with_bytes else A, LATER),)
    steps: list[Callable[[], None]] = [
        lambda: gets.deliver(news=news if with_bytes else None),
        lambda: gets.tell(news=None if with_bytes else news),
    ]
    for step in steps if bytes_first else steps[::-1]:
        step()
        await asyncio.sleep(0)
    assert await task is None
    gets.end()


@in_virtual_time
async def test_news_that_one_state_brings_of_the_sender_of_another_is_left_to_the_plan() -> None:
    gets = Gets()
    _, task = await gets.begun((A, B, C))
    gets.deliver()
    gets.tell()
    await asyncio.sleep(0)
    gets.transport.last(C).answer(StatesReply((state(live(1)),)), peers=((B, LATER),))
    assert await task is None
    gets.end()


@pytest.mark.parametrize(
    ("delivered", "told"),
    [(live(1), dead(1)), (dead(1), dead(1)), (live(1), live(2)), (live(2), live(1))],
)
@in_virtual_time
async def test_whatever_is_not_the_same_and_live_is_left_to_the_plan(
    delivered: Root, told: Root
) -> None:
    gets = Gets()
    _, task = await gets.begun()
    gets.deliver(delivered)
    gets.tell(told)
    assert await task is None
    gets.end()


@in_virtual_time
async def test_a_node_that_has_lost_its_copy_is_left_to_the_plan() -> None:
    gets = Gets()
    _, task = await gets.begun()
    gets.transport.last(A).answer(RecordReply(state(LIVE, held=False)))
    gets.tell()
    assert await task is None
    gets.end()


@in_virtual_time
async def test_bytes_of_a_node_that_may_not_vote_are_left_to_the_plan_and_it_is_passed_over() -> (
    None
):
    gets = Gets()
    for _ in range(3):
        _, task = await gets.begun()
        gets.deliver(voter=False)
        gets.tell()
        assert await task is None
    assert gets.cluster.is_doubted(A, Lane.READS)
    assert not gets.cluster.is_doubted(B, Lane.READS)
    gets.end()


@in_virtual_time
async def test_a_node_that_does_not_deliver_is_passed_over() -> None:
    gets = Gets()
    for _ in range(3):
        _, task = await gets.begun()
        gets.tell()
        gets.transport.last(A).future.set_exception(Unreachable("down"))
        assert await task is None
    assert gets.cluster.is_doubted(A, Lane.READS)
    gets.end()


# --- patience -------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [(A,), (B,), (A, B)])
@in_virtual_time
async def test_who_did_not_answer_was_slow_and_nobody_else(silent: tuple[NodeId, ...]) -> None:
    gets = Gets()
    read, task = await gets.begun()
    if A not in silent:
        gets.deliver()
    if B not in silent:
        gets.tell()
    assert await task is None
    await asyncio.sleep(0)
    assert tuple(read.slow()) == silent
    assert gets.transport.last(A).future.cancelled() is (A in silent), "nobody waits for it"
    gets.end()


@in_virtual_time
async def test_each_of_many_reads_is_given_up_in_its_time() -> None:
    gets = Gets()
    began_s, over_s = gets.loop.time(), list[float]()
    for _ in range(5):
        _, task = await gets.begun()
        task.add_done_callback(lambda _: over_s.append(gets.loop.time() - began_s))
        await asyncio.sleep(0.005)
    await asyncio.sleep(1)
    due_s = [OVERDUE_S + 0.005 * number for number in range(5)]
    assert over_s == pytest.approx(due_s, abs=0.002)
    gets.end()


@in_virtual_time
async def test_what_all_nodes_take_is_not_too_long() -> None:
    gets = Gets()
    while gets.cluster.hedges.spend():
        pass
    for _ in range(60):
        _, task = await gets.begun()
        gets.loop.call_later(0.15, gets.deliver)
        gets.loop.call_later(0.15, gets.tell)
        await task
    for _ in range(100):
        gets.cluster.hedges.earn()
    _, task = await gets.begun()
    gets.loop.call_later(0.15, gets.deliver)
    gets.loop.call_later(0.15, gets.tell)
    assert await task is not None
    gets.end()


@in_virtual_time
async def test_without_budget_a_node_is_waited_for_until_it_is_in_doubt() -> None:
    gets = Gets()
    while gets.cluster.hedges.spend():
        pass
    read, task = await gets.begun()
    gets.deliver()
    await asyncio.sleep(1)
    assert not task.done()
    for _ in range(3):
        gets.cluster.vigil.failed(gets.cluster.suspicion.tallies(B)[Lane.READS])
    await asyncio.sleep(RECHECK_S + 0.01)
    assert task.done()
    assert await task is None
    assert list(read.slow()) == [B]
    gets.end()
