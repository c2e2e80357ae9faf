"""What segments say by themselves: the keys that a log segment speaks of, extents of a bulk one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from node.recordlog.batch import StoredBatch
from node.recordlog.batch_reader import BatchReader
from node.recordlog.extent import MAGIC, Extent, extent_at
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import LogEnd
from ring.errors import Corrupt
from ring.limits import MIB
from ring.seams import BLOCK_BYTES, File

_WINDOW_BYTES: Final = MIB


Spend = Callable[[int], Awaitable[None]]
"""Wait for as long as so many bytes may take."""


@dataclass(slots=True)
class SpokenOf:
    """What the batches of a log segment speak of.

    keys: in the order in which they first come.  end: where the last batch ends.  packed_bytes: of
    rows and values, without what fills batches up.  damage: what is wrong with the segment, None
    while nothing is; then it spoke of more than is said here.
    """

    keys: dict[bytes, None] = field(default_factory=dict)
    partitions: dict[int, None] = field(default_factory=dict)
    end: int = BLOCK_BYTES
    packed_bytes: int = 0
    damage: str | None = None

    def add(self, batch: StoredBatch) -> None:
        """What one batch speaks of; raises Corrupt."""
        change, places = batch.contents()
        for keys in (change.dropped, change.rows, places):
            self.keys.update(dict.fromkeys(keys))
        self.keys.update((key, None) for key, _ in change.claims)
        self.partitions.update(dict.fromkeys(change.floors))
        self.packed_bytes += len(batch.body.rows) + len(batch.body.values)


async def spoken_of(
    files: SegmentFiles, number: int, end: int | None, spend: Spend
) -> SpokenOf:
    """Read a log segment up to `end`, or to where batches stop.

    Damage is told in the answer.  Raises StorageFault, FileNotFoundError.
    """
    spoken = SpokenOf()
    try:
        follows = (await files.head(number)).follows
    except Corrupt as error:
        spoken.damage = error.detail
        return spoken
    async with files.reading(number) as file:
        size_bytes = await file.size_bytes()
        start = LogEnd(number, BLOCK_BYTES, follows.sequence, follows.checksum)
        # Everything counts whose rows check, torn or not: a key too many does no harm.
        reader = BatchReader(files.store_id, file, size_bytes, start, known_bytes=size_bytes)
        while end is None or reader.end.offset < end:
            batch = await reader.next()
            if batch is None:
                break
            spoken.add(batch)
            await spend(reader.end.offset - spoken.end)
            spoken.end = reader.end.offset
        if spoken.end != end and (end is not None or await _goes_on(reader, file, size_bytes)):
            spoken.damage = f"{files.path(number)} is damaged at byte {spoken.end}"
    return spoken


async def _goes_on(reader: BatchReader, file: File, size_bytes: int) -> bool:
    """Whether there is more than zeros behind the last batch of a segment whose end nobody tells.

    What failed there would have been cut off in words, so it is a batch that does not check any
    more; that none follows does not matter, it may have been the last one.
    """
    at = reader.end.offset
    if at < size_bytes and any(await file.read(at, min(BLOCK_BYTES, size_bytes - at))):
        return True
    return await reader.is_followed()


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
