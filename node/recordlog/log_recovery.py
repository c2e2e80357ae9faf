"""Reading a log back: what a table does not have yet, or all of it.

Rules:
1.  Replay begins at the place that the table's checkpoint covers and goes through the segments in
    the order of their numbers.  A segment ends where its successor says, else where a cut says,
    else where a batch does not check.
2.  A torn last batch is cut off.  Damaged rows before that are not repaired here: Corrupt, in
    words.  A store that forgot a tombstone or a floor must not go on as if it knew.  Damaged
    values are left to whoever reads them.
3.  A covered place that the log does not have means that the table belongs to another log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import structlog

from node.index.location import Position
from node.recordlog.batch import StoredBatch
from node.recordlog.batch_reader import BatchReader
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import LogEnd, SegmentHead, SegmentKind
from ring.errors import Corrupt
from ring.seams import BLOCK_BYTES

_ADVICE: Final = (
    "Do not repair it by hand: replace the node and let it fetch its records from the others"
)

_WHOLE_SEGMENT: Final = 1 << 62

log = structlog.get_logger()


class LogReplay:
    """Replays a log once: iterate over `batches`, then look at `end` and `last`.

    end: of the log.  last: the last batch, if it is in the last segment.  is_certain: whether the
    end is known to follow what came before; where not, a new segment has to be begun.
    """

    def __init__(self, files: SegmentFiles) -> None:
        self.end = LogEnd()
        self.last: StoredBatch | None = None
        self.is_certain = True
        self.cuts: tuple[Position, ...] = ()
        self._files = files
        self._heads: dict[int, SegmentHead] = {}

    async def find(self, covered: Position | None) -> Position | None:
        """Read the heads; where to begin, None for the beginning.  Raises Corrupt, StorageFault."""
        files = self._files
        numbers = files.numbers(SegmentKind.LOG)
        newest = await files.head(numbers[-1])
        files.store_id = newest.store_id
        if covered is not None and not await self._has(covered):
            log.warning("the index is of another log and is not used", covered=str(covered))
            covered = None
        for number in numbers:
            if covered is None or number >= covered.segment:
                head = self._heads[number] = await files.head(number)
                if (head.store_id, head.number, head.kind) != (
                    files.store_id,
                    number,
                    SegmentKind.LOG,
                ):
                    raise Corrupt(f"{files.path(number)} is of another store or place.  {_ADVICE}")
        present = {*numbers}
        self.cuts = tuple(cut for cut in newest.cuts if cut.segment in present)
        return covered

    async def batches(self, covered: Position | None) -> AsyncIterator[StoredBatch]:
        """What a table that has everything before `covered` lacks; raises Corrupt, StorageFault."""
        numbers = list(self._heads)
        ends = self._ends(numbers)
        for number in numbers:
            self._enter(self._heads[number])
            start = BLOCK_BYTES
            if covered is not None and number == covered.segment:
                start = covered.offset
            async with self._files.reading(number) as file:
                end = ends.get(number)
                reader = BatchReader(
                    self._files.store_id,
                    file,
                    await file.size_bytes(),
                    self.end,
                    known_bytes=self._known_bytes(number, end),
                )
                async for batch in self._segment(reader, start, end):
                    yield batch

    async def _segment(
        self, reader: BatchReader, start: int, end: int | None
    ) -> AsyncIterator[StoredBatch]:
        """The batches of one segment from `start` on, up to `end` or where they stop."""
        number = self.end.segment
        while end is None or self.end.offset < end:
            batch = await reader.next()
            if batch is None and self.end.offset < start:
                batch = await self._skip(reader, start)
            if batch is None:
                break
            self.end, self.last = batch.end, batch
            if batch.start >= start:
                yield batch
        path = self._files.path(number)
        if end is not None and self.end.offset != end:
            raise Corrupt(
                f"{path} is damaged at byte {self.end.offset}, it went on to {end}.  {_ADVICE}"
            )
        if end is None and self.is_certain and await reader.is_followed():
            raise Corrupt(
                f"{path} is damaged at byte {self.end.offset}: batches follow that were written"
                f" later.  {_ADVICE}"
            )

    async def _skip(self, reader: BatchReader, start: int) -> StoredBatch | None:
        """Go on at `start` over damage that the index makes good; the batch there, if any."""
        segment = self.end.segment
        log.warning("the log is damaged where the index has it", segment=segment)
        batch = await reader.resume(start)
        if batch is not None and batch.start == start:
            return batch
        if batch is not None:
            raise Corrupt(f"{self._files.path(segment)} is damaged at byte {start}.  {_ADVICE}")
        self.is_certain = False
        sequence = self.end.sequence + start // BLOCK_BYTES  # more than there can be
        self.end = LogEnd(segment, start, sequence)
        return None

    def _enter(self, head: SegmentHead) -> None:
        """Go on with a segment; raises Corrupt if it does not follow the one before."""
        follows = head.follows
        if self.end.segment and self.is_certain and self._is_next(follows):
            reached = (self.end.sequence, self.end.checksum)
            if reached != (follows.sequence, follows.checksum):
                raise Corrupt(
                    f"{self._files.path(head.number)} follows batch {follows.sequence}, the log"
                    f" before it ends with {self.end.sequence}.  {_ADVICE}"
                )
        self.is_certain = True
        self.last = None
        self.end = LogEnd(head.number, BLOCK_BYTES, follows.sequence, follows.checksum)

    def _is_next(self, follows: LogEnd) -> bool:
        """Whether no segment was removed between the one that was read and the next."""
        return follows.segment in self._heads

    def _ends(self, numbers: list[int]) -> Mapping[int, int]:
        """Where segments end of which others tell."""
        ends = {cut.segment: cut.offset for cut in self.cuts}
        for number in numbers:
            follows = self._heads[number].follows
            ends[follows.segment] = follows.offset
        return ends

    def _known_bytes(self, number: int, end: int | None) -> int:
        """Up to where a segment is part of the log, whatever became of values in it.

        A segment is begun only when all before it is synced, or with a cut: so only the newest can
        end in a torn batch, also when it is not known any more where an older one ended.
        """
        if end is not None or number == max(self._heads):
            return end or 0
        return _WHOLE_SEGMENT

    async def _has(self, covered: Position) -> bool:
        if self._files.kinds.get(covered.segment) is not SegmentKind.LOG:
            return False
        async with self._files.reading(covered.segment) as file:
            return covered.offset <= await file.size_bytes()
