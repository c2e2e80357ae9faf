"""PageStore: mutable frames of one size, whole after every crash.

The steps of a flush, and what a power cut leaves after each:
1.  blobs.dat is synced: every guid still is what it was at the last flush.
2.  The changed guids are appended to manifest.log with one write, or the whole map is written as a
    new manifest.bin: the old or the new frame, each guid by itself.
3.  That file is synced, and the directory when the file is new: the new frames.
4.  The slots of what was replaced become free; one that a reader holds, when the reader is done.

Rules:
1.  A write that returned is seen by every later read, and durable after the next flush that
    returns.
2.  A failed flush promises nothing: `needs_flush` stays true, and a later flush makes everything
    durable.  Nothing that was written before a failed sync is counted as durable by a later one
    without having been written again.
3.  What does not match its checksum raises Corrupt, once in the log for each time.
4.  `close` does not flush.

Errors: BadRequest for a wrong guid, buffer or range and, with the fact reason="read_only", for
changes of a store that was opened for reading; NotFound; Corrupt; DiskFull; StorageFault for a disk
that fails and for a store that was closed; Busy when another process has the store.

Source of the contract and of the file names: holt's BlobStore and FileBlobStore 0.9, as published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import structlog
from msgspec import Struct

from node.pages.block_seam import BlockDirectory, BlockFile
from node.pages.frame_file import FrameFile
from node.pages.manifest import LOG_BYTES_MIN, Manifest
from node.pages.manifest_format import GUID_BYTES
from node.pages.posix_buffers import FrameBuffers, aligned
from node.pages.posix_directory import PosixDirectory
from node.pages.posix_turns import Gate, lock
from ring.errors import BadRequest, Corrupt, DiskFull, HoldfastError, StorageFault
from ring.seams import BLOCK_BYTES

log = structlog.get_logger()

PAGE_SIZE: Final = 524_288
BLOBS: Final = "blobs.dat"


class PageStats(Struct, frozen=True):
    """Numbers of a store.

    frames: guids.  slots_used: from the first to the last slot in use, of which slots_free can be
    written and slots_waiting wait for a flush or a reader.  unflushed: guids that a flush owes.
    """

    page_size: int
    frames: int
    slots_used: int
    slots_free: int
    slots_waiting: int
    unflushed: int
    file_bytes: int
    log_bytes: int
    direct: bool
    corrupt_reads: int
    failed_syncs: int


class PageStore:
    """See the module.  Every method may be called from any thread; all block."""

    def __init__(
        self,
        directory: BlockDirectory,
        *,
        page_size: int = PAGE_SIZE,
        read_only: bool = False,
        create: bool = True,
        log_bytes_min: int = LOG_BYTES_MIN,
    ) -> None:
        """Open the store in `directory`, which is closed with it; see `open`.

        log_bytes_min: a shorter log is never replaced by a snapshot.
        """
        if page_size < BLOCK_BYTES or page_size % BLOCK_BYTES:
            raise BadRequest(f"a page size is a multiple of {BLOCK_BYTES}, {page_size} is not")
        self.page_size = page_size
        self.read_only = read_only
        self._directory = directory
        self._buffers = FrameBuffers(page_size)
        self._gate = Gate()
        self._turn = lock()
        self._held = ExitStack()
        self._held.callback(directory.close)
        try:
            directory.lock(exclusive=not read_only)
            self._open(create=create and not read_only)
            self._manifest.log_bytes_min = log_bytes_min
        except BaseException:
            self._held.close()
            raise

    @classmethod
    def open(
        cls,
        path: str,
        page_size: int = PAGE_SIZE,
        *,
        read_only: bool = False,
        create: bool = True,
        direct: bool = True,
    ) -> PageStore:
        """Open the store in the directory `path`; `create` makes an absent one.

        Waits up to 5 s for another process to let go of it, then raises Busy.  Raises Corrupt for
        damaged files and BadRequest for another page size than it was made with.
        """
        directory = PosixDirectory(path, create=create and not read_only, direct=direct)
        return cls(directory, page_size=page_size, read_only=read_only, create=create)

    # --- buffers ----------------------------------------------------------------------------------

    def alloc_blob_buf_zeroed(self) -> memoryview:
        """A writable buffer of one page, aligned to 4096, of zeros."""
        return self._buffers.zeroed()

    def alloc_blob_buf_uninit(self) -> memoryview:
        """The same, of unknown content, which is quicker."""
        return self._buffers.uninitialised()

    # --- reading ----------------------------------------------------------------------------------

    def read_blob(self, guid: bytes, buf: memoryview) -> None:
        """Copy the newest frame into `buf`; after an error its content is unknown."""
        page = aligned(buf, self.page_size)
        with self._reading(guid):
            self._frames.read(guid, page)

    def read_blobs(
        self, wanted: Sequence[tuple[bytes, memoryview]]
    ) -> list[HoldfastError | None]:
        """Read each guid into its buffer; for each, in order, the error or None."""
        outcomes: list[HoldfastError | None] = []
        for guid, buf in wanted:
            try:
                self.read_blob(guid, buf)
            except HoldfastError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
        return outcomes

    def read_blob_range(self, guid: bytes, offset: int, size: int) -> memoryview:
        """A part of the newest frame; both numbers are multiples of 4096.

        The first one of a frame reads all of it; see frame_sums.py.
        """
        if offset % BLOCK_BYTES or size % BLOCK_BYTES:
            raise BadRequest(f"ranges go in steps of {BLOCK_BYTES} bytes")
        if not 0 <= offset < offset + size <= self.page_size:
            raise BadRequest(f"bytes {offset} to {offset + size} are no range of a frame")
        with self._reading(guid):
            return self._frames.read_blocks(guid, offset, size)

    def has_blob(self, guid: bytes) -> bool:
        """Whether there is a frame."""
        with self._reading(guid):
            return self._frames.has(guid)

    def list_blobs(self) -> list[bytes]:
        """All guids, those too that were not flushed; in no order."""
        with self._gate.passed():
            return self._frames.guids()

    def stats(self) -> PageStats:
        """Numbers, each of its own moment."""
        with self._gate.passed():
            frames = self._frames
            return PageStats(
                page_size=self.page_size,
                frames=len(frames.table.frames),
                slots_used=frames.slots.next_slot,
                slots_free=frames.slots.free_count,
                slots_waiting=frames.slots.waiting_count,
                unflushed=frames.table.changed_count,
                file_bytes=frames.size_bytes,
                log_bytes=self._manifest.log_bytes,
                direct=frames.direct,
                corrupt_reads=frames.corrupt_reads,
                failed_syncs=frames.failed_syncs,
            )

    # --- writing ----------------------------------------------------------------------------------

    def write_blob(self, guid: bytes, buf: memoryview) -> None:
        """Make `buf` the newest frame of `guid`; durable after `flush`."""
        page = aligned(buf, self.page_size)
        with self._writing(guid):
            self._frames.write(guid, page)

    def write_blobs(self, batch: Sequence[tuple[bytes, memoryview]]) -> None:
        """Write each in order; the last one of a guid wins.

        On an error some were written and others not: repeat the whole batch.
        """
        pages = [(guid, aligned(buf, self.page_size)) for guid, buf in batch]
        with self._writing(*(guid for guid, _ in pages)):
            newest = {guid: number for number, (guid, _) in enumerate(pages)}
            for number, (guid, page) in enumerate(pages):
                if newest[guid] == number:
                    self._frames.write(guid, page)

    def write_blobs_with_data_sync(self, batch: Sequence[tuple[bytes, memoryview]]) -> None:
        """As `write_blobs`, and the bytes are durable, but not that they are this guid's: flush."""
        self.write_blobs(batch)
        with self._writing(), self._turn:
            self._frames.rescue()
            self._frames.sync()

    def delete_blob(self, guid: bytes) -> None:
        """Forget a frame; absent is fine.  Durable after `flush`."""
        with self._writing(guid):
            self._frames.remove(guid)

    def needs_flush(self) -> bool:
        """Whether something that returned is not durable."""
        return self._frames.table.is_changed

    def flush(self) -> None:
        """Make everything durable that returned before; see the module."""
        with self._writing(), self._turn:
            self._flush(whole=False)

    def vacuum(self) -> PageStats:
        """Flush, move frames from the end into free slots, and give the room that is free back.

        Corrupt frames stay where they are.
        """
        with self._writing(), self._turn:
            self._flush(whole=False)
            for guid, frame in self._frames.newest():
                slot = self._frames.take_below(frame.slot)
                if slot is None:
                    break
                try:
                    self._frames.move(guid, frame, slot)
                except Corrupt as error:
                    log.warning("a frame was not moved", error=error.detail)
            self._flush(whole=True)
            self._frames.shrink()
        return self.stats()

    def close(self) -> None:
        """Wait for calls under way and let go; idempotent.  What was not flushed is lost."""
        if self._gate.close():
            self._held.close()

    # --- steps ------------------------------------------------------------------------------------

    def _open(self, *, create: bool) -> None:
        directory = self._directory
        manifest = Manifest.load(directory, read_only=self.read_only)
        if manifest is None and not create:
            raise StorageFault("there is no page store in this directory")
        frames = {}
        if manifest is not None:
            self._held.callback(manifest.close)
            frames = manifest.frames
            if manifest.page_size not in {0, self.page_size}:
                raise BadRequest(
                    f"this store has pages of {manifest.page_size} bytes, not {self.page_size}"
                )
            manifest.page_size = self.page_size
        file = self._opened_blobs(len(frames))
        self._held.callback(file.close)
        if manifest is None:
            manifest = Manifest.create(directory, self.page_size)
            self._held.callback(manifest.close)
        elif not self.read_only:
            directory.sync()
        self._manifest = manifest
        self._frames = FrameFile(file, frames, self._buffers)

    def _opened_blobs(self, frames: int) -> BlockFile:
        create = not self.read_only and not frames
        try:
            return self._directory.open(
                BLOBS, create=create, read_only=self.read_only, direct=True
            )
        except FileNotFoundError as error:
            raise Corrupt(f"{BLOBS} is gone, {frames} frames with it") from error

    def _flush(self, *, whole: bool) -> None:
        manifest = self._manifest
        whole = whole or manifest.wants_whole(len(self._frames.table.frames))
        cut = self._frames.settled_cut(whole=whole)
        if not cut.changes and not whole:
            return
        self._frames.sync()
        if cut.whole is None:
            manifest.append(cut.changes)
        else:
            try:
                manifest.replace(cut.whole, cut.next_slot)
            except DiskFull as error:
                if manifest.must_replace:
                    raise
                log.warning("the manifest's log stays long", error=error.detail)
                manifest.append(cut.changes)
        self._frames.flushed(cut)

    @contextmanager
    def _reading(self, guid: bytes) -> Iterator[None]:
        _check(guid)
        with self._gate.passed():
            yield

    @contextmanager
    def _writing(self, *guids: bytes) -> Iterator[None]:
        for guid in guids:
            _check(guid)
        with self._gate.passed():
            if self.read_only:
                raise BadRequest("the page store was opened for reading", reason="read_only")
            yield


def _check(guid: bytes) -> None:
    if len(guid) != GUID_BYTES:
        raise BadRequest(f"a guid is {GUID_BYTES} bytes")
