"""A marker that says voter beside a record store that lost what it knew."""

from __future__ import annotations

from node.memory_store import MemoryRecordStore
from ring.life import NodeId
from ring.record import RecordKey, dead
from tests.fakes.manual_clock import ManualClock
from tests.fakes.small_cluster import small_cluster
from tests.fakes.virtual_time import in_virtual_time

N1 = NodeId("n1")


@in_virtual_time
async def test_a_node_whose_store_lost_its_state_compares_before_it_votes_again() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        digest = await cluster.store()
        for other in cluster.nodes.values():
            await other.store.bury(RecordKey(digest), 1)
        before = node.service.membership.life
        await node.end()
        node.store = MemoryRecordStore(ManualClock())
        node.forgets = True
        await node.start()

        assert node.state in {"starting", "receiver"}
        assert not node.service.membership.votes(digest.partition)
        await node.until("voter")
        assert node.state_of(digest).root == dead(1)
        assert node.service.membership.life.incarnation > before.incarnation


@in_virtual_time
async def test_a_node_whose_store_has_its_state_stays_in_its_incarnation() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        before = node.service.membership.life
        await node.end()
        await node.start()
        await node.until("voter")

        assert node.service.membership.life.incarnation == before.incarnation
