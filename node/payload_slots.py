"""Page-aligned buffers for large payloads, used again and again.

Rules:
1.  A buffer belongs to whoever holds a view of it.  When the last view (or slice of one) is gone,
    its memory returns here by itself: nobody can free what somebody still reads.
2.  At most `idle_bytes_max` lie unused; what is beyond goes back to the system.  How much is in use
    is bounded by whoever takes buffers.

Why not a fresh buffer each: a new 4 MiB mapping has to be faulted in page by page, which was
measured to take five to thirty times as long as copying into a used one.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import deque
from functools import lru_cache
from typing import Any, Final

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
        lease = _lease_type(slot_bytes).from_buffer(slot)
        lease.slot, lease.slots = slot, self
        return memoryview(lease).cast("B")[:size_bytes]

    def take_back(self, slot: mmap.mmap) -> None:
        """The last view of a slot is gone."""
        if self.idle_bytes + len(slot) <= self._idle_bytes_max:
            self._idle[len(slot)].append(slot)


def _map(slot_bytes: int) -> mmap.mmap:
    slot = mmap.mmap(-1, slot_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if slot_bytes >= _HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        slot.madvise(mmap.MADV_HUGEPAGE)
    return slot


class _Lease:
    """Exports a slot's memory: views keep it alive, so its end is the end of the last one.

    Mixed into a ctypes array, the one exporter of foreign memory in the standard library that may
    have a finalizer.
    """

    __slots__ = ()
    slot: mmap.mmap
    slots: PayloadSlots

    def __del__(self) -> None:
        self.slots.take_back(self.slot)


@lru_cache
def _lease_type(slot_bytes: int) -> Any:  # noqa: ANN401 - a class that mypy cannot see
    bases = (_Lease, ctypes.c_ubyte * slot_bytes)
    return type("Lease", bases, {"__slots__": ("slot", "slots")})
