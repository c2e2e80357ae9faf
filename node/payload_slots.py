"""Page-aligned buffers for large payloads, used again and again.

Rules:
1.  A buffer belongs to whoever holds a view of it, and returns by itself (leased_memory.py).
2.  At most `idle_bytes_max` lie unused; what is beyond goes back to the system.  How much is in use
    is bounded by whoever takes buffers.

Why not a fresh buffer each: a new 4 MiB mapping has to be faulted in page by page, which was
measured to take five to thirty times as long as copying into a used one.
"""

from __future__ import annotations

import mmap
from collections import deque
from typing import Final

from node.leased_memory import leased, mapped
from ring.limits import KIB, MIB, PAYLOAD_BYTES_MAX

_SLOT_BYTES_MIN: Final = 128 * KIB
_SIZES: Final = (PAYLOAD_BYTES_MAX // _SLOT_BYTES_MIN).bit_length()
_HUGE_BYTES: Final = 2 * MIB

assert _SLOT_BYTES_MIN << (_SIZES - 1) == PAYLOAD_BYTES_MAX


class PayloadSlots:
    """Buffers of up to PAYLOAD_BYTES_MAX, rounded up to powers of two in memory.

    Views may be dropped in any thread; `take` is for one thread.
    """

    def __init__(self, idle_bytes_max: int = 64 * MIB) -> None:
        self._idle_bytes_max = idle_bytes_max
        sizes = (_SLOT_BYTES_MIN << power for power in range(_SIZES))
        self._idle: dict[int, deque[mmap.mmap]] = {size: deque() for size in sizes}

    @property
    def idle_bytes(self) -> int:
        """Memory that waits to be used again."""
        return sum(size * len(slots) for size, slots in self._idle.items())

    def take(self, size_bytes: int) -> memoryview:
        """A writable view of `size_bytes`, page-aligned, of unknown content."""
        assert 0 < size_bytes <= PAYLOAD_BYTES_MAX, size_bytes
        slot_bytes = max(_SLOT_BYTES_MIN, 1 << (size_bytes - 1).bit_length())
        idle = self._idle[slot_bytes]
        slot = idle.pop() if idle else _map(slot_bytes)
        return leased(slot, self)[:size_bytes]

    def take_back(self, memory: mmap.mmap) -> None:
        """See MemoryPool."""
        if self.idle_bytes + len(memory) <= self._idle_bytes_max:
            self._idle[len(memory)].append(memory)


def _map(slot_bytes: int) -> mmap.mmap:
    slot = mapped(slot_bytes)
    if slot_bytes >= _HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        slot.madvise(mmap.MADV_HUGEPAGE)
    return slot
