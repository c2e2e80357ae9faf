"""Page-aligned memory that comes back by itself.

A piece belongs to whoever holds a view of it: when the last view (or slice of one) is gone, it goes
back to the pool that it came from.  Nobody can free what somebody still reads.
"""

from __future__ import annotations

import ctypes
import mmap
from functools import lru_cache
from typing import Any, Protocol


class MemoryPool(Protocol):
    """Where memory goes when its last view is gone, in whatever thread that is."""

    def take_back(self, memory: mmap.mmap) -> None:
        """It may be leased again."""


def mapped(size_bytes: int) -> mmap.mmap:
    """Fresh memory: zeros, aligned to a page."""
    return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def leased(memory: mmap.mmap, pool: MemoryPool) -> memoryview:
    """A writable view of all of it, that stands for the lease."""
    lease = _lease_type(len(memory)).from_buffer(memory)
    lease.memory, lease.pool = memory, pool
    return memoryview(lease).cast("B")


class _Lease:
    """Exports the memory: views keep it alive, so its end is the end of the last one.

    Mixed into a ctypes array, the one exporter of foreign memory in the standard library that may
    have a finalizer.
    """

    __slots__ = ()
    memory: mmap.mmap
    pool: MemoryPool

    def __del__(self) -> None:
        self.pool.take_back(self.memory)


@lru_cache
def _lease_type(size_bytes: int) -> Any:  # noqa: ANN401 - a class that mypy cannot see
    bases = (_Lease, ctypes.c_ubyte * size_bytes)
    return type("Lease", bases, {"__slots__": ("memory", "pool")})
