"""Page-aligned memory, and the test whether memory is.

Rule: the memory of a buffer whose last view is gone is used again by a later `uninitialised`
(node/leased_memory.py), because faulting fresh pages in costs more than copying a frame.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import deque
from typing import Final

from node.leased_memory import leased, mapped
from ring.errors import BadRequest
from ring.seams import BLOCK_BYTES

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
        return leased(mapped(self.size_bytes), self)

    def uninitialised(self) -> memoryview:
        """A writable view of unknown content, aligned to 4096."""
        try:
            memory = self._idle.popleft()
        except IndexError:
            memory = mapped(self.size_bytes)
        return leased(memory, self)

    def take_back(self, memory: mmap.mmap) -> None:
        """See MemoryPool."""
        self._idle.append(memory)


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
