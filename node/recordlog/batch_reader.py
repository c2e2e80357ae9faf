"""Reading the batches of a log segment one after the other.

A batch counts if its checksum is right for the place where it stands and it follows the batch
before.  What does not ends the log there, unless a batch follows that was written later: the log is
synced before it grows, so that is damage and no torn write.
"""

from __future__ import annotations

from typing import Final

from node.recordlog.batch import HEADER_BYTES, MAGIC, StoredBatch, body_bytes_at, opened
from node.recordlog.segment_head import LogEnd
from ring.limits import MIB
from ring.seams import BLOCK_BYTES, File

_WINDOW_BYTES: Final = MIB


class BatchReader:
    """Reads on from `end`, which moves behind each batch that it gives."""

    def __init__(self, store_id: bytes, file: File, size_bytes: int, end: LogEnd) -> None:
        self.end = end
        self._store_id = store_id
        self._file = file
        self._size_bytes = size_bytes
        self._window = b""
        self._window_at = 0

    async def next(self) -> StoredBatch | None:
        """The batch that follows, None where none does; raises StorageFault."""
        batch = await self._batch_at(self.end.offset)
        if batch is None or batch.end.sequence != self.end.sequence + 1:
            return None
        if batch.previous != self.end.checksum:
            return None
        self.end = batch.end
        return batch

    async def resume(self, offset: int) -> StoredBatch | None:
        """The first batch from `offset` on that checks, whatever it follows; or StorageFault."""
        while offset < self._size_bytes:
            window = await self._peek(offset, min(_WINDOW_BYTES, self._size_bytes - offset))
            at = window.find(MAGIC)
            while at >= 0:
                if at % BLOCK_BYTES == 0:
                    batch = await self._batch_at(offset + at)
                    if batch is not None:
                        self.end = batch.end
                        return batch
                at = window.find(MAGIC, at + 1)
            offset += _WINDOW_BYTES
        return None

    async def is_followed(self) -> bool:
        """Whether a batch that was written later stands anywhere behind `end`."""
        end = self.end
        at = end.offset
        while (batch := await self.resume(at)) is not None:
            if batch.end.sequence > end.sequence:
                self.end = end
                return True
            at = batch.start + BLOCK_BYTES
        self.end = end
        return False

    async def _batch_at(self, offset: int) -> StoredBatch | None:
        if offset + HEADER_BYTES > self._size_bytes:
            return None
        length = body_bytes_at(await self._peek(offset, HEADER_BYTES))
        if length is None or offset + HEADER_BYTES + length > self._size_bytes:
            return None
        data = await self._peek(offset, HEADER_BYTES + length)
        return opened(self._store_id, self.end.segment, offset, data)

    async def _peek(self, offset: int, size_bytes: int) -> bytes:
        start = offset - self._window_at
        if start < 0 or start + size_bytes > len(self._window):
            wanted = min(max(size_bytes, _WINDOW_BYTES), self._size_bytes - offset)
            self._window = await self._file.read(offset, wanted)
            self._window_at, start = offset, 0
        return self._window[start : start + size_bytes]
