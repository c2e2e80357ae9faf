"""Writes that go on after their acknowledgement, and what they leave to repair."""

from __future__ import annotations

import asyncio
import gc

import pytest

from gateway.cluster import Cluster
from gateway.fanout import Fanout
from gateway.missed_writes import MissedWrites
from gateway.stragglers import Stragglers
from ring.admission import PutAnswer
from ring.control import LayoutsReply
from ring.digest import Digest
from ring.errors import (
    Busy,
    LayoutUnknown,
)
from ring.life import NodeId
from ring.messages import GetRecord, PutRecord, PutReply, RecordReply
from ring.record import ABSENT, RecordKey, RecordKind, live
from ring.suspicion import Lane
from tests.fakes.manual_transport import ManualTransport
from tests.fakes.small_cluster import BLOB, DIGEST, small_layout
from tests.fakes.virtual_time import in_virtual_time

A, B, C = NodeId("n0"), NodeId("n1"), NodeId("n2")
QUESTION = GetRecord(RecordKey(DIGEST))
NOTHING = RecordReply(ABSENT)
ONE = small_layout(3, 3)
PUT = PutRecord(RecordKey(DIGEST), RecordKind.DATA, len(BLOB), 1, None)
STORED = PutReply(PutAnswer(live(1), 0, had=False))


def made() -> tuple[ManualTransport, Cluster, Fanout]:
    transport = ManualTransport()
    cluster = Cluster(transport, ONE)
    return transport, cluster, Fanout(cluster)


class Over:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@in_virtual_time
async def test_when_over_is_called_once_after_the_last_call() -> None:
    transport, _, fanout = made()
    stragglers, over = Stragglers(9, 0.25), Over()
    for node in (A, B, C):
        fanout.ask(node, QUESTION, timeout_s=1)
    transport.last(A).answer(NOTHING)
    await fanout.next()
    stragglers.adopt(fanout, over)
    transport.last(B).future.set_exception(Busy("full"))
    await asyncio.sleep(0)
    assert (over.times, stragglers.under_way) == (0, 1)
    transport.last(C).answer(NOTHING)
    await asyncio.sleep(0)

    assert (over.times, stragglers.under_way) == (1, 0)


@in_virtual_time
async def test_when_over_is_called_at_once_when_nothing_is_under_way() -> None:
    _, _, fanout = made()
    over = Over()
    Stragglers(9, 0.25).adopt(fanout, over)

    assert over.times == 1


@in_virtual_time
async def test_a_straggler_that_must_be_taught_keeps_what_it_sends_until_it_is_over() -> None:
    transport, _, fanout = made()
    stragglers, over = Stragglers(9, 0.25), Over()
    fanout.ask(A, QUESTION, timeout_s=1)
    stragglers.adopt(fanout, over)
    transport.last(A).future.set_exception(LayoutUnknown("old"))
    await asyncio.sleep(0.1)
    assert (over.times, stragglers.under_way) == (0, 1)
    transport.last(A).answer(LayoutsReply((ONE,)))
    await asyncio.sleep(0.1)
    transport.last(A).answer(PutReply(PutAnswer(live(1), 0, had=False)))
    await asyncio.sleep(0.1)

    assert (over.times, stragglers.under_way) == (1, 0)
    assert len(transport.calls) == 3


@in_virtual_time
async def test_far_beyond_the_bound_the_oldest_is_cancelled() -> None:
    stragglers, overs = Stragglers(2, 0.25), [Over() for _ in range(18)]
    transports = []
    for over in overs:
        transport, _, fanout = made()
        fanout.ask(A, QUESTION, timeout_s=1)
        stragglers.adopt(fanout, over)
        transports.append(transport)
        assert stragglers.under_way <= 16
    await asyncio.sleep(0)

    assert [over.times for over in overs] == [1, 1, *[0] * 16]
    assert stragglers.cancelled_total == 2
    cancelled = [transport.last(A).future.cancelled() for transport in transports]
    assert cancelled == [True, True, *[False] * 16]
    stragglers.close()


@pytest.mark.parametrize("ends", [True, False])
@in_virtual_time
async def test_beyond_the_bound_the_next_waits_for_a_place_but_not_for_long(ends: bool) -> None:
    stragglers, loop = Stragglers(1, 0.25), asyncio.get_running_loop()
    transports = []
    for _ in range(2):
        transport, _, fanout = made()
        fanout.ask(A, PUT, timeout_s=1)
        stragglers.adopt(fanout)
        transports.append(transport)
    if ends:
        loop.call_later(0.1, transports[0].last(A).answer, STORED)
    began = loop.time()
    await stragglers.room()
    assert round(loop.time() - began, 3) == (0.1 if ends else 0.25)
    assert stragglers.under_way == (1 if ends else 2)
    stragglers.close()


@in_virtual_time
async def test_what_goes_on_for_a_node_in_doubt_is_cancelled_and_noted() -> None:
    transport, cluster, fanout = made()
    stragglers, over = Stragglers(9, 0.25), Over()
    for node in (A, B):
        fanout.ask(node, PUT, timeout_s=1)
    stragglers.adopt(fanout, over)
    cluster.vigil.when_suspect = stragglers.give_up_in_doubt
    tally = cluster.suspicion.tallies(A)[Lane.WRITES]
    for _ in range(3):
        cluster.vigil.failed(tally)
    await asyncio.sleep(0)

    assert transport.last(A).future.cancelled()
    assert not transport.last(B).future.done()
    assert cluster.missed.take(9) == [(A, PUT.key)]
    transport.last(B).answer(STORED)
    await asyncio.sleep(0)
    assert over.times == 1
    assert cluster.missed.take(9) == []
    cluster.vigil.close()


@in_virtual_time
async def test_every_write_that_goes_on_for_a_node_in_doubt_is_cancelled() -> None:
    stragglers, transport = Stragglers(9, 0.25), ManualTransport()
    cluster = Cluster(transport, ONE)
    cluster.vigil.when_suspect = stragglers.give_up_in_doubt
    for _ in range(3):
        fanout = Fanout(cluster)
        for node in (A, B):
            fanout.ask(node, PUT, timeout_s=1)
        stragglers.adopt(fanout)
    for _ in range(3):
        cluster.vigil.failed(cluster.suspicion.tallies(A)[Lane.READS])
    await asyncio.sleep(0)

    cancelled = [call.node for call in transport.calls if call.future.cancelled()]
    assert cancelled == [A] * 3
    stragglers.close()
    cluster.vigil.close()


@in_virtual_time
async def test_waiting_in_vain_leaves_nothing_behind() -> None:
    stragglers, loop = Stragglers(1, 0.25), asyncio.get_running_loop()
    for _ in range(2):
        _, _, fanout = made()
        fanout.ask(A, PUT, timeout_s=1)
        stragglers.adopt(fanout)
    before = _futures()
    for _ in range(40):
        await stragglers.room()
        waiting = loop.create_task(stragglers.room())
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    del waiting

    assert _futures() < before + 20
    stragglers.close()


def _futures() -> int:
    gc.collect()
    return sum(isinstance(each, asyncio.Future) for each in gc.get_objects())


@in_virtual_time
async def test_missed_writes_are_told_once_and_bounded() -> None:
    missed, told = MissedWrites(2), list[object]()
    missed.on_missed = lambda node, key: told.append((node, key))
    keys = [RecordKey(Digest.of(b"%d" % number)) for number in range(3)]
    for key in (*keys, *keys[1:]):
        missed.note(A, key)

    assert told == [(A, key) for key in keys]
    assert (missed.noted_total, missed.dropped_total, len(missed)) == (3, 1, 2)
    assert missed.take(1) == [(A, keys[1])]
    assert missed.take(9) == [(A, keys[2])]


@in_virtual_time
async def test_one_operation_of_more_calls_than_the_bound_is_over_once() -> None:
    _, _, fanout = made()
    stragglers, over = Stragglers(1, 0.25), Over()
    for node in (A, B, C):
        fanout.ask(node, QUESTION, timeout_s=1)
    stragglers.adopt(fanout, over)
    await asyncio.sleep(0)
    assert (over.times, stragglers.under_way) == (0, 1)
    stragglers.close()
    await asyncio.sleep(0)

    assert (over.times, stragglers.under_way) == (1, 0)


@in_virtual_time
async def test_after_the_close_nothing_goes_on() -> None:
    stragglers, over = Stragglers(9, 0.25), Over()
    transport, _, fanout = made()
    fanout.ask(A, QUESTION, timeout_s=1)
    stragglers.adopt(fanout, over)
    transport.last(A).future.set_exception(LayoutUnknown("old"))
    stragglers.close()
    await asyncio.sleep(0.1)
    assert (over.times, stragglers.under_way, len(transport.calls)) == (1, 0, 1)

    late, _, another = made()
    another.ask(B, QUESTION, timeout_s=1)
    stragglers.adopt(another, over)
    await asyncio.sleep(0)
    assert late.last(B).future.cancelled()
    assert over.times == 2
