"""Checksums of frames: which bytes belong to this guid, in this slot.

A frame's checksum is the first 16 bytes of BLAKE3 of its bytes, keyed with guid (16), slot (8) and
page size (8, little-endian both).  So rot, a torn write, a write that never arrived, and a frame
that lies in another's place are all found.

`PageSums` lets a ranged read verify what it read without reading the rest: the first one of a frame
reads and verifies the whole, and remembers a short sum of each 4 KiB.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from blake3 import blake3

from node.pages.manifest_format import SUM_BYTES, Frame
from ring.seams import BLOCK_BYTES

_REMEMBERED_BYTES_MAX: Final = 4 * 1024 * 1024
_BLOCK_SUM_BYTES: Final = 8


def checksum_of(guid: bytes, slot: int, page: memoryview) -> bytes:
    """The checksum that a frame has in this slot."""
    key = guid + slot.to_bytes(8, "little") + len(page).to_bytes(8, "little")
    return blake3(page, key=key).digest(SUM_BYTES)


class PageSums:
    """Sums of the 4 KiB blocks of frames that were verified whole; not thread-safe."""

    def __init__(self, page_size: int) -> None:
        self._count_max = max(1, _REMEMBERED_BYTES_MAX // (page_size // BLOCK_BYTES * 8))
        self._sums: OrderedDict[Frame, bytes] = OrderedDict()

    def get(self, frame: Frame) -> bytes | None:
        """The sums of a frame, as `sums_of` made them."""
        found = self._sums.get(frame)
        if found is not None:
            self._sums.move_to_end(frame)
        return found

    def put(self, frame: Frame, sums: bytes) -> None:
        """Remember; the least recently used is forgotten."""
        self._sums[frame] = sums
        self._sums.move_to_end(frame)
        if len(self._sums) > self._count_max:
            self._sums.popitem(last=False)


def sums_of(page: memoryview) -> bytes:
    """8 bytes for each block."""
    return b"".join(_block_sums(page))


def are_the_blocks(sums: bytes, first: int, blocks: memoryview) -> bool:
    """Whether these bytes are what `sums` were made of, from block number `first` on."""
    start = first * _BLOCK_SUM_BYTES
    return sums[start : start + len(blocks) // BLOCK_BYTES * _BLOCK_SUM_BYTES] == sums_of(blocks)


def _block_sums(page: memoryview) -> Iterator[bytes]:
    for at in range(0, len(page), BLOCK_BYTES):
        yield blake3(page[at : at + BLOCK_BYTES]).digest(_BLOCK_SUM_BYTES)
