"""Puts that a node lets in as a receiver, and that are not over when it is to vote again."""

from __future__ import annotations

import asyncio

from node.memory_store import MemoryRecordStore
from node.values import MemoryValues
from ring.digest import Buffer
from ring.limits import GIB
from ring.listing import ListRecords
from ring.messages import PutRecord
from ring.record import RecordKey, RecordKind
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, small_cluster
from tests.fakes.virtual_time import in_virtual_time


class SlowValues(MemoryValues):
    """Values that are written when the gate opens."""

    def __init__(self) -> None:
        super().__init__(GIB)
        self.gate = asyncio.Event()
        self.waiting = 0

    async def write(self, key: RecordKey, kind: RecordKind, value: Buffer) -> None:
        self.waiting += 1
        await self.gate.wait()
        await super().write(key, kind, value)

    def write_now(self, key: RecordKey, kind: RecordKind, value: Buffer) -> bool:
        return False


@in_virtual_time
async def test_a_put_that_is_still_written_does_not_outlive_the_floor_that_is_taken_over() -> None:
    async with small_cluster() as cluster:
        *others, node = cluster.nodes.values()
        await node.end()
        for other in others:
            await other.store.raise_floor(DIGEST.partition, 1)
        held = [cluster.network.hold(o.node, ListRecords, caller=node.node) for o in others]
        node.wipe()
        values = SlowValues()
        node.store = MemoryRecordStore(node.clock, values=values)
        await node.start()
        while not any(one.waiting for one in held):
            await asyncio.sleep(0.01)
        request = PutRecord(KEY, RecordKind.DATA, len(BLOB), 1, None)
        late = asyncio.ensure_future(cluster.ask(node, request, BLOB))
        while not values.waiting:
            await asyncio.sleep(0.01)
        for one in held:
            one.release()
        await asyncio.sleep(2.0)
        assert node.state == "receiver"
        values.gate.set()
        await node.until("voter")
        assert not (await late).voter
        assert not node.state_of(DIGEST).exists
