"""Deleted blobs that come back: from whose trash, with which chunks, and when nothing is left."""

from __future__ import annotations

import pytest

from ring.digest import Digest
from ring.errors import NotFound, Unavailable
from ring.limits import CHUNK_BYTES
from ring.messages import VerifyRecord
from ring.record import RecordKey, dead, live
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time

LARGE = bytes(range(256)) * (CHUNK_BYTES // 256) + b"and more"
LARGE_DIGEST = Digest.of(LARGE)


async def deleted(cluster: SmallCluster, *, now: bool = False) -> None:
    await cluster.gateway().put(DIGEST, BLOB)
    await cluster.calm()
    await cluster.gateway().delete(DIGEST, skip_trash=now)
    await cluster.calm()


@in_virtual_time
async def test_a_deleted_blob_comes_back_one_generation_later() -> None:
    async with small_cluster(5) as cluster:
        await deleted(cluster)
        stored = await cluster.gateway().undelete(DIGEST)
        await cluster.calm()

        assert stored.created
        assert await cluster.gateway().get(DIGEST) == BLOB
        for node in cluster.owners(DIGEST):
            assert node.state_of(DIGEST).root == live(2)
            assert node.holds(DIGEST)


@in_virtual_time
async def test_any_good_copy_in_anybodys_trash_will_do_and_a_bad_one_is_reported() -> None:
    async with small_cluster(3) as cluster:
        await deleted(cluster)
        first, second, third = cluster.owners(DIGEST)
        await first.store.disposal.discard([KEY])
        second.rot(DIGEST)
        await cluster.gateway().undelete(DIGEST)
        await cluster.calm()

        assert await cluster.gateway().get(DIGEST) == BLOB
        assert third.holds(DIGEST)
        members = [node.node for node in (second, third)]
        if members == sorted(members):
            assert cluster.network.count(VerifyRecord, second.node) == 1


@in_virtual_time
async def test_nothing_is_left_only_when_everybody_said_so() -> None:
    async with small_cluster(5) as cluster:
        await deleted(cluster, now=True)
        gateway = cluster.gateway()
        with pytest.raises(NotFound, match="nothing of .* is left"):
            await gateway.undelete(DIGEST)
        cluster.network.faults.down.add(cluster.spares(DIGEST)[0].node)
        with pytest.raises(Unavailable):
            await gateway.undelete(DIGEST)


@in_virtual_time
async def test_a_delete_past_the_trash_takes_what_is_in_it() -> None:
    async with small_cluster() as cluster:
        await deleted(cluster)
        await cluster.gateway().delete(DIGEST, skip_trash=True)
        await cluster.calm()

        for node in cluster.owners(DIGEST):
            assert not node.holds(DIGEST)
            assert node.state_of(DIGEST).root == dead(1)


@in_virtual_time
async def test_a_large_blob_comes_back_with_all_its_chunks() -> None:
    async with small_cluster(5) as cluster:
        gateway = cluster.gateway()
        await gateway.put(LARGE_DIGEST, LARGE)
        await cluster.calm()
        await gateway.delete(LARGE_DIGEST)
        await cluster.calm()
        chunk = Digest.of(LARGE[:CHUNK_BYTES])
        await cluster.owners(chunk)[0].store.drop(RecordKey(chunk))
        await gateway.undelete(LARGE_DIGEST)

        assert await gateway.get(LARGE_DIGEST) == LARGE


@in_virtual_time
async def test_a_large_blob_whose_chunks_are_gone_stays_away() -> None:
    async with small_cluster(3) as cluster:
        gateway = cluster.gateway()
        await gateway.put(LARGE_DIGEST, LARGE)
        await cluster.calm()
        await gateway.delete(LARGE_DIGEST)
        await cluster.calm()
        chunk = Digest.of(LARGE[:CHUNK_BYTES])
        for node in cluster.nodes.values():
            await node.store.drop(RecordKey(chunk))
        with pytest.raises(Unavailable, match="chunk"):
            await gateway.undelete(LARGE_DIGEST)

        assert not await gateway.contains(LARGE_DIGEST)


@in_virtual_time
async def test_trash_is_served_to_nobody_however_few_answer() -> None:
    for alone in range(3):
        async with small_cluster(3) as cluster:
            await deleted(cluster)
            nodes = list(cluster.nodes.values())
            assert all(node.state_of(DIGEST).in_trash for node in nodes)
            cluster.network.faults.down |= {
                node.node for number, node in enumerate(nodes) if number != alone
            }
            gateway = cluster.gateway()
            for question in (gateway.get, gateway.stat, gateway.contains):
                with pytest.raises(Unavailable):
                    await question(DIGEST)


@in_virtual_time
async def test_a_stale_live_copy_beside_trash_is_not_served() -> None:
    async with small_cluster(3) as cluster:
        await cluster.store()
        first, *others = cluster.owners(DIGEST)
        for node in others:
            await node.store.bury(KEY, 1, keep_value=True)
        with pytest.raises(NotFound):
            await cluster.gateway().get(DIGEST)
        assert first.state_of(DIGEST).visible
