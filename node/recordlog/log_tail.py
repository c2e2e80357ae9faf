"""The end of a log: one open segment, room ahead of it, and the segment that comes next.

Rules:
1.  Room is filled with zeros ahead, past the cache and in the background, so that the data sync of
    a batch has neither a new length nor new blocks to write.
2.  A segment that failed, or whose successor was so much as tried, takes no batch any more.
3.  On a full disk ordinary batches raise DiskFull; essential ones go on in the reserve, a small
    segment that was filled in good times.  It is not left for an ordinary segment before there is
    room for another reserve: or deletes would be refused in the end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from msgspec import Struct

from node.index.location import Position
from node.recordlog.batch import Body, StoredBatch, seal
from node.recordlog.segment_files import PreparedLog, SegmentFiles, write_zeros
from node.recordlog.segment_head import CUTS_MAX, LogEnd, SegmentKind
from ring.errors import DiskFull, HoldfastError, StorageFault
from ring.limits import KIB, MIB
from ring.seams import BLOCK_BYTES, File

RETRY_S: Final = 1.0

log = structlog.get_logger()


class LogSizes(Struct, frozen=True):
    """segment_bytes: where a log segment ends.  step_bytes: how far ahead a new one is filled; one
    that grows is filled as far again, up to step_bytes_max.  reserve_bytes: length of the reserve.
    batch_bytes: what is committed together, unless one commit alone is more.
    """

    segment_bytes: int = 64 * MIB
    step_bytes: int = 256 * KIB
    step_bytes_max: int = 4 * MIB
    reserve_bytes: int = 4 * MIB
    batch_bytes: int = 2 * MIB


class LogTail:
    """Appends batches, one at a time.

    end: of what is durable.  ends: where earlier segments of this process ended.  cuts: where
    segments ended whose last write failed.  on_reserve: the disk was full when this one was begun.
    """

    def __init__(
        self, files: SegmentFiles, sizes: LogSizes, end: LogEnd, cuts: tuple[Position, ...]
    ) -> None:
        self.end = end
        self.cuts = cuts
        self.ends: dict[int, int] = {}
        self.on_reserve = False
        self._files = files
        self._sizes = sizes
        self._file: File | None = None
        self._fill_file: File | None = None
        self._filling: asyncio.Task[None] | None = None
        self._allocated = 0  # up to there the file has zeros and room
        self._limit = 0
        self._over = True  # nothing may be appended to this segment any more
        self._failed = False
        self._retry_at_s = 0.0
        self._refusal: DiskFull | StorageFault | None = None  # why there is no new segment yet

    async def begin(self) -> None:
        """The first segment of a new log; raises DiskFull or StorageFault."""
        await self._make_room(BLOCK_BYTES, essential=False)

    async def reopen(self) -> None:
        """Go on behind `end`, in the segment that is there; raises StorageFault."""
        file = await self._files.disk.open(self._files.path(self.end.segment))
        size_bytes = await file.size_bytes() // BLOCK_BYTES * BLOCK_BYTES
        is_used_up = not self._files.reserves[SegmentKind.LOG]
        is_reserve = is_used_up and size_bytes == self._sizes.reserve_bytes
        await self._adopt(file, size_bytes, on_reserve=is_reserve)

    def abandon(self) -> None:
        """Append nothing to the segment that was read back: where it ends is not certain."""
        self._over = self._failed = True

    async def rewrite(self, last: StoredBatch) -> None:
        """Write the last batch over itself: what was read may be in the system's cache alone."""
        assert self._file is not None
        blocks, again = seal(self._files.store_id, last.before, last.body)
        assert again.end == last.end == self.end
        await self._file.write_durably(last.start, blocks)

    async def append(self, body: Body, *, essential: bool) -> StoredBatch:
        """Add a batch durably.  Raises DiskFull or StorageFault, and then it is no part of the log.

        A cancelled call closes the segment.
        """
        await self._make_room(body.batch_bytes, essential=essential)
        assert self._file is not None
        blocks, batch = seal(self._files.store_id, self.end, body)
        self._failed = True
        try:
            await self._file.write_durably(self.end.offset, blocks)
        except DiskFull:
            self._failed = False  # the next batch goes to the same place
            raise
        except StorageFault as error:
            log.warning("a segment of the log is not trusted any more", error=error.detail)
            raise
        self._failed = False
        self.end = batch.end
        self._fill_ahead()
        return batch

    @property
    def has_failed(self) -> bool:
        """Whether something that is no part of the log may stand behind its end."""
        return self._failed

    def room_bytes(self) -> int:
        """What this segment still takes."""
        return 0 if self._over or self._failed else self._limit - self.end.offset

    async def close(self) -> None:
        """Let go; idempotent."""
        self._over = True
        await self._stop_filling()
        await self._let_go()

    # --- room -------------------------------------------------------------------------------------

    async def _make_room(self, size_bytes: int, *, essential: bool) -> None:
        if self.on_reserve and not essential and not self._files.reserves[SegmentKind.LOG]:
            raise DiskFull("the log is in its reserve, and the disk has no room for another")
        if size_bytes > self.room_bytes() or (self.on_reserve and not essential):
            refusal = await self._try_new(size_bytes)
            if refusal is not None and not (essential and isinstance(refusal, DiskFull)):
                words = f"the log cannot go on in a new segment: {refusal.detail}"
                raise type(refusal)(words)
            if refusal is not None and size_bytes > self.room_bytes():
                await self._enter_reserve(size_bytes)
        try:
            await self._fill_to(self.end.offset + size_bytes)
        except DiskFull:
            if not essential or self.on_reserve:
                raise
            await self._enter_reserve(size_bytes)

    async def _try_new(self, size_bytes: int) -> DiskFull | StorageFault | None:
        """Go on in a new segment with room for a batch; why not, if that does not work."""
        now = asyncio.get_running_loop().time()
        if self._refusal is not None and now < self._retry_at_s:
            return self._refusal
        wanted = BLOCK_BYTES + max(size_bytes, self._sizes.step_bytes)
        try:
            prepared = await self._files.prepare_log(self.end, self._cuts_now(), wanted)
            await self._enter(prepared, on_reserve=False)
        except (DiskFull, StorageFault) as error:
            self._retry_at_s = now + RETRY_S
            self._refusal = error
            return error
        self._refusal = None
        return None

    async def _enter_reserve(self, size_bytes: int) -> None:
        least = BLOCK_BYTES + size_bytes
        prepared = await self._files.prepare_reserve(self.end, self._cuts_now(), least)
        await self._enter(prepared, on_reserve=True)
        log.warning("the disk is full, the log goes on in its reserve", segment=prepared.number)

    def _cuts_now(self) -> tuple[Position, ...]:
        """The cuts that a successor of this segment has to know."""
        if not self._failed:
            return self.cuts
        return (*self.cuts, self.end.position)[-CUTS_MAX:]

    async def _enter(self, prepared: PreparedLog, *, on_reserve: bool) -> None:
        cuts = self._cuts_now()
        self._over = True  # from here on a successor may be there, which says where this one ended
        await self._files.name_log(prepared)
        self.cuts = cuts
        self.ends[self.end.segment] = self.end.offset
        self.end = LogEnd(prepared.number, BLOCK_BYTES, self.end.sequence, self.end.checksum)
        log.debug("the log goes on in a new segment", segment=prepared.number)
        await self._adopt(prepared.file, prepared.size_bytes, on_reserve=on_reserve)

    async def _adopt(self, file: File, size_bytes: int, *, on_reserve: bool) -> None:
        await self._stop_filling()
        await self._let_go()
        self._file, self._fill_file = file, None
        self.on_reserve = on_reserve
        self._allocated = size_bytes
        self._limit = size_bytes if on_reserve else max(size_bytes, self._sizes.segment_bytes)
        self._over = self._failed = False

    async def _let_go(self) -> None:
        for file in (self._file, self._fill_file):
            if file is not None:
                await file.close()

    async def _fill_to(self, end: int) -> None:
        """Have room up to `end`."""
        while self._allocated < end:
            if self._filling is None:
                self._filling = asyncio.create_task(self._fill(end))
            await asyncio.shield(self._filling)

    def _fill_ahead(self) -> None:
        step_bytes = self._step_bytes()
        ahead = self._allocated - self.end.offset
        if self._filling is None and ahead < step_bytes // 2 and self._allocated < self._limit:
            self._filling = asyncio.create_task(self._fill_quietly())

    def _step_bytes(self) -> int:
        sizes = self._sizes
        return max(sizes.step_bytes, min(self._allocated, sizes.step_bytes_max))

    async def _fill_quietly(self) -> None:
        with suppress(HoldfastError):  # whoever needs the room meets it again
            await self._fill(self._allocated)

    async def _fill(self, least: int) -> None:
        """Fill one more step with zeros, durably, up to `least` at least."""
        segment = self.end.segment
        start = self._allocated
        try:
            end = min(self._limit, max(least, start + self._step_bytes()))
            if self._fill_file is None:
                path = self._files.path(segment)
                self._fill_file = await self._files.disk.open(path, direct=True)
            await write_zeros(self._fill_file, start, end)
            await self._fill_file.sync()
            self._allocated = end
        except StorageFault as error:
            log.warning("a segment of the log cannot grow", segment=segment, error=error.detail)
            self._over = True
            raise
        except FileNotFoundError as error:
            self._over = True
            raise StorageFault(f"segment {segment} of the log vanished") from error
        finally:
            self._filling = None

    async def _stop_filling(self) -> None:
        filling = self._filling
        if filling is not None and filling is not asyncio.current_task():
            await asyncio.gather(asyncio.shield(filling), return_exceptions=True)
