"""Deletes: what a cover must hold before 204, and what is not written where nothing was."""

from __future__ import annotations

import asyncio

import pytest

from ring.digest import Digest
from ring.errors import DiskFull, HoldfastError, NotFound, Unavailable
from ring.life import NodeId
from ring.limits import CHUNK_BYTES
from ring.messages import BuryRecord, Request
from ring.record import dead, live
from tests.fakes.direct_transport import receivers_answer
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, small_cluster
from tests.fakes.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_deleted_blob_is_gone_until_somebody_puts_it_again() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        for generation in (1, 2, 3):
            assert (await gateway.put(DIGEST, BLOB)).created
            assert (await gateway.stat(DIGEST)).generation == generation
            await gateway.delete(DIGEST)
            with pytest.raises(NotFound):
                await gateway.get(DIGEST)
            assert not await gateway.contains(DIGEST)
            await cluster.calm()
            for node in cluster.owners(DIGEST):
                assert node.state_of(DIGEST).root == dead(generation)
                assert node.state_of(DIGEST).in_trash


@in_virtual_time
async def test_where_nothing_was_nothing_is_written() -> None:
    async with small_cluster() as cluster:
        await cluster.gateway().delete(DIGEST)

        assert not cluster.network.count(BuryRecord)


@in_virtual_time
async def test_a_blob_that_is_dead_already_is_buried_on_a_cover_again() -> None:
    async with small_cluster() as cluster:
        first, *others = cluster.owners(DIGEST)
        await first.store.bury(KEY, 1)
        await cluster.store(on=others)  # the delete was never acknowledged
        await cluster.gateway().delete(DIGEST)
        await cluster.calm()

        assert {node.state_of(DIGEST).root for node in cluster.nodes.values()} == {dead(1)}


@in_virtual_time
async def test_the_highest_generation_seen_is_buried_and_a_newer_put_not_chased() -> None:
    async with small_cluster() as cluster:
        first, second, third = cluster.owners(DIGEST)
        await cluster.store(on=[first])
        await cluster.store(on=[second, third], generation=4)
        held = [cluster.network.hold(node, BuryRecord) for node in cluster.nodes]
        delete = asyncio.ensure_future(cluster.gateway().delete(DIGEST))
        await asyncio.sleep(0.1)
        await cluster.store(on=[third], generation=5)
        for each in held:
            each.release()
        await delete
        await cluster.calm()

        roots = [node.state_of(DIGEST).root for node in (first, second, third)]
        assert roots == [dead(4), dead(4), live(5)]


@in_virtual_time
async def test_one_silent_node_is_tolerated_and_hears_of_it_later() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        away = cluster.owners(DIGEST)[0]
        cluster.network.faults.frozen |= {away.node}
        await gateway.delete(DIGEST)
        assert away.state_of(DIGEST).root == live(1)
        cluster.network.faults.frozen.clear()
        for _ in range(4):
            with pytest.raises(NotFound):
                await gateway.get(DIGEST)
        await cluster.calm()


@pytest.mark.parametrize("phase", ["asking", "burying"])
@pytest.mark.parametrize("how", ["down", "frozen", "receivers", "full"])
@in_virtual_time
async def test_two_silent_nodes_are_not(phase: str, how: str) -> None:
    async with small_cluster() as cluster:
        gateway, faults = cluster.gateway(), cluster.network.faults
        await cluster.store()
        held = [cluster.network.hold(node, BuryRecord) for node in cluster.nodes]
        silent = [node.node for node in cluster.owners(DIGEST)[:2]]

        def full(node: NodeId, request: Request) -> HoldfastError | None:
            return DiskFull("full") if node in silent else None

        async def fall_silent() -> None:
            if how == "receivers":
                faults.rewrite.update(dict.fromkeys(silent, receivers_answer))
            elif how == "full":
                faults.refuse = full
            else:
                (faults.down if how == "down" else faults.frozen).update(silent)

        if phase == "asking":
            await fall_silent()
        delete = asyncio.ensure_future(gateway.delete(DIGEST))
        await asyncio.sleep(0.1)
        if phase == "burying":
            await fall_silent()
        for each in held:
            each.release()
        with pytest.raises(Unavailable):
            await delete
        await cluster.calm()


@pytest.mark.parametrize(("replicas", "silent"), [(2, 1), (4, 2)])
@in_virtual_time
async def test_half_of_an_even_number_of_owners_is_too_few_to_keep_a_delete(
    replicas: int, silent: int
) -> None:
    async with small_cluster(replicas, replicas) as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        cluster.network.faults.down.update(
            node.node for node in cluster.owners(DIGEST)[:silent]
        )
        with pytest.raises(Unavailable):  # the disks of the others would be all that knows of it
            await gateway.delete(DIGEST)
        cluster.network.faults.down.clear()
        await gateway.delete(DIGEST)
        await cluster.calm()
        with pytest.raises(NotFound):
            await gateway.get(DIGEST)


@in_virtual_time
async def test_a_spares_copy_is_seen_and_its_no_voids_what_owners_said_before() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway = cluster.gateway()
        owners, spares = cluster.owners(DIGEST), cluster.spares(DIGEST)
        await cluster.store(on=[owners[0], spares[0]])  # an ack set, whose owner is away
        cluster.network.faults.down |= {owners[0].node}
        await gateway.delete(DIGEST)
        await cluster.calm()

        assert spares[0].state_of(DIGEST).root == dead(1)
        cluster.network.faults.down.clear()
        for _ in range(6):
            assert not await gateway.contains(DIGEST)


@in_virtual_time
async def test_a_copy_that_moves_from_a_spare_to_an_owner_is_not_overlooked() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway = cluster.gateway()
        owners, spares = cluster.owners(DIGEST), cluster.spares(DIGEST)
        await cluster.store(on=[owners[0], spares[0]])
        cluster.network.faults.down |= {owners[0].node}
        held = cluster.network.hold(spares[0].node, Request)
        found = asyncio.ensure_future(gateway.contains(DIGEST))
        await asyncio.sleep(0.5)  # the owners that are there have said no by now
        await cluster.store(on=[owners[1], owners[2]])
        await spares[0].store.drop(KEY)
        held.release()

        assert await found


@in_virtual_time
async def test_deleting_a_large_blob_leaves_the_chunks_that_others_name() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        first, second = bytes(CHUNK_BYTES) + b"1", bytes(CHUNK_BYTES) + b"2"
        one, two = Digest.of(first), Digest.of(second)
        await gateway.put(one, first)
        await gateway.put(two, second)
        chunk = Digest.of(bytes(CHUNK_BYTES))
        await gateway.delete(one)
        await gateway.delete(chunk)  # invisible, and not the client's to delete

        assert await gateway.get(two) == second
        assert not await gateway.contains(one)
        assert not await gateway.contains(chunk)
        assert all(node.holds(chunk) for node in cluster.owners(chunk))


@in_virtual_time
async def test_a_chunk_that_is_a_blob_of_its_own_is_deleted_as_one() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        chunk = bytes(CHUNK_BYTES)
        large = chunk + b"more"
        await gateway.put(Digest.of(large), large)
        await gateway.put(Digest.of(chunk), chunk)
        assert await gateway.get(Digest.of(chunk)) == chunk
        await gateway.delete(Digest.of(chunk))

        assert not await gateway.contains(Digest.of(chunk))
        assert await gateway.get(Digest.of(large)) == large
        listed, _ = await gateway.list_page(None, 10)
        assert listed == [(Digest.of(large), len(large))]


@in_virtual_time
async def test_a_delete_whose_client_goes_away_leaves_nothing_behind() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        held = [cluster.network.hold(node, BuryRecord) for node in cluster.nodes]
        delete = asyncio.ensure_future(gateway.delete(DIGEST))
        await asyncio.sleep(0.1)
        delete.cancel()
        await asyncio.gather(delete, return_exceptions=True)
        for each in held:
            each.release()
        await cluster.calm()

        assert gateway.records.stragglers.under_way == 0
