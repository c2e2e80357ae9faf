"""What the BlobStore suite runs on: every implementation, each over a backend of its own.

To add one: write an async context manager that yields a `BlobBackend`, and name it in BACKENDS.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Final

from gateway.calls import CallSettings
from gateway.chunked import Chunked
from gateway.coordinator import Coordinator
from gateway.hashing import Hashing
from gateway.records import LocalRecords
from holdfast.client import Client
from holdfast.retry import RetryPolicy
from node.local_store import LocalRecordStore
from node.memory_disk import MemoryDisk
from node.memory_store import MemoryRecordStore
from node.service import NodeService
from ring.errors import Unavailable
from ring.layout import Layout, Member
from ring.life import NodeId
from ring.limits import MIB
from ring.placement import first_layout
from ring.seams import BlobStore
from tests.conformance import record_stores
from tests.fakes.manual_clock import ManualClock
from tests.fakes.memory_blob_store import MemoryBlobStore
from tests.fakes.severed_record_store import SeveredRecordStore
from tests.gateway.http.doors import running_door
from tests.sim.host import SimRandomness
from tests.sim.network import Network, SimTransport
from tests.sim.trace import Trace

NODES: Final = (NodeId("n1"), NodeId("n2"), NodeId("n3"))


@dataclass(frozen=True)
class BlobBackend:
    """Blobs, empty at first, and two ways to them.

    breaks: take away what the store needs - its disk, all of its nodes - so that from then on it
    can neither say that something is there nor that it is not.
    """

    store: BlobStore
    other: BlobStore
    breaks: Callable[[], None]


@dataclass(slots=True)
class Living:
    """A process, until it is told otherwise."""

    alive: bool = True


Opener = Callable[[Path], AbstractAsyncContextManager[BlobBackend]]


@asynccontextmanager
async def in_memory(_folder: Path) -> AsyncIterator[BlobBackend]:
    """The fake that the tests of the HTTP door stand on."""
    store = MemoryBlobStore()

    def breaks() -> None:
        store.faults.error = Unavailable("the memory is gone")

    yield BlobBackend(store, MemoryBlobStore(store), breaks)
    assert not store.readers_open


@asynccontextmanager
async def client_over_a_door(_folder: Path) -> AsyncIterator[BlobBackend]:
    """The Python client, HTTP on a real socket, and the fake behind it."""
    store = MemoryBlobStore()
    once = RetryPolicy(deadline_s=0.0)

    def breaks() -> None:
        store.faults.error = Unavailable("the memory is gone")

    async with running_door(store) as door:
        url = f"http://127.0.0.1:{door.port}"
        async with Client(url, retries=once) as one, Client(url, retries=once) as other:
            yield BlobBackend(one, other, breaks)


def chunked_over(records: record_stores.Factory) -> Opener:
    """Blobs in the records of one store."""

    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[BlobBackend]:
        async with records(folder) as subject:
            severed = SeveredRecordStore(subject.store)
            one, other = (
                Chunked(LocalRecords(severed, Hashing()), Hashing(), CallSettings())
                for _ in range(2)
            )
            yield BlobBackend(one, other, severed.sever)

    return opened


@lru_cache
def _three_members() -> Layout:
    members = [Member(node, f"127.0.0.1:{port}") for port, node in enumerate(NODES, start=1)]
    return first_layout(members, 3, "three")


@asynccontextmanager
async def over_three_nodes(_folder: Path) -> AsyncIterator[BlobBackend]:
    """The coordinator, its nodes in memory, a network of messages between them."""
    network = Network(Random(7), Trace())
    network.faults.delay_s = 0.0
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(_node(network, node, seed))
            for seed, node in enumerate(NODES)
        ]
        for service in services:
            await service.membership.settled.wait()
        gateways = []
        for name in ("g1", "g2"):
            transport = SimTransport(network, name, Living(), is_peer=False)
            gateways.append(Coordinator(transport, _three_members()))
            stack.callback(gateways[-1].close)

        def breaks() -> None:
            for node in NODES:
                network.detach(node, refuses=True)

        yield BlobBackend(gateways[0], gateways[1], breaks)


@asynccontextmanager
async def _node(network: Network, node: NodeId, seed: int) -> AsyncIterator[NodeService]:
    transport = SimTransport(network, node, Living(), is_peer=True)

    async def open_store() -> LocalRecordStore:
        return MemoryRecordStore(ManualClock())

    service = NodeService(
        node=node,
        first_layout=_three_members(),
        disk=MemoryDisk(1 * MIB),
        open_store=open_store,
        transport=transport,
        clock=ManualClock(),
        randomness=SimRandomness(Random(seed)),
        accept_blank=False,
    )
    network.attach(node, service, Living())
    await service.start()
    running = asyncio.ensure_future(service.run())
    try:
        yield service
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await service.stop()


BACKENDS: Final[dict[str, Opener]] = {
    "fake": in_memory,
    **{f"chunked_{one.__name__}": chunked_over(one) for one in record_stores.STORES},
    "coordinator": over_three_nodes,
    "client": client_over_a_door,
}
