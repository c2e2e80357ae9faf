"""Gateways tell owners of what they missed."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cluster import Cluster
from gateway.hints import BATCH, DELAY_S, UNDER_WAY_MAX, Hints
from ring.comparing import HintRecords, HintReply
from ring.digest import Digest
from ring.life import Life, NodeId
from ring.record import RecordKey
from tests.fakes.manual_transport import ManualCall, ManualTransport
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, small_cluster, small_layout
from tests.fakes.virtual_time import in_virtual_time

A, B = NodeId("n0"), NodeId("n1")


@in_virtual_time
async def test_an_owner_that_missed_a_write_is_told_and_fetches_it() -> None:
    async with small_cluster(5) as cluster:
        gateway, away = cluster.gateway(), cluster.owners(DIGEST)[1]
        cluster.network.faults.refuse = None
        cluster.network.faults.cut.add(("gateway", away.node))
        await gateway.put(DIGEST, BLOB)
        assert not away.holds(DIGEST)
        cluster.network.faults.cut.clear()
        async with asyncio.timeout(10.0):
            while not away.holds(DIGEST):
                await asyncio.sleep(0.1)
        assert gateway.hints.sent_total == 1


@in_virtual_time
async def test_an_owner_that_a_read_finds_lacking_is_told() -> None:
    async with small_cluster() as cluster:
        first, second, last = cluster.owners(DIGEST)
        await cluster.store(on=[first, second])
        gateway = cluster.gateway()
        async with asyncio.timeout(30.0):
            while not last.holds(DIGEST):
                assert await gateway.get(DIGEST) == BLOB
                await asyncio.sleep(0.5)


@in_virtual_time
async def test_many_hints_travel_together() -> None:
    async with small_cluster(5) as cluster:
        gateway = cluster.gateway()
        blobs = [b"blob %d" % number for number in range(40)]
        away = cluster.nodes[cluster.layout.nodes[0]]
        cluster.network.faults.cut.add(("gateway", away.node))
        for blob in blobs:
            await gateway.put(Digest.of(blob), blob)
        cluster.network.faults.cut.clear()
        await asyncio.sleep(5.0)
        hints = [call.request for call in cluster.network.calls_of(HintRecords, away.node)]
        from_gateway = [hint for hint in hints if isinstance(hint, HintRecords)]
        missed = [key for hint in from_gateway for key in hint.keys]
        assert 1 <= len(from_gateway) <= 4
        assert set(missed) == {
            RecordKey(Digest.of(blob)) for blob in blobs if away in cluster.owners(Digest.of(blob))
        }


@in_virtual_time
async def test_a_hint_to_a_node_that_is_down_is_lost_and_nothing_else_is() -> None:
    async with small_cluster(5) as cluster:
        gateway, away = cluster.gateway(), cluster.owners(DIGEST)[1]
        await away.end()
        await gateway.put(DIGEST, BLOB)
        await asyncio.sleep(10.0)
        assert gateway.hints.lost_total == 1
        assert await gateway.get(DIGEST) == BLOB
        assert KEY.digest == DIGEST


# --- what travels, and when -----------------------------------------------------------------------


def made() -> tuple[ManualTransport, Cluster, Hints]:
    transport = ManualTransport()
    cluster = Cluster(transport, small_layout(3, 3))
    return transport, cluster, Hints(cluster, transport)


def keys_of(call: ManualCall) -> list[RecordKey]:
    assert isinstance(call.request, HintRecords)
    return list(call.request.keys)


def some_keys(count: int) -> list[RecordKey]:
    return [RecordKey(Digest.of(b"%d" % number)) for number in range(count)]


@in_virtual_time
async def test_what_does_not_travel_with_one_batch_travels_with_the_next() -> None:
    transport, cluster, hints = made()
    keys = some_keys(2 * BATCH + 1)
    for key in keys:
        cluster.missed.note(A, key)
    await asyncio.sleep(3 * DELAY_S + 0.1)

    assert [keys_of(call) for call in transport.calls] == [
        keys[:BATCH], keys[BATCH : 2 * BATCH], keys[2 * BATCH :]
    ]
    hints.close()


@in_virtual_time
async def test_what_is_missed_later_is_told_later() -> None:
    transport, cluster, hints = made()
    for turn, key in enumerate(some_keys(3)):
        cluster.missed.note(A, key)
        await asyncio.sleep(DELAY_S + 0.1)
        assert [keys_of(call) for call in transport.calls[turn:]] == [[key]]
        transport.last(A).answer(HintReply(1))
        await asyncio.sleep(9)

    assert (hints.sent_total, hints.lost_total) == (3, 0)
    hints.close()


@in_virtual_time
async def test_hints_under_way_are_bounded_and_what_is_beyond_is_lost() -> None:
    transport, cluster, hints = made()
    [key] = some_keys(1)
    for number in range(UNDER_WAY_MAX + 9):
        cluster.missed.note(NodeId(f"m{number}"), key)
    await asyncio.sleep(DELAY_S + 0.1)
    assert len(transport.calls) == UNDER_WAY_MAX
    assert hints.lost_total == 9
    transport.calls[0].answer(HintReply(1))
    await asyncio.sleep(0)
    cluster.missed.note(A, key)
    await asyncio.sleep(DELAY_S + 0.1)

    assert transport.calls[-1].node == A
    hints.close()
    await asyncio.sleep(0)
    assert hints.sent_total + hints.lost_total == UNDER_WAY_MAX + 10


@in_virtual_time
async def test_news_of_lives_is_learnt_from_the_answer_to_a_hint() -> None:
    transport, cluster, hints = made()
    cluster.missed.note(A, KEY)
    await asyncio.sleep(DELAY_S + 0.1)
    transport.last(A).answer(HintReply(1), peers=((B, Life(3, 1, 7)),))
    await asyncio.sleep(0)

    assert cluster.knowledge.latest(B) == Life(3, 1, 7)
    hints.close()


@pytest.mark.parametrize("waits", [True, False])
@in_virtual_time
async def test_after_the_close_no_hint_is_sent(waits: bool) -> None:
    transport, cluster, hints = made()
    before, after = some_keys(2)
    if waits:
        cluster.missed.note(A, before)
    hints.close()
    cluster.missed.note(A, after)
    await asyncio.sleep(3 * DELAY_S)

    assert transport.calls == []
