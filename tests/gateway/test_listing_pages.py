"""Pages of a list: which partitions they span, whose answers count, what two rounds make of it."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from msgspec.structs import replace

from gateway.coordinator import Coordinator
from ring.digest import Algorithm, Digest
from ring.errors import Unavailable
from ring.limits import PARTITION_BITS
from ring.listing import ListRecords, PageReply
from ring.messages import Answer, Request
from ring.record import RecordKey, RecordKind
from tests.fakes.small_cluster import DIGEST, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time


def border(cluster: SmallCluster) -> int:
    """A partition the next of which has other spares."""
    def spares(partition: int) -> set[str]:
        return set(cluster.layout.group(partition).spares)

    return next(p for p in count() if spares(p) != spares(p + 1))


def beginning_of(partition: int) -> Digest:
    """What comes before everything in it."""
    start = (partition << (16 - PARTITION_BITS)).to_bytes(2, "big")
    return Digest(Algorithm.BLAKE3, start.ljust(Algorithm.BLAKE3.size_bytes, b"\0"))


async def stored_in(
    cluster: SmallCluster, partition: int, algorithm: Algorithm = Algorithm.BLAKE3
) -> Digest:
    """A blob of that partition, on its owners."""
    numbers = (b"%d of %d" % (number, partition) for number in count())
    data = next(n for n in numbers if Digest.of(n, algorithm).partition == partition)
    digest = Digest.of(data, algorithm)
    for node in cluster.owners(digest):
        await node.store.put_root(RecordKey(digest), RecordKind.DATA, len(data), 1, data)
    return digest


def silence_spares(cluster: SmallCluster, partition: int) -> None:
    """There is no cover any more but of partitions with the same spares."""
    cluster.network.faults.down = set(cluster.layout.group(partition).spares)


async def page(gateway: Coordinator, after: Digest | None, limit: int) -> list[Digest]:
    return [digest for digest, _ in (await gateway.list_page(after, limit))[0]]


@in_virtual_time
async def test_the_first_and_the_last_partition_of_a_page_need_a_cover_too() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway, first = cluster.gateway(), border(cluster)
        one = await stored_in(cluster, first)
        other = await stored_in(cluster, first + 1)
        await stored_in(cluster, first + 2)
        start = beginning_of(first)
        silence_spares(cluster, first)
        assert await page(gateway, start, 1) == [one]
        with pytest.raises(Unavailable):
            await page(gateway, start, 2)
        silence_spares(cluster, first + 1)
        assert await page(gateway, beginning_of(first + 1), 1) == [other]
        with pytest.raises(Unavailable):
            await page(gateway, start, 2)


@in_virtual_time
async def test_a_page_that_crosses_algorithms_spans_every_partition() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway, first = cluster.gateway(), border(cluster)
        await stored_in(cluster, first + 1)
        crossing = await stored_in(cluster, 0, Algorithm.SHA256)
        await stored_in(cluster, 1, Algorithm.SHA256)
        last = await stored_in(cluster, first + 1)
        silence_spares(cluster, 0)
        assert crossing > last
        with pytest.raises(Unavailable):
            await page(gateway, last, 1)


@in_virtual_time
async def test_a_node_that_gives_less_than_was_asked_for_hides_nothing() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        stored = sorted([await stored_in(cluster, partition) for partition in range(12)])

        def short(request: Request, answer: Answer) -> Answer:
            reply = answer.reply
            if not isinstance(reply, PageReply) or len(reply.entries) < 2:
                return answer
            return replace(answer, reply=PageReply(reply.entries[:2], done=False))

        cluster.network.faults.rewrite[next(iter(cluster.nodes))] = short
        listed: list[Digest] = []
        after: Digest | None = None
        for _ in range(20):
            found, after = await gateway.list_page(after, 8)
            listed += [digest for digest, _ in found]
            if after is None:
                break
        assert listed == stored


@in_virtual_time
async def test_a_copy_that_moves_while_nodes_are_asked_again_is_not_overlooked() -> None:
    """Seen on the spare the first time, and on no owner: they answer before it arrives."""
    async with small_cluster(5, 3) as cluster:
        gateway = cluster.gateway()
        owners, spares = cluster.owners(DIGEST), cluster.spares(DIGEST)
        await cluster.store(on=[owners[0], spares[0]])
        faults = cluster.network.faults
        faults.down |= {owners[0].node}
        faults.delay_s |= dict.fromkeys(cluster.nodes, 0.01)
        listing = asyncio.ensure_future(gateway.list_page(None, 10))
        await asyncio.sleep(0.015)  # all have answered once by now, and are asked again
        held = cluster.network.hold(spares[0].node, ListRecords)
        await asyncio.sleep(0.02)
        assert held.waiting == 1
        await cluster.store(on=owners[1:])
        await spares[0].store.drop(RecordKey(DIGEST))
        held.release()

        assert await listing == ([(DIGEST, 4)], None)


@in_virtual_time
async def test_a_node_that_is_back_is_waited_for_again() -> None:
    async with small_cluster() as cluster:
        gateway, away = cluster.gateway(), next(iter(cluster.nodes))
        await cluster.store()
        cluster.network.faults.frozen.add(away)
        await gateway.list_page(None, 9)
        cluster.network.faults.frozen.clear()
        cluster.network.faults.delay_s |= {node: 0.01 for node in cluster.nodes if node != away}
        await gateway.list_page(None, 9)  # it answers before the others do
        cluster.network.faults.delay_s = {away: 0.01}
        before = cluster.network.count(ListRecords)
        await gateway.list_page(None, 9)

        assert cluster.network.count(ListRecords) - before == len(cluster.nodes)
