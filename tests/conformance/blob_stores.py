"""What the BlobStore suite runs on: every implementation, each over a backend of its own.

To add one: write an async context manager that yields a `BlobBackend`, and name it in BACKENDS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ring.errors import Unavailable
from ring.seams import BlobStore
from tests.fakes.memory_blob_store import MemoryBlobStore


@dataclass(frozen=True)
class BlobBackend:
    """Blobs, empty at first, and two ways to them.

    breaks: take away what the store needs - its disk, two of its three nodes - so that from then on
    it can neither say that something is there nor that it is not.
    """

    store: BlobStore
    other: BlobStore
    breaks: Callable[[], None]


Opener = Callable[[Path], AbstractAsyncContextManager[BlobBackend]]


@asynccontextmanager
async def in_memory(_folder: Path) -> AsyncIterator[BlobBackend]:
    """The fake that the tests of the HTTP door stand on."""
    store = MemoryBlobStore()

    def breaks() -> None:
        store.faults.error = Unavailable("the memory is gone")

    yield BlobBackend(store, MemoryBlobStore(store), breaks)
    assert not store.readers_open


BACKENDS: Final[dict[str, Opener]] = {
    "memory": in_memory,
}
