"""A cluster in one process: real node services and coordinators over a direct network.

Disks and stores are in memory and outlive the process of their node, as a real disk does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from gateway.calls import CallSettings
from gateway.coordinator import Coordinator
from node.care_settings import CareSettings
from node.collection.collection_settings import CollectionSettings
from node.local_store import LocalRecordStore
from node.marker import Marker, NodeFiles
from node.memory_disk import MemoryDisk
from node.memory_store import MemoryRecordStore
from node.repair.repair_settings import RepairSettings
from node.scrub.scrub_settings import ScrubSettings
from node.service import NodeService
from ring.digest import Buffer, Digest
from ring.layout import Layout, LiveLayouts, Member
from ring.life import Life, NodeId
from ring.limits import GIB, LIST_ENTRIES_MAX
from ring.messages import Answer, Request
from ring.placement import first_layout
from ring.quorum import Placement
from ring.record import RecordKey, RecordKind, RecordState
from ring.seams import Disk
from tests.fakes.direct_transport import DirectNetwork, DirectTransport
from tests.fakes.manual_clock import ManualClock
from tests.fakes.numbered_randomness import NumberedRandomness

SETTLE_S = 30.0
NEVER_S = 1e9
CALM_CARE = CareSettings(
    repair=RepairSettings(interval_s=NEVER_S),
    collection=CollectionSettings(
        interval_s=NEVER_S, interval_max_s=NEVER_S, room_interval_s=NEVER_S
    ),
    scrub=ScrubSettings(idle_s=NEVER_S),
)
BLOB = b"blob"
DIGEST = Digest.of(BLOB)
KEY = RecordKey(DIGEST)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a node's disk held at some moment."""

    files: dict[str, bytes]
    store: MemoryRecordStore


class SmallNode:
    """One node: what it keeps, and the process that runs on it or not."""

    def __init__(
        self, node: NodeId, layout: Layout, network: DirectNetwork, care: CareSettings
    ) -> None:
        self.node = node
        self.care = care
        self.disk: Disk = MemoryDisk(GIB)
        self.clock = ManualClock()
        self.store = MemoryRecordStore(self.clock)
        self.service: NodeService
        self.layout = layout
        self._network = network
        self._randomness = NumberedRandomness(sum(node.encode()))
        self._run: asyncio.Task[None] | None = None
        self.forgets = False  # whether the store says that it found no state when it is opened

    @property
    def state(self) -> str:
        """What the node says of itself."""
        return self.service.membership.state

    @property
    def reason(self) -> str:
        """The same in more words."""
        return self.service.membership.reason

    async def start(self, *, accept_blank: bool = True) -> None:
        """Start a process on what is kept."""
        self.service = NodeService(
            node=self.node,
            first_layout=self.layout,
            disk=self.disk,
            open_store=self._open_store,
            transport=DirectTransport(self._network, self.node, is_peer=True),
            clock=self.clock,
            randomness=self._randomness,
            accept_blank=accept_blank,
            care=self.care,
        )
        await self.service.start()
        self._network.handlers[self.node] = self.service
        self._run = asyncio.get_running_loop().create_task(self.service.run())

    async def end(self) -> None:
        """The process is gone from one moment to the next."""
        self._network.handlers.pop(self.node, None)
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)
            self._run = None

    def wipe(self) -> None:
        """An empty disk takes the place of the one that was there."""
        assert self._run is None
        self.disk = MemoryDisk(GIB)
        self.store = MemoryRecordStore(self.clock)

    async def snapshot(self) -> Snapshot:
        """A copy of everything on the disk."""
        names = await self.disk.list_directory(".holdfast")
        files = {name: await self.disk.read(f".holdfast/{name}") for name in names}
        return Snapshot(files, await _copy(self.store))

    async def roll_back(self, snapshot: Snapshot) -> None:
        """The disk holds what it held then."""
        assert self._run is None
        self.disk = MemoryDisk(GIB)
        await self.disk.make_directories(".holdfast")
        for name, data in snapshot.files.items():
            await self.disk.publish(f".holdfast/{name}.tmp", f".holdfast/{name}", data)
        self.store = await _copy(snapshot.store)

    async def until(self, state: str, patience_s: float = SETTLE_S) -> None:
        """Wait until the node says that it is in this state."""
        async with asyncio.timeout(patience_s):
            while self.state != state:
                await asyncio.sleep(0.01)

    async def marker(self) -> Marker | None:
        """What is on disk of itself."""
        return await self._files().marker(self.layout.cluster_id, self.node)

    async def remembers(self, other: NodeId) -> Life | None:
        """What is on disk of another node."""
        return dict(await self._files().peers()).get(other)

    async def stored_layouts(self) -> tuple[Layout, ...]:
        """What is on disk of layouts."""
        return await self._files().layouts()

    def _files(self) -> NodeFiles:
        return NodeFiles(self.disk, NumberedRandomness())

    def state_of(self, digest: Digest) -> RecordState:
        """What the store knows of a record."""
        found = self.store.stat_now([RecordKey(digest)])
        assert found is not None
        return found[0]

    def holds(self, digest: Digest) -> bool:
        """Whether a copy is here."""
        return self.state_of(digest).held

    def rot(self, digest: Digest, kind: RecordKind = RecordKind.DATA) -> None:
        """Flip a bit of the copy that is here."""
        values = self.store.values.values
        value = bytearray(values[RecordKey(digest), kind])
        value[len(value) // 2] ^= 1
        values[RecordKey(digest), kind] = bytes(value)

    async def _open_store(self) -> LocalRecordStore:
        self.store.had_state = not self.forgets
        return self.store


@lru_cache
def small_layout(count: int, replicas: int) -> Layout:
    """The first layout of nodes n0, n1, n2 ..."""
    members = [Member(NodeId(f"n{i}"), f"127.0.0.1:{9000 + i}") for i in range(count)]
    return first_layout(members, replicas, "small cluster")


@lru_cache
def live_layouts(layout: Layout) -> LiveLayouts:
    """One for all gateways of a test: each would compute 4,096 placements anew."""
    return LiveLayouts((layout,))


class SmallCluster:
    """Nodes by name, and the gateways that were made."""

    def __init__(self, count: int, replicas: int, care: CareSettings = CALM_CARE) -> None:
        self.layout = small_layout(count, replicas)
        self.network = DirectNetwork()
        self.nodes = {
            node: SmallNode(node, self.layout, self.network, care) for node in self.layout.nodes
        }
        self._gateways: list[Coordinator] = []

    def gateway(
        self, name: str = "gateway", *, settings: CallSettings | None = None
    ) -> Coordinator:
        """One more gateway, which knows nothing yet."""
        gateway = Coordinator(DirectTransport(self.network, name), self.layout, settings)
        gateway.cluster.live = live_layouts(self.layout)
        self._gateways.append(gateway)
        return gateway

    async def ask(
        self,
        node: SmallNode,
        request: Request,
        payload: Buffer | None = None,
        *,
        epochs: tuple[int, ...] = (1,),
    ) -> Answer:
        """Ask a node as a gateway would that knows nothing."""
        transport = DirectTransport(self.network, "somebody")
        return await transport.call(node.node, request, payload, epochs=epochs, timeout_s=5)

    def placement(self, digest: Digest) -> Placement:
        """Where the first layout has a digest."""
        return Placement((self.layout.group(digest.partition),))

    def owners(self, digest: Digest) -> list[SmallNode]:
        """The nodes that own a digest, in table order."""
        return [self.nodes[node] for node in self.placement(digest).owners]

    def spares(self, digest: Digest) -> list[SmallNode]:
        """Its spares, in table order."""
        return [self.nodes[node] for node in self.placement(digest).spares]

    async def store(
        self, data: bytes = BLOB, *, generation: int = 1, on: Sequence[SmallNode] | None = None
    ) -> Digest:
        """Put a small blob straight onto nodes, its owners unless told otherwise."""
        digest = Digest.of(data)
        for node in self.owners(digest) if on is None else on:
            await node.store.put_root(
                RecordKey(digest), RecordKind.DATA, len(data), generation, data
            )
        return digest

    async def calm(self) -> None:
        """Wait until no gateway waits for anything."""
        async with asyncio.timeout(SETTLE_S * 4):
            while self.network.under_way:
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        """End every process."""
        for gateway in self._gateways:
            gateway.close()
        for node in self.nodes.values():
            await node.end()


@asynccontextmanager
async def small_cluster(
    count: int = 3, replicas: int = 3, care: CareSettings = CALM_CARE
) -> AsyncIterator[SmallCluster]:
    """A cluster whose nodes all vote; unless told otherwise they do not look after each other."""
    cluster = SmallCluster(count, replicas, care)
    try:
        for node in cluster.nodes.values():
            await node.start()
        for node in cluster.nodes.values():
            await node.until("voter")
        yield cluster
    finally:
        await cluster.end()


async def _copy(store: MemoryRecordStore) -> MemoryRecordStore:
    copy = MemoryRecordStore(ManualClock())
    entries, done = await store.page(None, LIST_ENTRIES_MAX, roots_only=False)
    assert done
    for entry in entries:
        claimants, _ = await store.claims(entry.key, None, LIST_ENTRIES_MAX)
        _, value = await store.get(entry.key)
        await copy.absorb(entry.key, entry.state, claimants, value)
    for partition, floor in (await store.floors()).items():
        await copy.raise_floor(partition, floor)
    return copy


def next_layout(layout: Layout) -> Layout:
    """The same cluster one epoch later: everything has moved on by one member."""
    count = len(layout.members)
    table = bytes((index + 1) % count for index in layout.table)
    return replace(layout, epoch=layout.epoch + 1, table=table)
