"""Looking into a node's page store while no process has it open: check and rebuild."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from holdfast.config_file import load_node
from holdfast.directory_lock import locked_directory
from holdfast.progress import Meter
from node.config import NodeConfig, StoreKind
from node.index.index import IndexHome
from node.index.lmdb_index import LmdbHome
from node.posix_disk import PosixDisk
from node.posix_threads import Threads
from node.recordlog.inspection import OnProgress, Progress, Rebuilt, Report, check, rebuild
from node.store_traces import require_store
from ring.errors import BadRequest
from ring.seams import Disk

HASHING_THREADS: Final = 2

T = TypeVar("T")


Work = Callable[[Disk, IndexHome, OnProgress], Awaitable[T]]


def check_node(path: str) -> Report:
    """Read everything that a node's configuration names; raises HoldfastError."""
    return _inspected(path, "checking", _checked)


def rebuild_node(path: str) -> Rebuilt:
    """Make a node's index anew from its log; raises HoldfastError."""
    return _inspected(path, "rebuilding the index", rebuild)


def _inspected(path: str, label: str, work: Work[T]) -> T:
    config = load_node(path, os.environ).config
    if config.store is not StoreKind.PAGES:
        raise BadRequest(f"{path}: only the store 'pages' is looked into this way")
    if not os.path.isdir(config.data_dir):
        raise BadRequest(f"{path}: there is no data directory {config.data_dir!r}")
    with locked_directory(config.data_dir):
        return asyncio.run(_on_disk(config, label, work))


async def _on_disk(config: NodeConfig, label: str, work: Work[T]) -> T:
    disk = PosixDisk(config.data_dir)
    done_bytes = 0
    with Meter(label, None, asyncio.get_running_loop().time) as meter:

        def tell(progress: Progress) -> None:
            nonlocal done_bytes
            meter.expect(progress.all_bytes)
            meter.moved(progress.done_bytes - done_bytes)
            done_bytes = progress.done_bytes

        try:
            await require_store(disk, config.store)
            return await work(disk, LmdbHome(disk, config.data_dir), tell)
        finally:
            await disk.close()


async def _checked(disk: Disk, home: IndexHome, tell: OnProgress) -> Report:
    threads = Threads(HASHING_THREADS, "hash")
    try:
        return await check(disk, home, tell, offload=threads.run)
    finally:
        await threads.close()
