"""blobs.dat: frames in slots, written beside what they replace and never over it.

Rules:
1.  A write goes to a slot that no durable map names; when it is over, the guid is moved there under
    the lock.  So a reader finds the whole old or the whole new frame, and so does a crash.
2.  A reader holds the slot that it reads; it is not written again before the reader is done.
3.  After a failed sync the file is reopened, and every suspect (unsynced.py) is read back, compared
    with its checksum and written to another slot, before any sync counts.  A suspect that cannot be
    read back keeps every flush from succeeding until it is written again or deleted.
4.  The file grows ahead of need: by 8 slots, from 128 slots on by 64.

Thread-safe.  Holds no lock while it waits for the medium, but the one that growth has for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from node.pages.block_seam import BlockFile
from node.pages.frame_sums import PageSums, are_the_blocks, checksum_of, sums_of
from node.pages.frame_table import Cut, FrameTable
from node.pages.manifest_format import Frame
from node.pages.posix_buffers import FrameBuffers
from node.pages.posix_turns import lock
from node.pages.slots import Slots
from node.pages.unsynced import Unsynced
from ring.errors import Corrupt, DiskFull, HoldfastError, NotFound, StorageFault
from ring.seams import BLOCK_BYTES

log = structlog.get_logger()

_STEP_SLOTS: Final = 8
_LARGE_SLOTS: Final = 128
_LARGE_STEP_SLOTS: Final = 64


def slots_ahead(slots: int) -> int:
    """How many slots the file has room for when so many are in use."""
    step = _LARGE_STEP_SLOTS if slots >= _LARGE_SLOTS else _STEP_SLOTS
    return -(-slots // step) * step


class FrameFile:
    """See the module.  frames: what is durable; buffers: of the page size."""

    def __init__(
        self, file: BlockFile, frames: Mapping[bytes, Frame], buffers: FrameBuffers
    ) -> None:
        self.table = FrameTable(frames)
        used = (frame.slot for frame in frames.values())
        self.slots = Slots(used, file.size_bytes() // buffers.size_bytes)
        self.corrupt_reads = 0
        self._file = file
        self._buffers = buffers
        self._page_size = buffers.size_bytes
        self._unsynced = Unsynced()
        self._reopened_after = 0
        self._sums = PageSums(self._page_size)
        self._lock = lock()
        self._growth = lock()
        self._capacity_bytes = file.size_bytes()

    @property
    def direct(self) -> bool:
        """Whether the page cache is bypassed."""
        return self._file.direct

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return self._capacity_bytes

    @property
    def failed_syncs(self) -> int:
        """How many data syncs failed."""
        return self._unsynced.failures

    def read(self, guid: bytes, page: memoryview) -> None:
        """Fill the page, whose content is unknown after NotFound, Corrupt or StorageFault."""
        frame = self._held(guid)
        try:
            self._read(guid, frame, page)
        finally:
            self._release(frame)

    def read_blocks(self, guid: bytes, offset: int, size_bytes: int) -> memoryview:
        """A part of a frame, in whole blocks, verified."""
        frame = self._held(guid)
        try:
            with self._lock:
                sums = self._sums.get(frame)
            if sums is None:
                page = self._buffers.uninitialised()
                self._read(guid, frame, page)
                if frame.checksum:
                    with self._lock:
                        self._sums.put(frame, sums_of(page))
                return page[offset : offset + size_bytes]
            blocks = self._buffers.uninitialised()[:size_bytes]
            self._fill(guid, frame, offset, blocks)
            if not are_the_blocks(sums, offset // BLOCK_BYTES, blocks):
                raise self._corrupt(guid, frame, "does not match its checksum")
            return blocks
        finally:
            self._release(frame)

    def write(self, guid: bytes, page: memoryview) -> None:
        """Make the page the newest frame; raises DiskFull or StorageFault, and then it is not."""
        with self._lock:
            slot = self.slots.take()
        self._write(guid, page, slot, None)

    def remove(self, guid: bytes) -> None:
        """Forget a frame; absent is fine."""
        with self._lock:
            self._left(self.table.put(guid, None))

    def move(self, guid: bytes, frame: Frame, slot: int | None = None) -> None:
        """Write this frame again, to `slot` or any other, unless it is not the newest any more.

        Raises Corrupt, StorageFault or DiskFull, and then it stays where it is.
        """
        page = self._buffers.uninitialised()
        with self._lock:
            target = self.slots.take() if slot is None else slot
            if self.table.frames.get(guid) != frame:
                self.slots.give_back(target)
                return
            self.slots.hold(frame.slot)
        try:
            try:
                self._read(guid, frame, page)
            except HoldfastError:
                with self._lock:
                    self.slots.give_back(target)
                raise
            self._write(guid, page, target, frame)
        finally:
            self._release(frame)

    def settled_cut(self, *, whole: bool) -> Cut:
        """What a flush that begins now makes durable, with no suspect among it (rule 3)."""
        while True:
            self.rescue()
            with self._lock:
                if not self._unsynced.suspects:
                    return self.table.cut(self.slots.next_slot, self.slots.cut(), whole=whole)

    def rescue(self) -> None:
        """Write every suspect again; raises StorageFault when some are lost."""
        with self._lock:
            failures, suspects = self._unsynced.failures, self._unsynced.suspects
        if self._reopened_after != failures:
            self._file.reopen()
            self._reopened_after = failures
        lost = [guid for guid, slot in suspects if not self._rescued(guid, slot)]
        if lost:
            raise StorageFault(
                f"{len(lost)} frames were lost when a sync failed, {lost[0].hex()} first;"
                " write them again, or delete them",
                lost=len(lost),
            )

    def sync(self) -> None:
        """Make durable what was written before; for one thread at a time."""
        with self._lock:
            if not self._unsynced.is_owed:
                return
            mark = self._unsynced.mark()
        try:
            self._file.sync()
        except HoldfastError as error:
            with self._lock:
                self._unsynced.failed()
            log.warning("a data sync failed, frames are suspect", error=error.detail)
            raise
        with self._lock:
            self._unsynced.synced(mark)

    def flushed(self, cut: Cut) -> None:
        """The cut is durable: what it replaced is free."""
        with self._lock:
            self.table.flushed(cut)
            self.slots.flushed(cut.replaced)

    def shrink(self) -> int:
        """Cut free slots off the end and give the room of the others back; how many are left.

        Only after a flush.
        """
        with self._growth:
            with self._lock:
                self.slots.shrink()
                wanted = slots_ahead(self.slots.next_slot) * self._page_size
            if wanted < self._capacity_bytes:
                self._file.truncate(wanted)
                self._capacity_bytes = wanted
        with self._lock:
            holes = self.slots.take_all_free()
        try:
            for slot in holes:
                self._file.punch(slot * self._page_size, self._page_size)
        finally:
            with self._lock:
                self.slots.give_back_all(holes)
        return len(holes)

    def has(self, guid: bytes) -> bool:
        """Whether there is a frame."""
        with self._lock:
            return guid in self.table.frames

    def guids(self) -> list[bytes]:
        """All of them, in no order."""
        with self._lock:
            return list(self.table.frames)

    def newest(self) -> list[tuple[bytes, Frame]]:
        """All frames, the highest slot first; free slots are given out from the lowest now."""
        with self._lock:
            found = list(self.table.frames.items())
            self.slots.sort()
        return sorted(found, key=lambda item: -item[1].slot)

    def take_below(self, slot: int) -> int | None:
        """A free slot below this one, to move a frame to."""
        with self._lock:
            return self.slots.take_below(slot)

    # --- steps ------------------------------------------------------------------------------------

    def _write(self, guid: bytes, page: memoryview, slot: int, instead_of: Frame | None) -> None:
        with self._lock:
            failures = self._unsynced.failures
        try:
            self._grow(slot)
            checksum = checksum_of(guid, slot, page)
            self._file.write(page, slot * self._page_size)
        except DiskFull:
            with self._lock:
                self.slots.give_back(slot)
            raise
        except HoldfastError:
            with self._lock:
                self.slots.failed(slot)
            raise
        with self._lock:
            if instead_of is not None and self.table.frames.get(guid) != instead_of:
                self.slots.give_back(slot)
                return
            self._unsynced.written(guid, slot, failures)
            self._left(self.table.put(guid, Frame(slot, checksum)))

    def _left(self, before: Frame | None) -> None:
        if before is not None:
            self._unsynced.cleared(before.slot)
            self.slots.replaced(before.slot)

    def _grow(self, slot: int) -> None:
        needed = (slot + 1) * self._page_size
        if needed <= self._capacity_bytes:
            return
        with self._growth:
            if needed <= self._capacity_bytes:
                return
            wanted = slots_ahead(slot + 1) * self._page_size
            try:
                self._file.allocate(wanted)
            except DiskFull:
                self._file.allocate(needed)
                wanted = needed
            self._capacity_bytes = wanted

    def _rescued(self, guid: bytes, slot: int) -> bool:
        with self._lock:
            frame = self.table.frames.get(guid)
            if frame is None or frame.slot != slot:
                self._unsynced.cleared(slot)
                return True
        try:
            self.move(guid, frame)
        except Corrupt:
            return False
        return True

    def _held(self, guid: bytes) -> Frame:
        with self._lock:
            frame = self.table.frames.get(guid)
            if frame is None:
                raise NotFound(f"there is no frame {guid.hex()}")
            self.slots.hold(frame.slot)
        return frame

    def _release(self, frame: Frame) -> None:
        with self._lock:
            self.slots.release(frame.slot)

    def _read(self, guid: bytes, frame: Frame, page: memoryview) -> None:
        self._fill(guid, frame, 0, page)
        if frame.checksum and checksum_of(guid, frame.slot, page) != frame.checksum:
            raise self._corrupt(guid, frame, "does not match its checksum")

    def _fill(self, guid: bytes, frame: Frame, offset: int, page: memoryview) -> None:
        count = self._file.read(page, frame.slot * self._page_size + offset)
        if count < len(page):
            raise self._corrupt(guid, frame, "lies beyond the end of the file")

    def _corrupt(self, guid: bytes, frame: Frame, words: str) -> Corrupt:
        self.corrupt_reads += 1
        log.error("a frame is corrupt", guid=guid.hex(), slot=frame.slot, reason=words)
        return Corrupt(f"frame {guid.hex()} in slot {frame.slot} {words}", slot=frame.slot)
