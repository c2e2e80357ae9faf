"""Two nodes that keep the same records in memory, behind their real servers on loopback."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bench.ask import free_port
from bench.repair.byte_counter import ByteCounter
from node.care_settings import CareSettings
from node.heard_transport import HeardTransport
from node.host import HostClock, HostRandomness
from node.local_store import LocalRecordStore
from node.memory_disk import MemoryDisk
from node.memory_store import MemoryRecordStore
from node.record_change import RecordChange
from node.record_row import pack_row
from node.repair.comparison import Compared, Comparison
from node.repair.peers import Peers
from node.repair.repair_settings import RepairSettings
from node.server import NodeServer
from node.service import NodeService
from node.transport import Credentials, TcpTransport
from ring.digest import Algorithm, Digest
from ring.keepers import Shared
from ring.layout import Layout, Member
from ring.life import NodeId
from ring.limits import MIB
from ring.placement import first_layout
from ring.record import RecordKey, RecordKind, RecordState, live

HERE: Final = NodeId("here")
THERE: Final = NodeId("there")
_SECRET: Final = b"measured"
_TIMEOUT_S: Final = 60.0
_NEVER_S: Final = 1e9


@dataclass(slots=True)
class Node:
    """One of the two."""

    store: MemoryRecordStore
    service: NodeService
    server: NodeServer
    transport: TcpTransport
    running: asyncio.Task[None]


def rows(count: int) -> dict[bytes, int]:
    """Live records of small blobs; their digests are drawn, for no bytes are asked for."""
    state = RecordState(RecordKind.DATA, 1024, live(1), True, False, 1_700_000_000)
    row = pack_row(state)
    return {
        RecordKey(Digest(Algorithm.BLAKE3, secrets.token_bytes(32))).raw: row
        for _ in range(count)
    }


class NodePair:
    """here: compares.  there: answers, behind `counter`."""

    def __init__(self, layout: Layout, here: Node, there: Node, counter: ByteCounter) -> None:
        self.here = here
        self.there = there
        self.counter = counter
        membership = here.service.membership
        self._shared = Shared(membership.layouts.live, HERE, THERE)
        self.asker = TcpTransport(
            Credentials.of_node(layout.cluster_id, HERE, _SECRET),
            lambda _: f"127.0.0.1:{self.counter_port}",
            HostRandomness(),
        )
        self.counter_port = 0
        self._peers = Peers(membership, HeardTransport(self.asker, membership), _TIMEOUT_S)

    async def compare(self, limit: int = 1 << 30) -> Compared:
        """One comparison, then the batch has_object over all that differs."""
        comparison = Comparison(
            self.here.store.facts, self._peers, THERE, self._shared, limit=limit
        )
        compared = await comparison.run()
        if compared.differing:
            await self._peers.describe(THERE, compared.differing)
        return compared

    def forget_here(self, keys: Iterable[bytes]) -> None:
        """Lose records on this side."""
        self.here.store.table.apply(RecordChange(dropped=list(keys)))


@asynccontextmanager
async def node_pair(records: dict[bytes, int]) -> AsyncIterator[NodePair]:
    """Two nodes that vote and hold `records`."""
    ports = {HERE: free_port(), THERE: free_port()}
    layout = first_layout(
        [Member(node, f"127.0.0.1:{port}") for node, port in ports.items()], 2, "measured"
    )
    nodes = {node: await _start(node, layout, records, port) for node, port in ports.items()}
    counter = ByteCounter(ports[THERE])
    pair = NodePair(layout, nodes[HERE], nodes[THERE], counter)
    try:
        pair.counter_port = await counter.start()
        async with asyncio.timeout(_TIMEOUT_S):
            for node in nodes.values():
                await node.service.membership.settled.wait()
        yield pair
    finally:
        await pair.asker.close()
        await counter.stop()
        for node in nodes.values():
            await _stop(node)


async def _start(node: NodeId, layout: Layout, records: dict[bytes, int], port: int) -> Node:
    store = MemoryRecordStore(HostClock())
    store.table.apply(RecordChange(rows=records))
    addresses = {member.node: member.address for member in layout.members}
    credentials = Credentials.of_node(layout.cluster_id, node, _SECRET)
    transport = TcpTransport(credentials, addresses.get, HostRandomness())

    async def open_store() -> LocalRecordStore:
        return store

    service = NodeService(
        node=node,
        first_layout=layout,
        disk=MemoryDisk(MIB),
        open_store=open_store,
        transport=transport,
        clock=HostClock(),
        randomness=HostRandomness(),
        accept_blank=False,
        care=CareSettings(repair=RepairSettings(interval_s=_NEVER_S)),
    )
    await service.start()
    server = NodeServer(service, credentials, HostRandomness())
    await server.start("127.0.0.1", port)
    return Node(store, service, server, transport, asyncio.create_task(service.run()))


async def _stop(node: Node) -> None:
    await node.server.drain(1.0)
    node.running.cancel()
    await asyncio.gather(node.running, return_exceptions=True)
    await node.service.stop()
    await node.transport.close()
