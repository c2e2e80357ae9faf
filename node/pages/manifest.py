"""manifest.bin and manifest.log on disk: the durable map from guids to frames.

Rules:
1.  `append` returns when the changes are durable.  A new log's directory is synced.
2.  After a failed append the log is never appended to again: the next flush writes a snapshot,
    which covers whatever the failed one may have left behind, and begins a new log.
3.  A snapshot is written beside the old one, synced, renamed and its directory synced before the
    log that it replaces goes away.
4.  What a log says may be in the page cache alone: its writer was killed before the sync, or the
    sync failed and its retry would lie.  So `load` writes the last flush's records again and syncs.

Not thread-safe: one flush at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from node.pages.block_seam import BlockDirectory, BlockFile
from node.pages.manifest_format import (
    Frame,
    LogTail,
    Snapshot,
    decode_log,
    decode_snapshot,
    encode_log,
)
from ring.errors import Corrupt, HoldfastError
from ring.limits import MIB

log = structlog.get_logger()

SNAPSHOT: Final = "manifest.bin"
TEMPORARY: Final = "manifest.bin.tmp"
LOG: Final = "manifest.log"
LOG_BYTES_MIN: Final = MIB
_LOG_SHARE: Final = 4  # a log is replaced when it is so many times as long as the snapshot would be
_ENTRY_BYTES: Final = 40


class Manifest:
    """See the module.  Made by `load` or `create`.

    frames: what was durable when it was loaded.  page_size: 0 when the files do not say.
    log_bytes_min: a shorter log is never replaced for its length.
    """

    def __init__(self, directory: BlockDirectory, page_size: int) -> None:
        self.page_size = page_size
        self.log_bytes_min = LOG_BYTES_MIN
        self.frames: dict[bytes, Frame] = {}
        self._directory = directory
        self._sequence = 0
        self._log: BlockFile | None = None
        self._log_bytes = 0
        self._log_is_over = False

    @classmethod
    def create(cls, directory: BlockDirectory, page_size: int) -> Manifest:
        """An empty map, durable with its page size."""
        manifest = cls(directory, page_size)
        manifest.replace({}, 0)
        return manifest

    @classmethod
    def load(cls, directory: BlockDirectory, *, read_only: bool) -> Manifest | None:
        """What the files say, None when there are none; a torn tail is cut off unless read-only.

        Raises Corrupt for damage.
        """
        whole, changes = _content(directory, SNAPSHOT), _content(directory, LOG)
        if whole is None and changes is None:
            return None
        snapshot = Snapshot({}, 0) if whole is None else decode_snapshot(whole, SNAPSHOT)
        manifest = cls(directory, snapshot.page_size)
        numbered = snapshot.page_size > 0
        tail = decode_log(changes or b"", LOG, snapshot.sequence if numbered else None)
        manifest.frames = _replayed(snapshot.frames, tail)
        manifest._sequence = tail.sequence
        manifest._log_is_over = not numbered  # the numbers begin with a snapshot that has them
        if not read_only and changes is not None:
            try:
                manifest._go_on(changes, tail)
            except HoldfastError:
                manifest.close()
                raise
        return manifest

    @property
    def log_bytes(self) -> int:
        """Length of the log."""
        return self._log_bytes

    def wants_whole(self, entries: int) -> bool:
        """Whether the next flush should come with the whole map: `replace` instead of `append`."""
        return self._log_is_over or self.is_long(entries)

    def is_long(self, entries: int) -> bool:
        """Whether the log has grown so long that a snapshot is better."""
        bound = max(self.log_bytes_min, _LOG_SHARE * _ENTRY_BYTES * entries)
        return self._log_bytes >= bound

    @property
    def must_replace(self) -> bool:
        """Whether the log may not be appended to (rule 2)."""
        return self._log_is_over

    def append(self, changes: Sequence[tuple[bytes, Frame | None]]) -> None:
        """Make the changes durable; after StorageFault or DiskFull they may be or not."""
        assert not self._log_is_over
        self._sequence += 1
        data = encode_log(changes, self._sequence)
        try:
            is_new = self._log is None
            if self._log is None:
                self._log = self._directory.open(LOG, create=True)
            self._log.write(data, self._log_bytes)
            self._log.sync()
            if is_new:
                self._directory.sync()
        except HoldfastError:
            self._log_is_over = True
            raise
        self._log_bytes += len(data)

    def replace(self, frames: Mapping[bytes, Frame], next_slot: int) -> None:
        """Make the whole map durable and begin a new log.

        It must hold all that was ever given to `append`, successfully or not.
        """
        directory = self._directory
        whole = Snapshot(frames, next_slot, self.page_size, self._sequence).encode()
        directory.unlink(TEMPORARY)
        file = directory.open(TEMPORARY, create=True)
        try:
            file.write(whole, 0)
            file.sync()
        finally:
            file.close()
        directory.rename(TEMPORARY, SNAPSHOT)
        directory.sync()
        self._log_is_over = True
        self.close()
        directory.unlink(LOG)
        self._log_bytes = 0
        self._log_is_over = False

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _go_on(self, data: bytes, tail: LogTail) -> None:
        """Make sure of what was read before anything is built upon it (rule 4)."""
        directory = self._directory
        directory.unlink(TEMPORARY)
        self._log = directory.open(LOG)
        self._log_bytes = tail.good_bytes
        if tail.good_bytes < len(data):
            log.warning("the end of the manifest's log was torn", bytes=len(data) - tail.good_bytes)
            self._log.truncate(tail.good_bytes)
        if tail.good_bytes > tail.last_flush_at:
            self._log.write(data[tail.last_flush_at : tail.good_bytes], tail.last_flush_at)
        self._log.sync()


def _replayed(frames: Mapping[bytes, Frame], tail: LogTail) -> dict[bytes, Frame]:
    result = dict(frames)
    for change in tail.changes:
        if change.frame is None:
            result.pop(change.guid, None)
        else:
            result[change.guid] = change.frame
    if len({frame.slot for frame in result.values()}) < len(result):
        raise Corrupt(f"{LOG} puts two frames into one slot")
    return result


def _content(directory: BlockDirectory, name: str) -> bytes | None:
    try:
        file = directory.open(name, read_only=True)
    except FileNotFoundError:
        return None
    try:
        data = bytearray(file.size_bytes())
        count = file.read(memoryview(data), 0) if data else 0
        return bytes(data[:count])
    finally:
        file.close()
