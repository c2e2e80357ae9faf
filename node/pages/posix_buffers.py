"""Page-aligned memory, and the test whether memory is.

Rule: a buffer belongs to whoever holds a view of it; when the last view is gone its memory is used
again by a later `uninitialised`, because faulting fresh pages in costs more than copying a frame.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import deque
from functools import lru_cache
from typing import Any, Final

from node.pages.block_seam import BLOCK_BYTES
from ring.errors import BadRequest

_IDLE_MAX: Final = 32


class FrameBuffers:
    """Buffers of one size, for any thread; at most _IDLE_MAX lie unused."""

    def __init__(self, size_bytes: int) -> None:
        assert size_bytes > 0
        assert size_bytes % BLOCK_BYTES == 0, size_bytes
        self.size_bytes = size_bytes
        self._idle: deque[mmap.mmap] = deque(maxlen=_IDLE_MAX)

    def zeroed(self) -> memoryview:
        """A writable view of zeros, aligned to 4096."""
        return self._view(_map(self.size_bytes))

    def uninitialised(self) -> memoryview:
        """A writable view of unknown content, aligned to 4096."""
        try:
            memory = self._idle.popleft()
        except IndexError:
            memory = _map(self.size_bytes)
        return self._view(memory)

    def take_back(self, memory: mmap.mmap) -> None:
        """The last view is gone."""
        self._idle.append(memory)

    def _view(self, memory: mmap.mmap) -> memoryview:
        lease = _lease_type(self.size_bytes).from_buffer(memory)
        lease.memory, lease.buffers = memory, self
        return memoryview(lease).cast("B")


def aligned(buffer: object, size_bytes: int) -> memoryview:
    """The buffer as a view; raises BadRequest unless it is `size_bytes` of aligned memory.

    Read-only memory is refused as well: its address cannot be had.
    """
    try:
        view = memoryview(buffer)  # type: ignore[arg-type]  # the test is whether it is one
        address = ctypes.addressof(ctypes.c_char.from_buffer(view))
        view = view.cast("B")
    except (TypeError, ValueError) as error:
        raise BadRequest(f"not a writable buffer of {size_bytes} bytes: {error}") from error
    if len(view) != size_bytes:
        raise BadRequest(f"the buffer has {len(view)} bytes, a frame has {size_bytes}")
    if address % BLOCK_BYTES:
        raise BadRequest(f"the buffer does not begin at a multiple of {BLOCK_BYTES} bytes")
    return view


def _map(size_bytes: int) -> mmap.mmap:
    return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class _Lease:
    """Exports the memory: views keep it alive, so its end is the end of the last one.

    Mixed into a ctypes array, the one exporter of foreign memory in the standard library that may
    have a finalizer.
    """

    __slots__ = ()
    memory: mmap.mmap
    buffers: FrameBuffers

    def __del__(self) -> None:
        self.buffers.take_back(self.memory)


@lru_cache
def _lease_type(size_bytes: int) -> Any:  # noqa: ANN401 - a class that mypy cannot see
    bases = (_Lease, ctypes.c_ubyte * size_bytes)
    return type("FrameLease", bases, {"__slots__": ("memory", "buffers")})
