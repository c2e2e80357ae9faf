"""A node that mends its index: what it answers, what operators see, what clients notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from node.memory_store import MemoryRecordStore
from ring.control import GetStatus, StatusReply
from ring.digest import Digest
from ring.errors import Corrupt, NotFound, StorageFault
from ring.life import NodeId
from ring.messages import BuryRecord, GetRecord, Request, StatRecords
from ring.record import RecordKey
from tests.fakes.manual_clock import ManualClock
from tests.fakes.small_cluster import DIGEST, KEY, SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

N1 = NodeId("n1")


class RottingStore(MemoryRecordStore):
    """A store whose index can be damaged; what it keeps outlives being closed."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.rot = asyncio.Event()
        self.gate = asyncio.Event()

    async def until_damaged(self) -> str:
        await self.rot.wait()
        return "a row is gone"

    async def close(self) -> bool:
        await self.gate.wait()
        self.rot.clear()
        return True


@asynccontextmanager
async def mending_cluster() -> AsyncIterator[tuple[SmallCluster, SmallNode, RottingStore]]:
    """A cluster with a blob, one of whose nodes has begun to mend its index."""
    async with small_cluster() as cluster:
        node, store = cluster.nodes[N1], RottingStore()
        await node.end()
        node.store = store
        await node.start()
        await node.until("voter")
        await cluster.store()
        store.rot.set()
        await asyncio.sleep(0.1)
        yield cluster, node, store
        store.gate.set()


async def status_of(cluster: SmallCluster, node: SmallNode) -> StatusReply:
    reply = (await cluster.ask(node, GetStatus())).reply
    assert isinstance(reply, StatusReply)
    return reply


@pytest.mark.parametrize("request_", [GetRecord(KEY), StatRecords((KEY,)), BuryRecord(KEY, 1)])
@in_virtual_time
async def test_it_answers_nothing_about_records_and_says_why(request_: Request) -> None:
    async with mending_cluster() as (cluster, node, _):
        with pytest.raises(StorageFault, match="a row is gone"):
            await cluster.ask(node, request_)


@in_virtual_time
async def test_operators_see_it_and_that_it_is_over() -> None:
    async with mending_cluster() as (cluster, node, store):
        status = await status_of(cluster, node)
        assert status.state == "mending"
        assert "made anew from the log: a row is gone" in status.reason
        assert dict(status.counters)["index_damaged_total"] == 1
        assert dict(status.counters)["index_mended_total"] == 0
        view = await cluster.gateway().views.status()
        assert not view["healthy"]

        store.gate.set()
        await asyncio.sleep(1.0)

        status = await status_of(cluster, node)
        assert (status.state, status.reason) == ("voter", "votes")
        assert dict(status.counters)["index_mended_total"] == 1
        assert node.holds(DIGEST)
        assert (await cluster.ask(node, GetRecord(KEY))).payload == b"blob"


@in_virtual_time
async def test_clients_notice_nothing() -> None:
    async with mending_cluster() as (cluster, node, store):
        gateway = cluster.gateway()
        for _ in range(6):  # every node is asked first in turn
            assert await gateway.get(DIGEST) == b"blob"
            with pytest.raises(NotFound):
                await gateway.get(Digest.of(b"absent"))
        data = b"put meanwhile"
        await gateway.put(Digest.of(data), data)
        await gateway.delete(DIGEST)
        store.gate.set()
        await asyncio.sleep(1.0)
        assert (await status_of(cluster, node)).state == "voter"
        for _ in range(6):
            assert await gateway.get(Digest.of(data)) == data
            with pytest.raises(NotFound):
                await gateway.get(DIGEST)


class FailingStore(RottingStore):
    """One of whose rows cannot be read."""

    def get_now(self, key: RecordKey) -> None:
        raise Corrupt("the index is damaged")

    def stat_now(self, keys: object) -> None:
        raise Corrupt("the index is damaged")


@in_virtual_time
async def test_an_answer_that_meets_damage_first_is_no_answer() -> None:
    async with small_cluster() as cluster:
        digest = await cluster.store()
        node = cluster.nodes[N1]
        await node.end()
        node.store = FailingStore()
        node.store.gate.set()
        await node.start()
        await node.until("voter")
        gateway = cluster.gateway()
        for _ in range(6):
            assert await gateway.get(digest) == b"blob"
            with pytest.raises(NotFound):
                await gateway.get(Digest.of(b"absent"))
