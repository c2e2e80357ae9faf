"""Reading the batches of a log segment one after the other.

Rules:
1.  A batch counts if its checksum is right for the place where it stands and it follows the batch
    before.  What does not ends the log there, unless a batch follows that was written later: the
    log is synced before it grows, so that is damage and no torn write.
2.  If its values do not check, it is torn when it is the last: it ends the log.  When another
    follows, or the segment is known to have gone on, values of it rotted: it counts.
"""

from __future__ import annotations

from typing import Final

from node.recordlog.batch import HEADER_BYTES, MAGIC, StoredBatch, opened, used_bytes_at
from node.recordlog.segment_head import LogEnd
from ring.limits import MIB
from ring.seams import BLOCK_BYTES, File

_WINDOW_BYTES: Final = MIB


class BatchReader:
    """Reads on from `end`, which moves behind each batch that it gives.

    known_bytes: up to where the segment is known, from elsewhere, to be part of the log.
    """

    def __init__(
        self,
        store_id: bytes,
        file: File,
        size_bytes: int,
        end: LogEnd,
        *,
        known_bytes: int = 0,
    ) -> None:
        self.end = end
        self._store_id = store_id
        self._file = file
        self._size_bytes = size_bytes
        self._known_bytes = known_bytes
        self._window = b""
        self._window_at = 0

    async def next(self) -> StoredBatch | None:
        """The batch that follows, None where none does; raises StorageFault."""
        batch = await self._sound_at(self.end.offset)
        if batch is None or not batch.follows(self.end):
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
                    batch = await self._sound_at(offset + at)
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

    async def _sound_at(self, offset: int) -> StoredBatch | None:
        """The batch at `offset` unless it is torn."""
        batch = await self._batch_at(offset)
        if batch is None or batch.is_whole or batch.end.offset <= self._known_bytes:
            return batch
        after = await self._batch_at(batch.end.offset)
        return batch if after is not None and after.follows(batch.end) else None

    async def _batch_at(self, offset: int) -> StoredBatch | None:
        if offset + HEADER_BYTES > self._size_bytes:
            return None
        used_bytes = used_bytes_at(await self._peek(offset, HEADER_BYTES))
        if used_bytes is None or offset + used_bytes > self._size_bytes:
            return None
        data = await self._peek(offset, used_bytes)
        return opened(self._store_id, self.end.segment, offset, data)

    async def _peek(self, offset: int, size_bytes: int) -> bytes:
        start = offset - self._window_at
        if start < 0 or start + size_bytes > len(self._window):
            wanted = min(max(size_bytes, _WINDOW_BYTES), self._size_bytes - offset)
            self._window = await self._file.read(offset, wanted)
            self._window_at, start = offset, 0
        return self._window[start : start + size_bytes]
