"""The vigil: what calls come to, who is tried again and when, what is done about suspects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.cluster import Cluster
from gateway.fanout import Fanout
from gateway.vigil import Vigil
from ring.admission import PutAnswer
from ring.control import LayoutsReply
from ring.errors import (
    Busy,
    Corrupt,
    DeadlineExceeded,
    DigestMismatch,
    DiskFull,
    HoldfastError,
    LayoutUnknown,
    Unreachable,
    WrongEpoch,
)
from ring.life import Life, NodeId
from ring.messages import Answer, GetRecord, PutRecord, PutReply, RecordReply, Request
from ring.record import ABSENT, RecordKind, live
from ring.suspicion import TRIALS_MAX, Lane
from tests.fakes.manual_transport import ManualTransport
from tests.fakes.small_cluster import BLOB, KEY, small_layout
from tests.fakes.virtual_time import in_virtual_time

A, B, C = NODES = NodeId("n0"), NodeId("n1"), NodeId("n2")
QUESTION = GetRecord(KEY)
PUT = PutRecord(KEY, RecordKind.DATA, len(BLOB), 1, None)
STORED = PutReply(PutAnswer(live(1), 0, had=False))


class Probed:
    """How nodes are tried: `answers` says how each of them answers a probe, None is never."""

    def __init__(self) -> None:
        self.answers: dict[NodeId, Answer | None] = {}
        self.asked: list[tuple[NodeId, Request, bool]] = []

    def __call__(self, node: NodeId, request: Request, *, bulk: bool) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self.asked.append((node, request, bulk))
        answer = self.answers.get(node)
        if answer is not None:
            future.set_result(answer)
        else:
            loop.call_later(1.0, _expire, future)
        return future


def _expire(future: asyncio.Future[Answer]) -> None:
    if not future.done():
        future.set_exception(DeadlineExceeded("no answer"))


def answer_of(node: NodeId, *, voter: bool = True) -> Answer:
    return Answer(node, Life(1, 1, 1), voter, RecordReply(ABSENT), None, None)


class Watch:
    """A vigil, and what each node does with every call: its error, None for a good answer."""

    def __init__(self) -> None:
        self.probed = Probed()
        self.vigil = Vigil(self.probed)
        self.loop = asyncio.get_running_loop()

    def call(
        self,
        node: NodeId,
        error: HoldfastError | None,
        lane: Lane = Lane.READS,
        *,
        is_voter: bool = True,
    ) -> None:
        tally = self.vigil.suspicion.tallies(node)[lane]
        self.vigil.asked(tally, QUESTION)
        self.vigil.ended(tally, error, self.loop.time(), is_voter=is_voter)

    def unanswered(self, node: NodeId, lane: Lane = Lane.READS) -> None:
        self.vigil.asked(self.vigil.suspicion.tallies(node)[lane], QUESTION)

    async def load(self, seconds: float, trouble: Callable[[], None]) -> None:
        """Twenty calls a second to B and C, which do well, and `trouble` as often."""
        for _ in range(round(seconds * 20)):
            for node in (B, C):
                self.call(node, None)
            trouble()
            await asyncio.sleep(0.05)

    def down(self, lane: Lane = Lane.READS) -> None:
        """A cannot be reached and is suspect at once."""
        for _ in range(3):
            self.call(A, Unreachable("down"), lane)
        assert self.is_doubted(lane)

    def is_doubted(self, lane: Lane = Lane.READS) -> bool:
        assert not self.vigil.suspicion.is_doubted(B, lane)
        return self.vigil.suspicion.is_doubted(A, lane)


# --- what a call comes to -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "is_fault"),
    [
        (Corrupt("its copy is bad"), False),
        (DigestMismatch("other bytes"), False),
        (DiskFull("no room"), False),
        (LayoutUnknown("older layouts"), False),
        (WrongEpoch("newer layouts"), False),
        (Busy("too much to do"), True),
        (DeadlineExceeded("no answer in time"), True),
        (Unreachable("down"), True),
    ],
    ids=lambda value: type(value).__name__,
)
@in_virtual_time
async def test_a_node_that_refuses_with_good_reason_does_its_work(
    error: HoldfastError, is_fault: bool
) -> None:
    watch = Watch()
    await watch.load(2.0, lambda: watch.call(A, error))
    assert watch.is_doubted() is is_fault
    watch.vigil.close()


@in_virtual_time
async def test_a_node_most_of_whose_calls_come_to_nothing_is_suspect_though_it_answers_some() -> (
    None
):
    watch = Watch()

    def trouble() -> None:
        watch.call(A, None)
        for _ in range(2):
            watch.call(A, DeadlineExceeded("no answer in time"))

    await watch.load(2.0, trouble)
    assert watch.is_doubted()
    watch.vigil.close()


@in_virtual_time
async def test_connections_that_break_now_and_then_are_no_failures_in_a_row() -> None:
    watch = Watch()
    for _ in range(9):
        watch.call(A, Unreachable("broken"))
        watch.call(A, None)
        watch.call(A, None)
    assert not watch.is_doubted()
    watch.vigil.close()


@in_virtual_time
async def test_a_node_that_may_not_vote_is_as_good_as_silent_for_reads_only() -> None:
    watch = Watch()
    for _ in range(3):
        watch.call(A, None, Lane.WRITES, is_voter=False)
    assert not watch.is_doubted(Lane.WRITES)
    await asyncio.sleep(9)
    for _ in range(3):
        watch.call(A, None, Lane.READS, is_voter=False)
    assert watch.is_doubted(Lane.READS)
    assert watch.is_doubted(Lane.WRITES)
    watch.call(A, None, Lane.WRITES, is_voter=False)
    assert not watch.is_doubted(Lane.WRITES), "what it is sent it keeps"
    assert watch.is_doubted(Lane.READS)
    watch.vigil.close()


# --- rounds ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_after_a_pause_the_watch_goes_on() -> None:
    watch = Watch()
    for _ in range(3):
        await watch.load(0.5, lambda: watch.call(A, None))
        await asyncio.sleep(60)
    await watch.load(2.0, lambda: watch.unanswered(A))
    assert watch.is_doubted()
    watch.vigil.close()


@in_virtual_time
async def test_one_burst_is_enough_to_find_a_silent_node_out() -> None:
    watch = Watch()
    for _ in range(5):
        for node in (B, C):
            watch.call(node, None)
        watch.unanswered(A)
    await asyncio.sleep(2)
    assert watch.is_doubted()
    watch.vigil.close()


@in_virtual_time
async def test_connections_to_a_node_that_says_nothing_are_given_up() -> None:
    watch, hung_up = Watch(), list[NodeId]()
    watch.vigil.hang_up = hung_up.append
    await watch.load(1.0, lambda: watch.call(A, None))
    await watch.load(1.5, lambda: watch.unanswered(A))
    assert watch.is_doubted()
    assert hung_up == []
    await watch.load(3.0, lambda: None)
    assert set(hung_up) == {A}
    watch.vigil.close()


@in_virtual_time
async def test_whoever_waits_is_told_of_every_lane_in_which_a_node_becomes_suspect() -> None:
    watch, told = Watch(), list[list[Lane]]()
    watch.vigil.when_suspect = lambda: told.append(watch.vigil.suspicion.suspects()[A])
    watch.down(Lane.READS)
    watch.down(Lane.WRITES)
    assert told == [[Lane.READS], [Lane.READS, Lane.WRITES]]
    watch.vigil.close()


# --- probes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", [Lane.READS, Lane.VALUES])
@in_virtual_time
async def test_a_suspect_is_tried_as_it_was_asked_though_nobody_asks_anything(lane: Lane) -> None:
    watch = Watch()
    watch.down(lane)
    await asyncio.sleep(20)
    assert set(watch.probed.asked) == {(A, QUESTION, lane is Lane.VALUES)}
    assert watch.is_doubted(lane)
    watch.probed.answers[A] = answer_of(A)
    await asyncio.sleep(3)
    assert not watch.vigil.suspicion.has_doubts
    watch.vigil.close()


@in_virtual_time
async def test_a_node_that_fails_without_being_asked_is_tried_again_too() -> None:
    watch = Watch()
    watch.call(A, None)
    await asyncio.sleep(60)
    watch.probed.answers[A] = answer_of(A)
    for _ in range(3):
        watch.vigil.failed(watch.vigil.suspicion.tallies(A)[Lane.READS])
    assert watch.is_doubted()
    await asyncio.sleep(2)
    assert not watch.is_doubted()
    watch.vigil.close()


@in_virtual_time
async def test_a_suspect_that_answers_but_may_not_vote_stays_one() -> None:
    watch = Watch()
    watch.probed.answers[A] = answer_of(A, voter=False)
    watch.down()
    await watch.load(5.0, lambda: None)
    assert watch.is_doubted()
    assert len(watch.probed.asked) < 9
    watch.vigil.close()


@in_virtual_time
async def test_at_most_one_probe_is_under_way_to_a_node_that_is_silent() -> None:
    watch = Watch()
    watch.down()
    await asyncio.sleep(0.9)  # the first is given up after a second
    assert len(watch.probed.asked) == 1
    watch.vigil.close()


@in_virtual_time
async def test_after_the_close_nobody_is_tried() -> None:
    watch = Watch()
    watch.down()
    watch.vigil.close()
    watch.call(A, Unreachable("down"))
    await asyncio.sleep(9)
    assert watch.probed.asked == []


# --- trials ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["answered", "failed", "cancelled", "taught"])
@in_virtual_time
async def test_a_call_in_doubt_makes_room_for_another_however_it_ends(end: str) -> None:
    transport = ManualTransport()
    cluster = Cluster(transport, small_layout(3, 3))
    tally = cluster.suspicion.tallies(A)[Lane.WRITES]
    for _ in range(3):
        cluster.vigil.failed(tally)
    for _ in range(TRIALS_MAX[Lane.WRITES]):
        assert not cluster.is_tried_enough(A, Lane.WRITES)
        fanout = Fanout(cluster)
        fanout.ask(A, PUT, timeout_s=1)
    assert cluster.is_tried_enough(A, Lane.WRITES)
    call = transport.last(A)
    match end:
        case "answered":
            call.answer(STORED)
        case "failed":
            call.future.set_exception(Busy("full"))
        case "cancelled":
            fanout.abandon()
        case _:
            call.future.set_exception(LayoutUnknown("old"))
            await asyncio.sleep(0.01)
            transport.last(A).answer(LayoutsReply((small_layout(3, 3),)))
            await asyncio.sleep(0.01)
            transport.last(A).answer(STORED)
    await asyncio.sleep(0.01)
    assert cluster.suspicion.tallies(A)[Lane.WRITES].trials == TRIALS_MAX[Lane.WRITES] - 1
    cluster.vigil.close()
