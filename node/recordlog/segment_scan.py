"""What segments say by themselves: the keys that a log segment speaks of, extents of a bulk one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from node.recordlog.batch_reader import BatchReader
from node.recordlog.extent import MAGIC, Extent, extent_at
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import LogEnd
from ring.errors import Corrupt
from ring.limits import MIB
from ring.seams import BLOCK_BYTES

_WINDOW_BYTES: Final = MIB


@dataclass(slots=True)
class SpokenOf:
    """What the batches of a log segment speak of.

    keys: in the order in which they first come.  end: where the last batch ends.
    """

    keys: dict[bytes, None] = field(default_factory=dict)
    partitions: dict[int, None] = field(default_factory=dict)
    end: int = BLOCK_BYTES


async def spoken_of(files: SegmentFiles, number: int, end: int | None) -> SpokenOf:
    """Read a log segment up to `end`, or to where batches stop.

    Raises Corrupt for damage, StorageFault, FileNotFoundError.
    """
    head = await files.head(number)
    follows = head.follows
    spoken = SpokenOf()
    async with files.reading(number) as file:
        start = LogEnd(number, BLOCK_BYTES, follows.sequence, follows.checksum)
        reader = BatchReader(files.store_id, file, await file.size_bytes(), start)
        while end is None or reader.end.offset < end:
            batch = await reader.next()
            if batch is None:
                break
            change, places = batch.contents()
            for keys in (change.dropped, change.rows, places):
                spoken.keys.update(dict.fromkeys(keys))
            spoken.keys.update((key, None) for key, _ in change.claims)
            spoken.partitions.update(dict.fromkeys(change.floors))
        spoken.end = reader.end.offset
        if spoken.end != end and (end is not None or await reader.is_followed()):
            raise Corrupt(f"{files.path(number)} is damaged at byte {spoken.end}")
    return spoken


async def extents(files: SegmentFiles, number: int) -> AsyncIterator[Extent]:
    """The extents of a bulk segment whose heads check; raises StorageFault, FileNotFoundError."""
    offset = BLOCK_BYTES
    async with files.reading(number) as file:
        size_bytes = await file.size_bytes()
    while offset < size_bytes:
        async with files.reading(number) as file:
            block = await file.read(offset, BLOCK_BYTES)
            extent = extent_at(files.store_id, number, offset, block)
            if extent is None:
                offset = await _next_head(files, number, offset + BLOCK_BYTES, size_bytes)
                continue
        yield extent
        offset = extent.end


async def _next_head(files: SegmentFiles, number: int, offset: int, size_bytes: int) -> int:
    """The first place from `offset` on where an extent may begin."""
    async with files.reading(number) as file:
        while offset < size_bytes:
            window = await file.read(offset, min(_WINDOW_BYTES, size_bytes - offset))
            at = window.find(MAGIC)
            while at >= 0:
                if at % BLOCK_BYTES == 0:
                    return offset + at
                at = window.find(MAGIC, at + 1)
            offset += _WINDOW_BYTES
    return size_bytes
