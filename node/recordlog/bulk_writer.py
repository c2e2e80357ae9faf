"""Large values: each into an extent of its own, many at a time, one data sync for all that wait.

Rules:
1.  An extent counts when its bytes are durable; whoever commits its place comes after.
2.  A segment in which a write or sync failed takes nothing any more and is never synced again.
3.  On a full disk compaction goes on in the reserve, a segment that nothing else is written to.
4.  Nothing is appended to a segment of an earlier process: which of its extents are referred to
    only the log knows, and a value that is must not be written over.
5.  A segment that takes no more gives back the room that it did not use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog
from msgspec import Struct

from node.group_sync import GroupSync
from node.index.location import Location
from node.recordlog.extent import Extent, extent_bytes, padding_bytes
from node.recordlog.segment_files import SegmentFiles
from ring.digest import Buffer
from ring.errors import DiskFull, HoldfastError, StorageFault
from ring.limits import MIB
from ring.seams import BLOCK_BYTES, File

_PADDING: Final = bytes(BLOCK_BYTES)

log = structlog.get_logger()


class BulkSizes(Struct, frozen=True):
    """segment_bytes: where a bulk segment ends, and the length of the reserve.  step_bytes: room
    that a segment is given at a time.
    """

    segment_bytes: int = 128 * MIB
    step_bytes: int = 32 * MIB


class _Segment:
    """An open bulk segment."""

    def __init__(self, number: int, file: File, allocated: int) -> None:
        self.number = number
        self.file = file
        self.offset = BLOCK_BYTES
        self.allocated = allocated
        self.broken = False
        self.writers = 0
        self.sync = GroupSync(file.sync)


class BulkWriter:
    """Writes extents.

    ends: where closed segments of this process end, by number.  is_full: the disk had no room when
    a client's value was last written.
    """

    def __init__(self, files: SegmentFiles, sizes: BulkSizes) -> None:
        self.ends: dict[int, int] = {}
        self._files = files
        self._sizes = sizes
        self.is_full = False
        self._segment: _Segment | None = None
        self._rescue: _Segment | None = None  # the reserve, in use
        self._leaving: dict[int, _Segment] = {}
        self._turn = asyncio.Lock()

    async def write(
        self, key: bytes, kind: int, value: Buffer, *, rescue: bool = False
    ) -> Location:
        """Store a value durably; where.  Raises DiskFull or StorageFault.

        rescue: use the reserve if the disk is full.
        """
        size_bytes = extent_bytes(len(value))
        async with self._turn:
            try:
                segment = await self._with_room(size_bytes)
                self.is_full = False
            except DiskFull:
                self.is_full = True
                if not rescue:
                    raise
                segment = await self._rescue_room(size_bytes)
            location = Location(segment.number, segment.offset + BLOCK_BYTES, len(value))
            segment.offset += size_bytes
            segment.writers += 1
        extent = Extent(key, kind, location)
        try:
            padding = memoryview(_PADDING)[: padding_bytes(len(value))]
            head = extent.head(self._files.store_id)
            await segment.file.write(location.offset - BLOCK_BYTES, head, value, padding)
            await segment.sync.wait()
        except HoldfastError as error:
            log.warning("a bulk segment is not trusted any more", error=error.detail)
            segment.broken = True
            raise
        finally:
            segment.writers -= 1
            await self._close_left(segment)
        return location

    def is_writing(self, number: int) -> bool:
        """Whether the segment may still get extents."""
        current = (self._segment, self._rescue, *self._leaving.values())
        return any(segment is not None and segment.number == number for segment in current)

    def room_bytes(self) -> int:
        """What the open segment takes without more room on the disk."""
        segment = self._segment
        return 0 if segment is None or segment.broken else segment.allocated - segment.offset

    async def end_rescue(self) -> None:
        """There is a reserve again: what was in use as one is a segment like others."""
        async with self._turn:
            await self._leave(self._rescue)

    async def close(self) -> None:
        """Let go; idempotent."""
        async with self._turn:
            await self._leave(self._segment)
            await self._leave(self._rescue)

    async def _with_room(self, size_bytes: int) -> _Segment:
        segment = self._segment
        limit = max(self._sizes.segment_bytes, BLOCK_BYTES + size_bytes)
        if segment is None or segment.broken or segment.offset + size_bytes > limit:
            await self._leave(segment)
            room = min(limit, max(self._sizes.step_bytes, BLOCK_BYTES + size_bytes))
            number, file = await self._files.create_bulk(room)
            segment = self._segment = _Segment(number, file, room)
        missing = segment.offset + size_bytes - segment.allocated
        if missing > 0:
            room = min(limit, segment.allocated + max(self._sizes.step_bytes, missing))
            await self._guarded(segment, lambda: segment.file.allocate(room))
            segment.allocated = room
        return segment

    async def _guarded(self, segment: _Segment, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except DiskFull:
            raise
        except StorageFault:
            segment.broken = True
            raise

    async def _rescue_room(self, size_bytes: int) -> _Segment:
        segment = self._rescue
        if segment is None or segment.broken or segment.offset + size_bytes > segment.allocated:
            await self._leave(segment)
            least_bytes = BLOCK_BYTES + size_bytes
            number, file, length = await self._files.use_bulk_reserve(least_bytes)
            log.warning("the disk is full, large values are moved to the reserve", segment=number)
            segment = self._rescue = _Segment(number, file, length)
        return segment

    async def _leave(self, segment: _Segment | None) -> None:
        """Write nothing there any more; it is closed when nobody is writing to it."""
        if segment is None:
            return
        if segment is self._segment:
            self._segment = None
        else:
            self._rescue = None
        self._leaving[segment.number] = segment
        self.ends[segment.number] = segment.offset
        await self._close_left(segment)

    async def _close_left(self, segment: _Segment) -> None:
        if segment.number in self._leaving and not segment.writers:
            del self._leaving[segment.number]
            with suppress(HoldfastError):  # then the disk is fuller than it need be
                await segment.file.truncate(segment.offset)
            await segment.file.close()
