"""Every kind of index, for suites that all must pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from node.index.index import IndexHome
from node.index.lmdb_index import LmdbHome
from node.memory_disk import MemoryDisk
from node.posix_disk import PosixDisk
from tests.fakes.file_index import FileIndexHome

KINDS = ("lmdb", "file")


@asynccontextmanager
async def index_home(
    kind: str, path: Path, *, map_bytes_first: int = 1 << 20, map_bytes_max: int = 1 << 30
) -> AsyncIterator[IndexHome]:
    """A home whose index is in `path`/index, or in memory."""
    if kind == "file":
        yield FileIndexHome(MemoryDisk(1 << 30))
        return
    disk = PosixDisk(str(path), threads=2)
    try:
        yield LmdbHome(
            disk, str(path), map_bytes_first=map_bytes_first, map_bytes_max=map_bytes_max
        )
    finally:
        await disk.close()
