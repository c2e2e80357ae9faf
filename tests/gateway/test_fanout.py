"""Calls under way: how each of them ends, and that none is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cluster import Cluster
from gateway.fanout import Fanout
from gateway.stragglers import Stragglers
from ring.admission import PutAnswer
from ring.codec import pack
from ring.control import LayoutsReply, TeachLayouts, pack_layout
from ring.errors import (
    Busy,
    HoldfastError,
    Internal,
    LayoutUnknown,
    PeerProtocol,
    Unreachable,
    WrongEpoch,
)
from ring.layout import Layout
from ring.life import Life, NodeId
from ring.messages import Answer, BuryRecord, GetRecord, PutRecord, PutReply, RecordReply
from ring.record import ABSENT, RecordKey, RecordKind, live
from ring.suspicion import Lane
from tests.fakes.manual_transport import ManualTransport
from tests.fakes.small_cluster import BLOB, DIGEST, next_layout, small_layout
from tests.fakes.virtual_time import in_virtual_time
from tests.sim.loop import Unretrieved, run

A, B, C = NodeId("n0"), NodeId("n1"), NodeId("n2")
QUESTION = GetRecord(RecordKey(DIGEST))
NOTHING = RecordReply(ABSENT)
PUT = PutRecord(RecordKey(DIGEST), RecordKind.DATA, len(BLOB), 1, None)
STORED = PutReply(PutAnswer(live(1), 0, had=False))
ONE = small_layout(3, 3)
TWO = next_layout(ONE)


def made() -> tuple[ManualTransport, Cluster, Fanout]:
    transport = ManualTransport()
    cluster = Cluster(transport, ONE)
    return transport, cluster, Fanout(cluster)


def wrong_epoch(*layouts: Layout) -> WrongEpoch:
    return WrongEpoch("newer", layouts=pack([pack_layout(layout) for layout in layouts]))


@in_virtual_time
async def test_outcomes_come_in_the_order_in_which_they_arrive() -> None:
    transport, _, fanout = made()
    for node in (A, B, C):
        fanout.ask(node, QUESTION, timeout_s=1)
    transport.last(C).answer(NOTHING)
    transport.last(A).future.set_exception(Busy("full"))
    transport.last(B).answer(NOTHING)

    outcomes = [await fanout.next() for _ in range(3)]
    assert [outcome and outcome[0] for outcome in outcomes] == [C, A, B]
    assert outcomes[1] is not None
    assert isinstance(outcomes[1][1], Busy)
    assert fanout.exhausted


@in_virtual_time
async def test_patience_ends_and_the_wait_can_be_taken_up_again() -> None:
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    assert await fanout.next(0.5) is None
    assert not fanout.exhausted
    asyncio.get_running_loop().call_later(2, transport.last(A).answer, NOTHING)
    assert await fanout.next(5) is not None


@in_virtual_time
async def test_patience_that_was_not_needed_does_not_end_a_later_wait() -> None:
    transport, _, fanout = made()
    loop = asyncio.get_running_loop()
    for node in (A, B):
        fanout.ask(node, QUESTION, timeout_s=9)
    loop.call_later(0.1, transport.last(A).answer, NOTHING)
    assert await fanout.next(0.5) is not None
    began_s = loop.time()
    assert await fanout.next(2.0) is None
    assert loop.time() - began_s == pytest.approx(2.0)
    fanout.abandon()


@in_virtual_time
async def test_what_was_abandoned_is_cancelled_and_never_heard_of() -> None:
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    fanout.abandon()
    await asyncio.sleep(0)

    assert transport.last(A).future.cancelled()
    assert fanout.exhausted


@in_virtual_time
async def test_a_call_that_somebody_else_cancels_has_failed() -> None:
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    transport.last(A).future.cancel()
    arrived = await fanout.next()

    assert arrived is not None
    assert isinstance(arrived[1], Unreachable)


def test_a_bug_in_a_call_is_reported_and_costs_the_operation_one_node() -> None:
    outcomes: list[object] = []

    async def main() -> None:
        transport, _, fanout = made()
        fanout.ask(A, QUESTION, timeout_s=1)
        transport.last(A).future.set_exception(ZeroDivisionError("a bug"))
        outcomes.append(await fanout.next())

    with pytest.raises(Unretrieved, match="a bug"):
        run(main())
    assert [type(outcome[1]) for outcome in outcomes if isinstance(outcome, tuple)] == [Internal]


# --- layouts --------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_operation_lives_by_the_layouts_in_force_when_it_began() -> None:
    transport, cluster, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    cluster.learn_layouts(wrong_epoch(TWO), cluster.live)
    fanout.ask(B, QUESTION, timeout_s=1)
    Fanout(cluster).ask(C, QUESTION, timeout_s=1)

    assert [call.epochs for call in transport.calls] == [(1,), (1,), (2,)]


@in_virtual_time
async def test_newer_layouts_are_learnt_from_a_refusal() -> None:
    transport, cluster, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    transport.last(A).future.set_exception(wrong_epoch(ONE, TWO))
    arrived = await fanout.next()

    assert arrived is not None
    assert isinstance(arrived[1], WrongEpoch)
    assert cluster.live.epochs == (1, 2)


@pytest.mark.parametrize(
    "refusal",
    [
        WrongEpoch("no facts"),
        WrongEpoch("no bytes", layouts=7),
        WrongEpoch("no msgpack", layouts=b"\xc1"),
        WrongEpoch("no layouts", layouts=pack([])),
        WrongEpoch("no layout", layouts=pack([[1, 2]])),
        wrong_epoch(ONE),
    ],
    ids=str,
)
@in_virtual_time
async def test_a_refusal_without_newer_layouts_is_the_nodes_fault(refusal: WrongEpoch) -> None:
    transport, cluster, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    transport.last(A).future.set_exception(refusal)
    arrived = await fanout.next()

    assert arrived is not None
    assert isinstance(arrived[1], PeerProtocol)
    assert cluster.live.epochs == (1,)


@in_virtual_time
async def test_a_node_with_older_layouts_is_taught_and_asked_again() -> None:
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    transport.last(A).future.set_exception(LayoutUnknown("old"))
    await asyncio.sleep(0.1)
    lesson = transport.last(A)
    assert lesson.request == TeachLayouts((ONE,))
    assert not fanout.exhausted
    lesson.answer(LayoutsReply((ONE,)))
    await asyncio.sleep(0.1)
    assert transport.last(A).request == QUESTION
    transport.last(A).answer(NOTHING)
    arrived = await fanout.next()

    assert arrived is not None
    assert isinstance(arrived[1], Answer)


@pytest.mark.parametrize("how", ["refuses the lesson", "answers nonsense", "still does not know"])
@in_virtual_time
async def test_a_node_that_cannot_be_taught_has_failed(how: str) -> None:
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    transport.last(A).future.set_exception(LayoutUnknown("old"))
    await asyncio.sleep(0.1)
    match how:
        case "refuses the lesson":
            transport.last(A).future.set_exception(Busy("later"))
        case "answers nonsense":
            transport.last(A).answer(NOTHING)
        case _:
            transport.last(A).answer(LayoutsReply((ONE,)))
            await asyncio.sleep(0.1)
            transport.last(A).future.set_exception(LayoutUnknown("old"))
    arrived = await fanout.next()

    assert arrived is not None
    assert isinstance(arrived[1], HoldfastError)
    assert fanout.exhausted


@in_virtual_time
async def test_a_node_that_was_taught_is_sent_everything_again_and_its_time_begins_anew() -> None:
    transport, cluster, fanout = made()
    fanout.ask(A, PUT, BLOB, timeout_s=20)
    await asyncio.sleep(5)
    transport.last(A).future.set_exception(LayoutUnknown("old"))
    await asyncio.sleep(0.1)
    transport.last(A).answer(LayoutsReply((ONE,)))
    await asyncio.sleep(0.1)
    again = transport.last(A)
    assert (again.request, again.payload) == (PUT, BLOB)
    again.answer(STORED)
    assert await fanout.next() is not None
    assert cluster.suspicion.tallies(A)[Lane.WRITES].elapsed_s < 1
    cluster.vigil.close()


@pytest.mark.parametrize("write", [PUT, BuryRecord(PUT.key, 1)])
@pytest.mark.parametrize("node", [*ONE.group(DIGEST.partition).owners, "n9"])
@in_virtual_time
async def test_a_write_that_fails_is_noted_for_owners_only(
    write: PutRecord | BuryRecord, node: str
) -> None:
    transport, cluster, fanout = made()
    fanout.ask(NodeId(node), write, timeout_s=1)
    transport.last(NodeId(node)).future.set_exception(Busy("full"))
    await fanout.next()

    noted = [] if node == "n9" else [(node, PUT.key)]
    assert cluster.missed.take(9) == noted


@in_virtual_time
async def test_after_the_end_of_a_read_nobody_is_taught() -> None:
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    transport.last(A).future.set_exception(LayoutUnknown("old"))
    fanout.abandon()  # the call is over, its callback has not run yet
    await asyncio.sleep(0.1)

    assert len(transport.calls) == 1


# --- the alarm ------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [True, False])
@in_virtual_time
async def test_an_alarm_rings_once_whether_or_not_somebody_waits(waits: bool) -> None:
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=9)
    fanout.set_alarm(1.0)
    if not waits:
        await asyncio.sleep(2.0)
    assert await fanout.next() is None
    transport.last(A).answer(NOTHING)
    outcome = await fanout.next()

    assert outcome is not None
    assert outcome[0] == A


@in_virtual_time
async def test_what_arrived_comes_before_the_alarm() -> None:
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=9)
    fanout.ask(B, QUESTION, timeout_s=9)
    fanout.set_alarm(1.0)
    transport.last(A).answer(NOTHING)
    await asyncio.sleep(2.0)
    outcome = await fanout.next()

    assert outcome is not None
    assert outcome[0] == A
    assert await fanout.next() is None
    fanout.abandon()


@in_virtual_time
async def test_an_alarm_that_was_taken_back_or_set_anew_is_forgotten() -> None:
    _, _, fanout = made()
    loop = asyncio.get_running_loop()
    fanout.ask(A, QUESTION, timeout_s=9)
    for _ in range(2):
        fanout.set_alarm(1.0)
        await asyncio.sleep(2.0)  # it rang, and nobody was there
        fanout.set_alarm(3.0)
        began_s = loop.time()
        assert await fanout.next() is None
        assert loop.time() - began_s == pytest.approx(3.0)
        fanout.set_alarm(1.0)
        await asyncio.sleep(2.0)
        fanout.silence()
        assert await fanout.next(5.0) is None
        assert loop.time() - began_s == pytest.approx(10.0)
    fanout.abandon()


# --- news of lives --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["taken", "arrived and not taken", "abandoned", "straggling"])
@in_virtual_time
async def test_news_of_lives_is_learnt_from_every_answer(when: str) -> None:
    transport, cluster, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    stragglers = Stragglers(4, 0.25)
    if when == "straggling":
        stragglers.adopt(fanout)
    transport.last(A).answer(NOTHING, peers=((B, Life(3, 1, 7)),))
    if when == "abandoned":
        fanout.abandon()
    if when == "taken":
        await fanout.next()
    await asyncio.sleep(0)

    assert cluster.knowledge.latest(B) == Life(3, 1, 7)
    assert cluster.knowledge.latest(A) == Life(1, 1, 1)


@in_virtual_time
async def test_news_of_lives_is_learnt_from_the_answer_to_a_lesson() -> None:
    transport, cluster, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    transport.last(A).future.set_exception(LayoutUnknown("old"))
    await asyncio.sleep(0.1)
    transport.last(A).answer(LayoutsReply((ONE,)), peers=((B, Life(3, 1, 7)),))
    await asyncio.sleep(0.1)

    assert cluster.knowledge.latest(B) == Life(3, 1, 7)
    fanout.abandon()
