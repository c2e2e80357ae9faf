"""Listing: order, pages, tombstones, silence, and entries that come and go."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from msgspec.structs import replace

from gateway.calls import CallSettings
from gateway.coordinator import Coordinator
from ring.digest import Algorithm, Digest
from ring.errors import BadRequest, Busy, HoldfastError, NotFound, Unavailable
from ring.life import NodeId
from ring.limits import CHUNK_BYTES
from ring.listing import ListRecords, PageReply
from ring.messages import Answer, Request
from ring.record import RecordKey, RecordKind
from tests.fakes.direct_transport import Rewrite, receivers_answer
from tests.fakes.small_cluster import BLOB, DIGEST, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time

Listed = list[tuple[Digest, int]]


async def everything(gateway: Coordinator, limit: int) -> Listed:
    """All pages one after the other."""
    found: Listed = []
    after: Digest | None = None
    for _ in range(10_000):
        page, after = await gateway.list_page(after, limit)
        assert len(page) <= limit
        found += page
        if after is None:
            return found
    raise AssertionError("the list has no end")


async def some_blobs(cluster: SmallCluster, count: int = 30) -> Listed:
    """Blobs under every algorithm, in wire order."""
    blobs: Listed = []
    for number in range(count):
        data = b"%d" % number
        digest = Digest.of(data, list(Algorithm)[number % 3])
        for node in cluster.owners(digest):
            await node.store.put_root(RecordKey(digest), RecordKind.DATA, len(data), 1, data)
        blobs.append((digest, len(data)))
    return sorted(blobs, key=lambda blob: str(blob[0]))


@pytest.mark.parametrize("limit", [1, 2, 7, 30, 31, 1000, 5000])
@in_virtual_time
async def test_every_blob_is_listed_once_in_wire_order(limit: int) -> None:
    async with small_cluster(5, 3) as cluster:
        blobs = await some_blobs(cluster)
        listed = await everything(cluster.gateway(), limit)

        assert listed == blobs
        assert all(str(one) < str(other) for (one, _), (other, _) in pairwise(listed))


@in_virtual_time
async def test_an_empty_store_has_one_empty_page() -> None:
    async with small_cluster() as cluster:
        assert await cluster.gateway().list_page(None, 10) == ([], None)
        assert await cluster.gateway().list_page(DIGEST, 10) == ([], None)


@pytest.mark.parametrize("limit", [0, -1])
@in_virtual_time
async def test_a_page_of_nothing_is_refused(limit: int) -> None:
    async with small_cluster() as cluster:
        with pytest.raises(BadRequest):
            await cluster.gateway().list_page(None, limit)


@in_virtual_time
async def test_large_blobs_are_listed_with_their_size_and_chunks_not_at_all() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(CHUNK_BYTES + 1)
        await gateway.put(Digest.of(data), data)

        assert await everything(gateway, 1) == [(Digest.of(data), len(data))]


@pytest.mark.parametrize("limit", [1, 4, 100])
@in_virtual_time
async def test_a_tombstone_wins_over_older_copies_elsewhere(limit: int) -> None:
    async with small_cluster() as cluster:
        blobs = await some_blobs(cluster)
        for number, (digest, _) in enumerate(blobs):
            if number % 2:
                for node in cluster.owners(digest)[: 2 - number % 4 // 2]:
                    await node.store.bury(RecordKey(digest), 1)
        listed = await everything(cluster.gateway(), limit)

        assert listed == blobs[::2]


@pytest.mark.parametrize("limit", [1, 3, 100])
@in_virtual_time
async def test_a_page_of_tombstones_is_empty_and_leads_on(limit: int) -> None:
    async with small_cluster() as cluster:
        blobs = await some_blobs(cluster)
        for digest, _ in blobs[:10]:
            for node in cluster.owners(digest):
                await node.store.bury(RecordKey(digest), 1)
        page, following = await cluster.gateway().list_page(None, min(limit, 10))
        assert (page, following is None) == ([], False)

        assert await everything(cluster.gateway(), limit) == blobs[10:]


@pytest.mark.parametrize("limit", [1, 5, 100])
@in_virtual_time
async def test_copies_may_be_anywhere(limit: int) -> None:
    async with small_cluster(5, 3) as cluster:
        blobs: Listed = []
        for number in range(20):
            data = b"%d" % number
            nodes = [*cluster.owners(Digest.of(data)), *cluster.spares(Digest.of(data))]
            digest = await cluster.store(data, on=[nodes[number % 3], nodes[number % 4 + 1]])
            blobs.append((digest, len(data)))

        assert await everything(cluster.gateway(), limit) == sorted(blobs)


# --- silence --------------------------------------------------------------------------------------


def _silenced(cluster: SmallCluster, how: str, *nodes: NodeId) -> None:
    faults = cluster.network.faults

    def busy(node: NodeId, request: Request) -> HoldfastError | None:
        return Busy("later") if node in nodes and isinstance(request, ListRecords) else None

    match how:
        case "down":
            faults.down.update(nodes)
        case "frozen":
            faults.frozen.update(nodes)
        case "busy":
            faults.refuse = busy
        case _:
            faults.rewrite.update(dict.fromkeys(nodes, receivers_answer))


@pytest.mark.parametrize("how", ["down", "frozen", "busy", "receiver"])
@in_virtual_time
async def test_one_silent_node_hides_nothing(how: str) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        blobs = await some_blobs(cluster, 6)
        for node in cluster.nodes:
            _silenced(cluster, how, node)
            assert await everything(gateway, 2) == blobs
            for faults in (cluster.network.faults.down, cluster.network.faults.frozen):
                faults.clear()
            cluster.network.faults.rewrite.clear()


@pytest.mark.parametrize("how", ["down", "frozen", "busy", "receiver"])
@in_virtual_time
async def test_with_two_silent_nodes_there_is_no_list(how: str) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await some_blobs(cluster, 6)
        _silenced(cluster, how, *list(cluster.nodes)[:2])
        with pytest.raises(Unavailable):
            await gateway.list_page(None, 2)


@in_virtual_time
async def test_a_page_needs_covers_only_of_the_partitions_that_it_spans() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway = cluster.gateway()
        numbers = (b"%d" % number for number in range(100_000))
        first = await cluster.store(next(n for n in numbers if Digest.of(n).partition == 0))
        silent = [node.node for node in cluster.spares(first)]
        for number in range(10):
            await cluster.store(b"%d" % number)
        _silenced(cluster, "down", *silent)

        assert [digest for digest, _ in (await gateway.list_page(None, 1))[0]] == [first]
        with pytest.raises(Unavailable):
            await gateway.list_page(first, 1)
        with pytest.raises(Unavailable):
            await gateway.list_page(None, 1000)


@in_virtual_time
async def test_a_copy_that_moves_from_a_spare_to_an_owner_is_not_overlooked() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway = cluster.gateway()
        owners, spares = cluster.owners(DIGEST), cluster.spares(DIGEST)
        await cluster.store(on=[owners[0], spares[0]])
        cluster.network.faults.down |= {owners[0].node}
        held = cluster.network.hold(spares[0].node, ListRecords)
        listing = asyncio.ensure_future(gateway.list_page(None, 10))
        await asyncio.sleep(0.1)  # the owners that are there have answered by now
        await cluster.store(on=owners[1:])
        await spares[0].store.drop(RecordKey(DIGEST))
        held.release()

        assert await listing == ([(DIGEST, 4)], None)


# --- while the list is read -----------------------------------------------------------------------


@in_virtual_time
async def test_what_stays_is_listed_whatever_comes_and_goes() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        blobs = await some_blobs(cluster, 40)
        stay, go = blobs[::2], blobs[1::2]
        listed: Listed = []
        after: Digest | None = None
        number = 0
        while True:
            page, after = await gateway.list_page(after, 3)
            listed += page
            if after is None:
                break
            if number < len(go):
                await gateway.delete(go[number][0])
                await gateway.put(Digest.of(b"new%d" % number), b"new%d" % number)
            number += 1

        assert [blob for blob in listed if blob in stay] == stay
        assert len({digest for digest, _ in listed}) == len(listed)


# --- nodes that list nonsense ---------------------------------------------------------------------


def _page(change: str) -> Rewrite:
    def rewrite(request: Request, answer: Answer) -> Answer:
        reply = answer.reply
        if not isinstance(reply, PageReply):
            return answer
        entries = reply.entries
        changed = {
            "ends before its end": PageReply((), done=False),
            "goes backwards": PageReply(entries[::-1], reply.done),
            "repeats itself": PageReply(entries[:1] * 2, reply.done),
        }[change]
        return replace(answer, reply=changed)

    return rewrite


@pytest.mark.parametrize("change", ["ends before its end", "goes backwards", "repeats itself"])
@in_virtual_time
async def test_a_node_whose_pages_are_nonsense_is_as_good_as_silent(change: str) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        blobs = await some_blobs(cluster, 10)
        nodes = list(cluster.nodes)
        cluster.network.faults.rewrite[nodes[0]] = _page(change)
        assert await everything(gateway, 3) == blobs
        cluster.network.faults.rewrite[nodes[1]] = _page(change)
        with pytest.raises(Unavailable):
            await everything(gateway, 3)


@in_virtual_time
async def test_a_node_that_lists_what_comes_before_the_page_is_as_good_as_silent() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        blobs = await some_blobs(cluster, 10)
        first_page: list[PageReply] = []

        def stuck(request: Request, answer: Answer) -> Answer:
            if isinstance(answer.reply, PageReply):
                first_page.append(answer.reply)
                return replace(answer, reply=first_page[0])
            return answer

        cluster.network.faults.rewrite[next(iter(cluster.nodes))] = stuck
        assert await everything(gateway, 3) == blobs


@in_virtual_time
async def test_a_silent_node_is_waited_for_once_and_not_on_every_page() -> None:
    async with small_cluster(5, 3) as cluster:
        blobs = await some_blobs(cluster)
        gateway, loop = cluster.gateway(), asyncio.get_running_loop()
        silent = next(iter(cluster.nodes))
        cluster.network.faults.frozen.add(silent)
        began_s = loop.time()
        assert await everything(gateway, 3) == blobs
        assert loop.time() - began_s < 2 * CallSettings().list_patience_s

        cluster.network.faults.frozen.clear()
        await asyncio.sleep(CallSettings().read_timeout_s)
        assert await everything(gateway, 3) == blobs  # by whoever answers, in time or not


@in_virtual_time
async def test_nodes_that_are_needed_are_waited_for() -> None:
    async with small_cluster() as cluster:
        blobs = await some_blobs(cluster)
        gateway = cluster.gateway()
        slow = [cluster.network.hold(node, ListRecords) for node in list(cluster.nodes)[:2]]
        listing = asyncio.ensure_future(everything(gateway, 100))
        await asyncio.sleep(3 * CallSettings().list_patience_s)
        assert not listing.done()
        for each in slow:
            each.release()

        assert await listing == blobs


@in_virtual_time
async def test_what_a_node_keeps_that_is_not_its_own_any_more_is_not_listed() -> None:
    """Seed 4375: the others had settled the tombstone, and lists leave those out."""
    async with small_cluster(6, 3) as cluster:
        eligible = [*cluster.owners(DIGEST), *cluster.spares(DIGEST)]
        (former,) = (node for node in cluster.nodes.values() if node not in eligible)
        await former.store.put_root(RecordKey(DIGEST), RecordKind.DATA, len(BLOB), 1, BLOB)
        gateway = cluster.gateway()
        assert await everything(gateway, 10) == []
        with pytest.raises(NotFound):
            await gateway.get(DIGEST)


@in_virtual_time
async def test_with_two_copies_one_node_is_no_list() -> None:
    """Seeds 40737, 41859: one node of two is a cover of every put, and of no delete."""
    async with small_cluster(2, 2) as cluster:
        gateway = cluster.gateway()
        first = cluster.owners(DIGEST)[0]
        await cluster.store()
        await first.store.bury(RecordKey(DIGEST), 1)  # enough for a delete to be acknowledged
        cluster.network.faults.frozen.add(first.node)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await gateway.list_page(None, 10)
        cluster.network.faults.frozen.clear()

        assert await everything(gateway, 10) == []
