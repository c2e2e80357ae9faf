"""Buffers as O_DIRECT takes them: blocks in memory at multiples of a block.

What is aligned already goes to the disk as it is; only what is not is copied.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

from node.payload_slots import PayloadSlots
from ring.digest import Buffer
from ring.limits import KIB, PAYLOAD_BYTES_MAX
from ring.seams import BLOCK_BYTES

_COPIED_BYTES_MAX: Final = 64 * KIB  # below this a copy costs less than looking


class AlignedBlocks:
    """Aligns with memory of `slots`; used from the event loop's thread only."""

    def __init__(self, slots: PayloadSlots) -> None:
        self._slots = slots

    def aligned(self, offset: int, pieces: Sequence[Buffer]) -> tuple[Buffer, ...]:
        """The same bytes in buffers that O_DIRECT takes; together they are whole blocks."""
        assert offset % BLOCK_BYTES == 0, offset
        assert sum(map(len, pieces)) % BLOCK_BYTES == 0
        aligned: list[Buffer] = []
        loose: list[memoryview] = []  # what has to be copied, in a row
        loose_bytes = 0
        for piece in pieces:
            view = memoryview(piece).cast("B")
            if loose_bytes % BLOCK_BYTES == 0 and _is_aligned(view):
                whole = len(view) - len(view) % BLOCK_BYTES
                self._copy(loose, aligned)
                aligned.append(view[:whole])
                loose, loose_bytes = [], 0
                view = view[whole:]
            loose.append(view)
            loose_bytes += len(view)
        self._copy(loose, aligned)
        return tuple(aligned)

    def _copy(self, loose: Sequence[memoryview], aligned: list[Buffer]) -> None:
        """Append copies of pieces that are whole blocks together."""
        left = sum(map(len, loose))
        target, at = memoryview(b""), 0
        for piece in loose:
            done = 0
            while done < len(piece):
                if at == len(target):
                    target, at = self._slots.take(min(left, PAYLOAD_BYTES_MAX)), 0
                    aligned.append(target)
                size_bytes = min(len(piece) - done, len(target) - at)
                target[at : at + size_bytes] = piece[done : done + size_bytes]
                at, done, left = at + size_bytes, done + size_bytes, left - size_bytes


def _is_aligned(view: memoryview) -> bool:
    """Whether it is large and begins at a block of memory; of what is read-only nobody can tell."""
    if len(view) <= _COPIED_BYTES_MAX or view.readonly:
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) % BLOCK_BYTES == 0
