"""One node process put together: disk, store, service, server, health; until it is told to stop.

Order of the start: health answers first, so that whoever watches sees a node that waits; then the
data directory is read, and only then does the node protocol listen.  To stop, the server finishes
what is under way before the store is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import structlog

from node.config import NodeConfig, StoreKind
from node.file_store import FileRecordStore
from node.handler import Asker
from node.health import NodeHealth
from node.index.lmdb_index import LmdbHome
from node.local_store import BeforeNew, LocalRecordStore
from node.memory_disk import MemoryDisk
from node.memory_store import CAPACITY_BYTES, MemoryRecordStore
from node.posix_disk import PosixDisk
from node.posix_threads import Threads
from node.recordlog.page_store import PageRecordStore
from node.server import NodeServer
from node.service import NodeService
from node.store_traces import require_store
from node.transport import Credentials, TcpTransport
from ring.control import GetStatus, StatusReply
from ring.layout import Layout
from ring.life import NodeId
from ring.seams import Clock, Randomness

HASHING_THREADS: Final = 2

log = structlog.get_logger()


async def run_node(
    config: NodeConfig,
    layout: Layout,
    secret: bytes,
    *,
    clock: Clock,
    randomness: Randomness,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop`, then drain for `config.drain_s` at most.

    Raises NotAdmitted, Corrupt, StorageFault or DiskFull for a data directory that cannot be served
    from, BadRequest for an address that cannot be listened on.
    """

    def address_of(node: NodeId) -> str | None:
        known = next((m for m in service.layouts.live.members if m.node == node), None)
        return None if known is None else known.address

    async def before_new() -> None:
        await service.store_is_new()

    async with AsyncExitStack() as cleanup:
        credentials = Credentials.of_node(layout.cluster_id, config.id, secret)
        transport = TcpTransport(credentials, address_of, randomness)
        cleanup.push_async_callback(transport.close)
        disk, open_store = _storage(config, clock, randomness, before_new, cleanup)
        service = NodeService(
            node=config.id,
            first_layout=layout,
            disk=disk,
            open_store=open_store,
            transport=transport,
            clock=clock,
            randomness=randomness,
            accept_blank=config.accept_blank,
            care=config.care,
        )
        server = NodeServer(service, credentials, randomness)
        health = NodeHealth(
            lambda: _status(service),
            service.care,
            {"holdfast_node_server": server.counters, "holdfast_node_peers": transport.counters},
        )
        cleanup.push_async_callback(health.stop)
        if config.health_address is not None:
            await health.start(config.health_address)
        await service.start()
        cleanup.push_async_callback(service.stop)
        address = await server.start(config.address.host, config.address.port)
        log.info("node listens", address=str(address), store=config.store.value)
        background = asyncio.get_running_loop().create_task(service.run())
        background.add_done_callback(lambda _: stop.set())
        try:
            await stop.wait()
        finally:
            health.drain()
            await server.drain(config.drain_s)
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
        if not background.cancelled():
            background.result()  # it never ends by itself but with an error, which ends the process
        log.info("node drained")


def _storage(
    config: NodeConfig,
    clock: Clock,
    randomness: Randomness,
    before_new: BeforeNew,
    cleanup: AsyncExitStack,
) -> tuple[PosixDisk | MemoryDisk, Callable[[], Awaitable[LocalRecordStore]]]:
    """The disk, and what opens the record store on it."""
    if config.store is StoreKind.MEMORY:

        async def open_memory() -> LocalRecordStore:
            return MemoryRecordStore(clock)

        return MemoryDisk(CAPACITY_BYTES), open_memory
    threads = Threads(HASHING_THREADS, "hash")
    cleanup.push_async_callback(threads.close)
    disk = PosixDisk(config.data_dir)
    cleanup.push_async_callback(disk.close)

    async def open_kept() -> LocalRecordStore:
        await require_store(disk, config.store)
        if config.store is StoreKind.FILES:
            return await FileRecordStore.open(
                disk,
                clock=clock,
                randomness=randomness,
                offload=threads.run,
                before_new=before_new,
            )
        home = LmdbHome(disk, config.data_dir)
        return await PageRecordStore.open(
            disk,
            home,
            clock=clock,
            randomness=randomness,
            offload=threads.run,
            before_new=before_new,
        )

    return disk, open_kept


async def _status(service: NodeService) -> StatusReply:
    """What the service says of itself, to nobody in particular."""
    answer = await service.handle(GetStatus(), None, Asker("health", is_peer=False, epochs=()))
    assert isinstance(answer.reply, StatusReply)
    return answer.reply
