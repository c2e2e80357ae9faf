"""The record stores that test_record_store.py runs on; add a factory to STORES to test another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random

from node.client import NodeClient
from node.file_paths import value_path
from node.file_store import FileRecordStore
from node.index.lmdb_index import LmdbHome
from node.local_store import LocalRecordStore
from node.memory_disk import MemoryDisk
from node.memory_store import MemoryRecordStore
from node.posix_disk import PosixDisk
from node.posix_threads import Threads
from node.service import NodeService
from ring.digest import Algorithm, Digest
from ring.layout import Layout, Member
from ring.limits import MIB
from ring.placement import first_layout
from ring.record import RecordEntry, RecordKey, RecordKind, live
from ring.seams import RecordStore, Transport
from tests.fakes.damageable_page_store import SMALL_PAGES, DamageablePageStore
from tests.fakes.file_index import FileIndexHome
from tests.fakes.manual_clock import ManualClock
from tests.node.wire_world import NODE, asking, serving
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness
from tests.sim.network import Network, SimTransport
from tests.sim.trace import Trace


@dataclass(frozen=True, slots=True)
class Subject:
    """A store to test.

    store: what is tested.  local: the store of a node behind it, often the same.  clock: the node's
    wall clock.  damage: replace the stored bytes of a value.
    """

    store: RecordStore
    local: LocalRecordStore
    clock: ManualClock
    damage: Callable[[RecordKey, RecordKind, bytes], Awaitable[None]]


@dataclass(slots=True)
class Living:
    """A process that never ends."""

    alive: bool = True


Factory = Callable[[Path], AbstractAsyncContextManager[Subject]]


@asynccontextmanager
async def in_memory(path: Path) -> AsyncIterator[Subject]:
    clock = ManualClock()
    store = MemoryRecordStore(clock)

    async def damage(key: RecordKey, kind: RecordKind, value: bytes) -> None:
        await store.values.write(key, kind, value)

    yield Subject(store, store, clock, damage)
    await store.close()


@asynccontextmanager
async def files_on_the_real_disk(path: Path) -> AsyncIterator[Subject]:
    clock = ManualClock()
    disk = PosixDisk(str(path / "node"), threads=4)
    hashing = Threads(1, "hashing")
    store = await FileRecordStore.open(
        disk, clock=clock, randomness=SimRandomness(Random(1)), offload=hashing.run
    )

    async def damage(key: RecordKey, kind: RecordKind, value: bytes) -> None:
        (path / "node" / value_path(key, kind)).write_bytes(value)

    yield Subject(store, store, clock, damage)
    await store.close()
    await hashing.close()
    await disk.close()


@asynccontextmanager
async def files_on_the_simulated_disk(path: Path) -> AsyncIterator[Subject]:
    clock = ManualClock()
    disk = SimDisk(Random(2), latency_s=0)
    store = await FileRecordStore.open(disk, clock=clock, randomness=SimRandomness(Random(3)))

    async def damage(key: RecordKey, kind: RecordKind, value: bytes) -> None:
        file = await disk.open(value_path(key, kind))
        await file.truncate(0)
        await file.write(0, value)
        await file.close()

    yield Subject(store, store, clock, damage)
    await store.close()


@asynccontextmanager
async def pages_on_the_real_disk(path: Path) -> AsyncIterator[Subject]:
    clock = ManualClock()
    root = str(path / "node")
    disk = PosixDisk(root, threads=4)
    hashing = Threads(1, "hashing")
    store = await DamageablePageStore.open(
        disk,
        LmdbHome(disk, root),
        clock=clock,
        randomness=SimRandomness(Random(1)),
        offload=hashing.run,
        settings=SMALL_PAGES,
    )
    yield Subject(store, store, clock, store.damage)
    await store.close()
    await hashing.close()
    await disk.close()


@asynccontextmanager
async def pages_on_the_simulated_disk(path: Path) -> AsyncIterator[Subject]:
    clock = ManualClock()
    disk = SimDisk(Random(2), latency_s=0)
    store = await DamageablePageStore.open(
        disk,
        FileIndexHome(disk),
        clock=clock,
        randomness=SimRandomness(Random(3)),
        settings=SMALL_PAGES,
    )
    yield Subject(store, store, clock, store.damage)
    await store.close()


@lru_cache
def _alone() -> Layout:
    return first_layout([Member(NODE, "127.0.0.1:1")], 1, "alone")


@asynccontextmanager
async def _node_over(local: Subject) -> AsyncIterator[NodeService]:
    """The only node of its cluster, over that store."""
    nobody = Network(Random(4), Trace())

    async def open_store() -> LocalRecordStore:
        return local.local

    service = NodeService(
        node=NODE,
        first_layout=_alone(),
        disk=MemoryDisk(1 * MIB),
        open_store=open_store,
        transport=SimTransport(nobody, NODE, Living(), is_peer=True),
        clock=local.clock,
        randomness=SimRandomness(Random(5)),
        accept_blank=False,
    )
    await service.start()
    running = asyncio.ensure_future(service.run())
    await service.membership.settled.wait()
    yield service
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def _from_afar(local: Subject, service: NodeService, transport: Transport) -> Subject:
    client = NodeClient(transport, NODE, lambda: service.layouts.live.epochs, 30.0)
    return replace(local, store=client)


@asynccontextmanager
async def over_sockets(path: Path) -> AsyncIterator[Subject]:
    async with (
        files_on_the_real_disk(path) as local,
        _node_over(local) as service,
        serving(service) as (_, address),
        asking(address) as transport,
    ):
        yield _from_afar(local, service, transport)


@asynccontextmanager
async def over_the_simulated_network(path: Path) -> AsyncIterator[Subject]:
    async with in_memory(path) as local, _node_over(local) as service:
        network = Network(Random(6), Trace())
        network.attach(NODE, service, Living())
        transport = SimTransport(network, "gateway", Living(), is_peer=False)
        yield _from_afar(local, service, transport)


STORES: list[Factory] = [
    in_memory,
    files_on_the_real_disk,
    files_on_the_simulated_disk,
    pages_on_the_real_disk,
    pages_on_the_simulated_disk,
    over_sockets,
    over_the_simulated_network,
]


def key_of(value: bytes, algorithm: Algorithm = Algorithm.BLAKE3) -> RecordKey:
    """The key under which `value` is filed."""
    return RecordKey(Digest.of(value, algorithm))


async def put(subject: Subject, value: bytes, generation: int = 1) -> RecordKey:
    """A client's put that must be accepted."""
    key = key_of(value)
    answer = await subject.store.put_root(key, RecordKind.DATA, len(value), generation, value)
    assert answer.root == live(generation)
    return key


async def every_entry(subject: Subject, *, roots_only: bool, limit: int = 7) -> list[RecordEntry]:
    """All pages one after the other."""
    entries: list[RecordEntry] = []
    done = False
    while not done:
        after = entries[-1].key if entries else None
        page, done = await subject.store.page(after, limit, roots_only=roots_only)
        assert page or done
        assert len(page) <= limit
        entries += page
    return entries
