"""Nodes that do not do their work are passed over by everything a gateway does, and taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.calls import CallSettings
from gateway.coordinator import Coordinator
from ring.digest import Digest
from ring.errors import NotFound, Unavailable
from ring.life import Life, NodeId
from ring.limits import CHUNK_BYTES
from ring.listing import ListRecords
from ring.messages import BuryRecord, GetRecord, PutRecord, StatRecords
from ring.record import RecordKey
from ring.suspicion import Lane
from tests.fakes.direct_transport import receivers_answer
from tests.fakes.large_blobs import free_in, permits_of, pieces
from tests.fakes.small_cluster import BLOB, DIGEST, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time

NOTICE_S = 5.0
PROMPT_S = 0.3
ABSENT = Digest.of(b"never put")
READS = (GetRecord, StatRecords)


def frozen(cluster: SmallCluster, node: NodeId) -> None:
    cluster.network.faults.frozen.add(node)


def down(cluster: SmallCluster, node: NodeId) -> None:
    cluster.network.faults.down.add(node)


def slow(cluster: SmallCluster, node: NodeId) -> None:
    cluster.network.faults.delay_s[node] = 1.0


def receiver(cluster: SmallCluster, node: NodeId) -> None:
    cluster.network.faults.rewrite[node] = receivers_answer


def well(cluster: SmallCluster, node: NodeId) -> None:
    faults = cluster.network.faults
    faults.frozen.discard(node)
    faults.down.discard(node)
    faults.delay_s.pop(node, None)
    faults.rewrite.pop(node, None)


TROUBLES = pytest.mark.parametrize("trouble", [frozen, down, slow, receiver])


async def load(gateway: Coordinator, seconds: float, *, tag: str = "") -> None:
    """Puts, gets, misses and deletes, twenty of each in a second, whether or not answered."""
    loop, under_way = asyncio.get_running_loop(), []
    for number in range(int(seconds * 20)):
        data = f"{tag}{number}".encode()
        for request in (
            gateway.put(Digest.of(data), data),
            gateway.get(DIGEST),
            gateway.contains(ABSENT),
            gateway.delete(Digest.of(data)),
        ):
            under_way.append(loop.create_task(request))  # noqa: PERF401 - a task for each in turn
        await asyncio.sleep(0.05)
    await asyncio.gather(*under_way)


async def prompt(request: Awaitable[object]) -> None:
    """It ends without waiting for anybody's patience or deadline."""
    async with asyncio.timeout(PROMPT_S):
        await request


@TROUBLES
@pytest.mark.parametrize("count", [3, 5])
@in_virtual_time
async def test_after_a_while_nothing_waits_for_the_bad_node(
    trouble: Callable[[SmallCluster, NodeId], None], count: int
) -> None:
    async with small_cluster(count, 3) as cluster:
        gateway, bad = cluster.gateway(), cluster.owners(DIGEST)[0].node
        await cluster.store()
        await load(gateway, 1.0)
        trouble(cluster, bad)
        await load(gateway, NOTICE_S, tag="noticed")
        while gateway.cluster.hedges.spend() or gateway.cluster.spares.spend():
            pass  # what goes well now needs no budget
        for number in range(40):
            data = b"%d" % number
            digest = Digest.of(data)
            await prompt(gateway.put(digest, data))
            await prompt(gateway.get(digest))
            await prompt(gateway.contains(Digest.of(b"absent" + data)))
            await prompt(gateway.delete(digest))
            with pytest.raises(NotFound):
                await gateway.get(digest)
        gateway.close()


@TROUBLES
@in_virtual_time
async def test_it_is_read_again_within_seconds_though_nobody_writes(
    trouble: Callable[[SmallCluster, NodeId], None],
) -> None:
    async with small_cluster() as cluster:
        gateway, bad = cluster.gateway(), cluster.owners(DIGEST)[0].node
        await cluster.store()
        trouble(cluster, bad)
        for _ in range(60):
            await gateway.get(DIGEST)
            await asyncio.sleep(0.05)
        assert gateway.cluster.is_doubted(bad, Lane.READS)
        well(cluster, bad)
        for _ in range(80):
            await gateway.get(DIGEST)
            await asyncio.sleep(0.05)

        assert not gateway.cluster.suspicion.has_doubts


@in_virtual_time
async def test_a_node_in_doubt_is_asked_by_probes_only() -> None:
    async with small_cluster() as cluster:
        gateway, bad = cluster.gateway(), cluster.owners(DIGEST)[0].node
        await cluster.store()
        frozen(cluster, bad)
        await load(gateway, NOTICE_S)
        before = sum(cluster.network.count(kind, bad) for kind in READS)
        probes = gateway.cluster.vigil.probes_total
        for _ in range(100):
            await gateway.get(DIGEST)
            await gateway.contains(ABSENT)
            await asyncio.sleep(0.05)

        asked = sum(cluster.network.count(kind, bad) for kind in READS) - before
        assert 0 < asked == gateway.cluster.vigil.probes_total - probes <= 10


@in_virtual_time
async def test_a_spare_joins_at_once_for_an_owner_in_doubt_which_is_still_sent_to() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway, bad = cluster.gateway(), cluster.owners(DIGEST)[0].node
        await cluster.store()
        frozen(cluster, bad)
        await load(gateway, NOTICE_S)
        await cluster.calm()
        data = b"another"
        while Digest.of(data).partition != DIGEST.partition and not any(
            node.node == bad for node in cluster.owners(Digest.of(data))
        ):
            data += b"."
        digest = Digest.of(data)
        before = cluster.network.count(PutRecord, bad)
        await prompt(gateway.put(digest, data))
        await asyncio.sleep(0.05)

        assert cluster.spares(digest)[0].holds(digest)
        assert cluster.network.count(PutRecord, bad) == before + 1


@in_virtual_time
async def test_what_is_under_way_to_a_frozen_node_is_bounded_and_the_rest_noted() -> None:
    async with small_cluster() as cluster:
        gateway, bad = cluster.gateway(), cluster.nodes[NodeId("n0")].node
        await cluster.store()
        frozen(cluster, bad)
        await load(gateway, 2.0)
        for number in range(200):
            data = b"many %d" % number
            await prompt(gateway.put(Digest.of(data), data))

        assert gateway.cluster.suspicion.tallies(bad)[Lane.WRITES].trials <= 16
        assert gateway.records.stragglers.under_way <= 32
        missed = gateway.cluster.missed.take(9999)
        assert {node for node, _ in missed} == {bad}
        keys = {key for _, key in missed}
        noted = [n for n in range(200) if RecordKey(Digest.of(b"many %d" % n)) in keys]
        assert len(noted) >= 200 - 16


@in_virtual_time
async def test_a_list_waits_for_a_silent_node_once() -> None:
    async with small_cluster() as cluster:
        gateway, bad = cluster.gateway(), cluster.nodes[NodeId("n0")].node
        await cluster.store()
        frozen(cluster, bad)
        await gateway.list_page(None, 9)
        for _ in range(5):
            async with asyncio.timeout(0.05):
                assert await gateway.list_page(None, 9) == ([(DIGEST, len(BLOB))], None)
        well(cluster, bad)
        await gateway.list_page(None, 9)
        assert cluster.network.count(ListRecords, bad) > 5


# --- gray failures --------------------------------------------------------------------------------


@in_virtual_time
async def test_a_node_whose_writes_hang_is_still_read_from() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway, bad = cluster.gateway(), cluster.owners(DIGEST)[0].node
        await cluster.store()
        held = [cluster.network.hold(bad, kind) for kind in (PutRecord, BuryRecord)]
        await load(gateway, NOTICE_S)

        assert gateway.cluster.suspicion.suspects() == {bad: [Lane.WRITES]}
        assert not gateway.cluster.is_doubted(bad, Lane.READS)
        before = cluster.network.count(GetRecord, bad)
        for _ in range(6):
            await prompt(gateway.get(DIGEST))
        assert cluster.network.count(GetRecord, bad) > before
        for one in held:
            one.release()
        await load(gateway, 4.0, tag="released")
        assert not gateway.cluster.suspicion.has_doubts


@in_virtual_time
async def test_chunks_for_a_frozen_node_do_not_keep_their_memory() -> None:
    async with small_cluster() as cluster:
        settings = CallSettings(chunks_in_flight_max=8, uploads_max=2)
        gateway, bad = cluster.gateway(settings=settings), cluster.nodes[NodeId("n0")].node
        frozen(cluster, bad)
        for number in range(8):
            data = bytes([number]) * (3 * CHUNK_BYTES)
            await gateway.put_stream(pieces(data), digest=Digest.of(data))
        await asyncio.sleep(0.5)

        assert free_in(permits_of(gateway)[0]) >= 8 - 2


# --- suspicion is no answer -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 5])
@in_virtual_time
async def test_wrong_suspicion_of_every_node_refuses_nothing(count: int) -> None:
    async with small_cluster(count, 3) as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        for number, node in enumerate(cluster.nodes):
            for lane in Lane:
                tally = gateway.cluster.suspicion.tallies(node)[lane]
                tally.trials = 99 * (number % 2)
                for _ in range(3):
                    gateway.cluster.vigil.failed(tally)
        for node in cluster.nodes:
            assert gateway.cluster.is_doubted(node, Lane.READS)

        data = b"put while everybody is suspect"
        digest = Digest.of(data)
        assert await gateway.get(DIGEST) == BLOB
        assert not await gateway.contains(ABSENT)
        assert (await gateway.put(digest, data)).created
        assert await gateway.get(digest) == data
        await gateway.delete(digest)
        with pytest.raises(NotFound):
            await gateway.get(digest)
        assert (await gateway.list_page(None, 9))[0] == [(DIGEST, len(BLOB))]


@in_virtual_time
async def test_a_miss_still_needs_a_cover() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        for node in cluster.owners(DIGEST)[:2]:
            frozen(cluster, node.node)
        await asyncio.gather(
            *(gateway.contains(DIGEST) for _ in range(20)), return_exceptions=True
        )
        with pytest.raises(Unavailable):
            await gateway.contains(DIGEST)


@in_virtual_time
async def test_news_of_lives_is_learnt_from_the_answer_to_a_probe() -> None:
    async with small_cluster() as cluster:
        gateway, bad = cluster.gateway(), cluster.owners(DIGEST)[0]
        await cluster.store()
        frozen(cluster, bad.node)
        for _ in range(60):
            await gateway.get(DIGEST)
            await asyncio.sleep(0.05)
        await bad.end()
        well(cluster, bad.node)
        await bad.start()
        await bad.until("voter")
        life: Life | None = bad.service.membership.life
        await asyncio.sleep(4)

        assert gateway.cluster.knowledge.latest(bad.node) == life
