"""Reads from nodes that are slow, dead or frozen, and of values that are long."""


from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.calls import CallSettings
from ring.digest import Digest
from ring.errors import Unavailable
from ring.life import NodeId
from ring.limits import CHUNK_BYTES, KIB
from ring.messages import (
    GetRecord,
    StatRecords,
)
from ring.suspicion import Lane
from tests.fakes.direct_transport import receivers_answer
from tests.fakes.small_cluster import BLOB, DIGEST, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time

ABSENT = Digest.of(b"never put")
TURNS = range(4)  # a node is asked first, second or not at all, in turn



Trouble = Callable[[SmallCluster, NodeId], None]


def _down(cluster: SmallCluster, node: NodeId) -> None:
    cluster.network.faults.down.add(node)


def _frozen(cluster: SmallCluster, node: NodeId) -> None:
    cluster.network.faults.frozen.add(node)


def _slow(cluster: SmallCluster, node: NodeId) -> None:
    cluster.network.faults.delay_s[node] = 1.0


def _receiver(cluster: SmallCluster, node: NodeId) -> None:
    cluster.network.faults.rewrite[node] = receivers_answer


# --- slow nodes -----------------------------------------------------------------------------------


@in_virtual_time
async def test_a_slow_node_is_not_waited_for_while_the_budget_lasts() -> None:
    async with small_cluster() as cluster:
        gateway, loop = cluster.gateway(), asyncio.get_running_loop()
        await cluster.store()
        cluster.network.faults.delay_s[cluster.owners(DIGEST)[0].node] = 1.0
        for _ in TURNS:
            before = loop.time()
            await gateway.get(DIGEST)
            assert loop.time() - before < 0.2


@in_virtual_time
async def test_without_budget_a_slow_node_is_waited_for_and_nobody_else_asked() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        while gateway.cluster.hedges.spend():
            pass
        for node in cluster.nodes:
            cluster.network.faults.delay_s[node] = 0.3
        before = len(cluster.network.asked)
        assert await gateway.get(DIGEST) == BLOB

        assert len(cluster.network.asked) - before <= 4  # the short way, and the plan after news


@in_virtual_time
async def test_a_node_that_fails_again_and_again_is_asked_last_until_it_does_its_work() -> None:
    async with small_cluster() as cluster:
        gateway, bad = cluster.gateway(), cluster.owners(DIGEST)[0].node
        await cluster.store()
        cluster.network.faults.down.add(bad)
        for _ in range(10):
            await gateway.get(DIGEST)
        before = cluster.network.count(GetRecord, bad) + cluster.network.count(StatRecords, bad)
        for _ in range(10):
            await gateway.get(DIGEST)
        assert before == (
            cluster.network.count(GetRecord, bad) + cluster.network.count(StatRecords, bad)
        )

        cluster.network.faults.down.clear()
        await gateway.put(DIGEST, BLOB)
        await gateway.delete(DIGEST)
        await gateway.put(DIGEST, BLOB)
        await cluster.calm()
        for _ in range(10):
            await gateway.get(DIGEST)
        assert cluster.network.count(GetRecord, bad) > 0


@in_virtual_time
async def test_a_receiver_is_asked_last() -> None:
    async with small_cluster() as cluster:
        gateway, receiver = cluster.gateway(), cluster.owners(DIGEST)[0].node
        await cluster.store()
        cluster.network.faults.rewrite[receiver] = receivers_answer
        for _ in range(12):
            await gateway.get(DIGEST)
        before = cluster.network.count(GetRecord, receiver)
        for _ in range(12):
            await gateway.get(DIGEST)

        assert cluster.network.count(GetRecord, receiver) == before


@pytest.mark.parametrize("turns", [0, 1, 5])
@in_virtual_time
async def test_a_get_whose_client_goes_away_leaves_nothing_behind(turns: int) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        cluster.network.faults.frozen |= set(cluster.nodes)
        get = asyncio.ensure_future(gateway.get(DIGEST))
        for _ in range(turns):
            await asyncio.sleep(0.02)
        get.cancel()
        await asyncio.gather(get, return_exceptions=True)
        assert get.cancelled()
        await asyncio.sleep(CallSettings().read_timeout_s + 0.1)

        assert cluster.network.under_way == 0


# --- values that are too long for the short way ---------------------------------------------------


@pytest.mark.parametrize("size", [64 * KIB, 64 * KIB + 1, CHUNK_BYTES])
@in_virtual_time
async def test_long_values_come_by_the_bulk_way(size: int) -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(size)
        digest = await cluster.store(data)
        for _ in TURNS:
            assert await gateway.get(digest) == data

        bulk = [asked for asked in cluster.network.calls_of(GetRecord) if asked.bulk]
        assert len(bulk) == (0 if size <= 64 * KIB else len(TURNS))


@pytest.mark.parametrize(
    "trouble", [_down, _frozen, _slow, _receiver], ids=lambda trouble: trouble.__name__
)
@in_virtual_time
async def test_a_long_value_comes_from_another_node_when_one_is_bad(trouble: Trouble) -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = await cluster.store(data)
        trouble(cluster, cluster.owners(digest)[0].node)
        for _ in TURNS:
            assert await gateway.get(digest) == data
        await cluster.calm()


@in_virtual_time
async def test_a_bad_long_copy_is_reported_and_another_served() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = await cluster.store(data)
        for number, node in enumerate(cluster.owners(digest)):
            node.rot(digest)  # the one before has been replaced
            for _ in TURNS:
                assert await gateway.get(digest) == data
                await cluster.calm()
            assert gateway.records.reader.bad_copies_total == number + 1


@in_virtual_time
async def test_a_long_value_without_a_good_copy_is_unavailable() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = await cluster.store(data)
        for node in cluster.owners(digest):
            node.rot(digest)
        with pytest.raises(Unavailable):
            await gateway.get(digest)
        await cluster.calm()
        assert gateway.records.reader.bad_copies_total == 3


@in_virtual_time
async def test_a_long_value_does_not_come_from_a_node_that_fails_at_long_ones() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = await cluster.store(data)
        bad = cluster.owners(digest)[0].node
        await cluster.store()
        for _ in TURNS:
            await gateway.get(DIGEST)
        for _ in range(3):
            gateway.cluster.vigil.failed(gateway.cluster.suspicion.tallies(bad)[Lane.VALUES])
        assert not gateway.cluster.is_doubted(bad, Lane.READS)
        for _ in TURNS:
            assert await gateway.get(digest) == data

        bulk = [asked.node for asked in cluster.network.calls_of(GetRecord) if asked.bulk]
        assert len(bulk) == len(TURNS)
        assert bad not in bulk


@in_virtual_time
async def test_a_long_value_comes_from_a_spare_that_keeps_it_for_an_owner() -> None:
    async with small_cluster(5) as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = Digest.of(data)
        away, keeper = cluster.owners(digest)[0], cluster.spares(digest)[1]
        await cluster.store(data, on=[away, keeper])  # an ack set
        cluster.network.faults.down = {away.node}
        for _ in TURNS:
            assert await gateway.get(digest) == data


@pytest.mark.parametrize("replicas", [2, 3, 4])
@in_virtual_time
async def test_every_owner_gives_its_share_of_long_values(replicas: int) -> None:
    async with small_cluster(replicas + 2, replicas) as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = await cluster.store(data)
        for read in (gateway.get, gateway.records.reader.read_chunk):
            before = len(cluster.network.asked)
            for _ in range(3 * replicas):
                await read(digest)
            bulk = [asked.node for asked in cluster.network.asked[before:] if asked.bulk]
            assert sorted(bulk) == sorted(3 * [node.node for node in cluster.owners(digest)])


@in_virtual_time
async def test_who_is_slow_with_a_long_value_is_not_waited_for() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest, loop = await cluster.store(data), asyncio.get_running_loop()
        cluster.network.faults.delay_s[cluster.owners(digest)[0].node] = 9.0
        for _ in TURNS:
            began_s = loop.time()
            assert await gateway.records.reader.read_chunk(digest) == data
            assert loop.time() - began_s < 2 * CallSettings().chunk_patience_s


@in_virtual_time
async def test_without_budget_a_long_value_is_asked_of_others_when_its_node_is_in_doubt() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = await cluster.store(data)
        cluster.network.faults.frozen.add(cluster.owners(digest)[1].node)
        while gateway.cluster.hedges.spend():
            pass
        reading = asyncio.ensure_future(gateway.records.reader.read_chunk(digest))
        await asyncio.sleep(5)
        (asked,) = cluster.network.calls_of(GetRecord)
        assert not reading.done()
        for _ in range(3):
            tally = gateway.cluster.suspicion.tallies(asked.node)[Lane.VALUES]
            gateway.cluster.vigil.failed(tally)
        async with asyncio.timeout(2 * CallSettings().chunk_patience_s):
            assert await reading == data


@in_virtual_time
async def test_a_long_value_that_nobody_delivers_costs_one_extra_question_for_each_node() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = await cluster.store(data)
        for node in cluster.nodes:
            cluster.network.faults.delay_s[node] = 20.0
        assert await gateway.records.reader.read_chunk(digest) == data
        left = 0
        while gateway.cluster.hedges.spend():
            left += 1
        assert left >= gateway.cluster.hedges.BURST - len(cluster.nodes)


@in_virtual_time
async def test_reads_of_chunks_earn_extra_questions_too() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(64 * KIB + 1)
        digest = await cluster.store(data)
        while gateway.cluster.hedges.spend():
            pass
        for _ in range(41):
            await gateway.records.reader.read_chunk(digest)
        assert gateway.cluster.hedges.spend()
        assert gateway.cluster.hedges.spend()
        assert not gateway.cluster.hedges.spend()


# --- heads ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_all_nodes_take_is_not_too_long_for_a_head() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        for node in cluster.nodes:
            cluster.network.faults.delay_s[node] = 0.15
        for _ in range(200):
            await gateway.stat(DIGEST)
        before = cluster.network.count(GetRecord)
        for _ in range(20):
            await gateway.stat(DIGEST)
        assert cluster.network.count(GetRecord) - before == 20 * 2


@in_virtual_time
async def test_a_get_waits_for_a_slow_node_once() -> None:
    async with small_cluster() as cluster:
        gateway, loop = cluster.gateway(), asyncio.get_running_loop()
        await cluster.store()
        for _ in TURNS:
            await gateway.get(DIGEST)
        cluster.network.faults.delay_s[cluster.owners(DIGEST)[0].node] = 1.0
        for _ in TURNS:
            began_s = loop.time()
            await gateway.get(DIGEST)
            assert loop.time() - began_s < 1.5 * 0.04, "twice the usual, and no second time"


@in_virtual_time
async def test_a_read_that_finds_everything_where_it_belongs_notes_nothing() -> None:
    async with small_cluster(5) as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        for _ in TURNS:
            await gateway.stat(DIGEST)
            await gateway.get(DIGEST)
        assert len(gateway.cluster.missed) == 0
