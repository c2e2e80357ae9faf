"""What a receiver may miss: leftovers of partitions that went to others, copies that move."""

from __future__ import annotations

import asyncio

import pytest

from ring.control import Introduce
from ring.digest import Digest
from ring.life import Life
from ring.listing import ListRecords
from ring.record import NO_ROOT, RecordKey, RecordKind, dead
from tests.fakes.small_cluster import SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

BLOB = b"blob"
DIGEST = Digest.of(BLOB)
KEY = RecordKey(DIGEST)


def parted(cluster: SmallCluster) -> tuple[SmallNode, list[SmallNode]]:
    """The node that keeps nothing of the blob's partition, and those that do."""
    eligible = [*cluster.owners(DIGEST), *cluster.spares(DIGEST)]
    (other,) = (node for node in cluster.nodes.values() if node not in eligible)
    return other, eligible


async def fence(node: SmallNode, peer: SmallNode) -> None:
    """Another process took the node's place, and the peer remembers it."""
    clone = Introduce(node.node, Life(5, 1, 99), blank=False, receiver=False)
    await peer.service.membership.introduced(clone)


@pytest.mark.parametrize("purged", [False, True], ids=["deleted", "deleted and purged"])
@in_virtual_time
async def test_what_it_has_of_partitions_that_are_not_its_own_any_more_is_compared_too(
    *, purged: bool
) -> None:
    """Seed 4375: its disk was rolled back to before a delete, when it was an owner."""
    async with small_cluster(6, 3) as cluster:
        node, eligible = parted(cluster)
        await node.store.put_root(KEY, RecordKind.DATA, len(BLOB), 1, BLOB)
        for other in eligible:
            if purged:
                await other.store.raise_floor(DIGEST.partition, 1)
            else:
                await other.store.bury(KEY, 1)
        await fence(node, eligible[0])
        async with asyncio.timeout(10):
            while node.service.membership.life.incarnation < 6:
                await asyncio.sleep(0.01)
        await node.until("voter")

        assert node.state_of(DIGEST).root == (NO_ROOT if purged else dead(1))
        assert not any(other.state_of(DIGEST).visible for other in eligible)


@in_virtual_time
async def test_it_does_not_vote_on_what_it_has_left_before_a_cover_was_compared() -> None:
    async with small_cluster(6, 3) as cluster:
        node, eligible = parted(cluster)
        await node.store.put_root(KEY, RecordKind.DATA, len(BLOB), 1, BLOB)
        await node.end()
        for other in eligible[:3]:
            await other.end()
        await fence(node, eligible[3])
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(10)
        assert not node.service.membership.votes(DIGEST.partition)

        for other in eligible[:3]:
            await other.start()
        await node.until("voter")


@in_virtual_time
async def test_a_copy_that_moves_to_a_peer_that_was_listed_already_is_not_missed() -> None:
    async with small_cluster() as cluster:
        first, node, last = cluster.nodes.values()
        await node.end()
        node.wipe()
        await last.store.put_root(KEY, RecordKind.DATA, len(BLOB), 1, BLOB)
        held = cluster.network.hold(last.node, ListRecords, caller=str(node.node))
        await node.start()
        async with asyncio.timeout(10):
            while not held.waiting:
                await asyncio.sleep(0.01)
        await first.store.put_root(KEY, RecordKind.DATA, len(BLOB), 1, BLOB)
        await last.store.drop(KEY)
        held.release()
        await node.until("voter")
        assert node.holds(DIGEST)
