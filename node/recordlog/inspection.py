"""Rebuild and check of a page record store that no process has open.

Both read every segment.  `rebuild` makes the index anew from the log alone; `check` changes nothing
in the segments and says what it found as values, in the order in which it came upon it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from node.index.index import IndexHome
from node.index.indexed_table import IndexedTable, open_table
from node.index.location import Location
from node.record_row import pack_row
from node.record_table import RecordTable
from node.recordlog.log_recovery import LogReplay
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import SegmentKind
from node.value_check import Offload, ValueCheck, in_place
from ring.errors import Corrupt, StorageFault
from ring.limits import MIB
from ring.record import RecordKey
from ring.seams import Disk

CHECKPOINT_BYTES: Final = 64 * MIB
_SLICE_KEYS: Final = 256


class Progress(Struct, frozen=True):
    """How far a walk has come; both in bytes."""

    done_bytes: int
    all_bytes: int


OnProgress = Callable[[Progress], None]


class Problem(enum.Enum):
    """What can be wrong."""

    DAMAGED_LOG = "damaged log"  # and the rest of the check could not be done
    BAD_COPY = "bad copy"
    MISSING_COPY = "missing copy"
    UNREADABLE_COPY = "unreadable copy"
    INDEX_DIFFERS = "index differs"
    DAMAGED_INDEX = "damaged index"


class Finding(Struct, frozen=True):
    """One thing that is wrong.  key: RecordKey.raw of the record, None when it is about more."""

    problem: Problem
    detail: str
    key: bytes | None = None


class Report(Struct, frozen=True):
    """What a check saw.  records: rows of the log.  copies: values read and found good."""

    segments: int
    records: int
    copies: int
    findings: tuple[Finding, ...]


class Rebuilt(Struct, frozen=True):
    """What a rebuild made."""

    segments: int
    batches: int
    records: int


class _Walk:
    """Counts bytes of the log as they are read."""

    def __init__(self, files: SegmentFiles, tell: OnProgress) -> None:
        self._files = files
        self._tell = tell
        self._sizes: dict[int, int] = {}
        self._done_bytes = 0

    async def begin(self) -> None:
        """Find out how much there is."""
        for number in self._files.kinds:
            found = await self._files.disk.info(self._files.path(number))
            self._sizes[number] = 0 if found is None else found.size_bytes
        self.moved(0)

    def moved(self, size_bytes: int) -> None:
        """So much more was read."""
        self._done_bytes += size_bytes
        self._tell(Progress(self._done_bytes, max(self._done_bytes, sum(self._sizes.values()))))


async def rebuild(disk: Disk, home: IndexHome, tell: OnProgress) -> Rebuilt:
    """Make the index anew.  Raises Corrupt for a damaged or missing log, StorageFault, DiskFull.

    The last batch is not brought into the index: the next start does that, after having written it
    anew.
    """
    files = SegmentFiles(disk)
    await files.look()
    if not files.numbers(SegmentKind.LOG):
        raise Corrupt("log/ is empty, so there is nothing to make an index from: is it mounted?")
    opened = await open_table(home)
    await opened.table.close()
    await home.discard()
    table = (await open_table(home)).table
    try:
        return await _rebuild(files, table, tell)
    finally:
        await table.close()
        await files.close()


async def _rebuild(files: SegmentFiles, table: IndexedTable, tell: OnProgress) -> Rebuilt:
    walk = _Walk(files, tell)
    await walk.begin()
    replay = LogReplay(files)
    await replay.find(None)
    batches = pending_bytes = 0
    held_back = None
    async for batch in replay.batches(None):
        if held_back is not None:
            table.apply(*held_back.contents(), held_back.end.position)
        held_back = batch
        batches += 1
        size_bytes = batch.end.offset - batch.start
        walk.moved(size_bytes)
        pending_bytes += size_bytes
        if pending_bytes >= CHECKPOINT_BYTES:
            pending_bytes = 0
            await table.checkpoint()
    await table.checkpoint()
    numbers = files.numbers(SegmentKind.LOG)
    return Rebuilt(len(numbers), batches, table.records)


async def check(
    disk: Disk, home: IndexHome, tell: OnProgress, *, offload: Offload = in_place
) -> Report:
    """Replay the log in memory, hash every copy, compare with the index.  Raises StorageFault.

    Memory: as node/record_table.py, and about 100 bytes more for each copy.
    """
    files = SegmentFiles(disk)
    await files.look()
    walk = _Walk(files, tell)
    await walk.begin()
    opened = await open_table(home)
    try:
        return await _Check(files, opened.table, walk, ValueCheck(offload)).run()
    finally:
        await opened.table.close()
        await files.close()


class _Check:
    def __init__(
        self, files: SegmentFiles, index: IndexedTable, walk: _Walk, values: ValueCheck
    ) -> None:
        self._files = files
        self._index = index
        self._walk = walk
        self._values = values
        self._table = RecordTable()
        self._locations: dict[bytes, Location] = {}
        self._findings: list[Finding] = []
        self._copies = 0

    async def run(self) -> Report:
        """The whole check."""
        try:
            await self._replay()
        except Corrupt as error:
            self._found(Problem.DAMAGED_LOG, error.detail)
        else:
            await self._read_copies()
            await self._compare()
        return Report(
            len(self._files.kinds), self._table.records, self._copies, tuple(self._findings)
        )

    async def _replay(self) -> None:
        if not self._files.numbers(SegmentKind.LOG):
            return
        covered = await LogReplay(self._files).find(self._index.covered)
        if covered is None and self._index.covered is not None:
            self._found(Problem.INDEX_DIFFERS, "the index is of another log")
        replay = LogReplay(self._files)
        await replay.find(None)
        async for batch in replay.batches(None):
            change, places = batch.contents()
            self._table.apply(change)
            for key in change.dropped:
                self._locations.pop(key, None)
            for key, at in places.items():
                if at is None:
                    self._locations.pop(key, None)
                else:
                    self._locations[key] = at
            if covered is None or batch.end.position > covered:
                self._index.apply(change, places, batch.end.position)
            self._walk.moved(batch.end.offset - batch.start)

    async def _read_copies(self) -> None:
        after: bytes | None = None
        while keys := self._table.order.after(after, _SLICE_KEYS):
            for raw in keys:
                if self._table.state(raw).held:
                    await self._read_copy(raw)
            after = keys[-1]

    async def _read_copy(self, raw: bytes) -> None:
        key, state, at = RecordKey.from_raw(raw), self._table.state(raw), self._locations.get(raw)
        if at is None:
            self._found(Problem.MISSING_COPY, f"{key.digest}: the log says nowhere", raw)
            return
        place = f"segment {at.segment}, byte {at.offset}"
        try:
            async with self._files.reading(at.segment) as file:
                value = await file.read(at.offset, at.size_bytes)
        except FileNotFoundError:
            self._found(Problem.MISSING_COPY, f"{key.digest}: {place} is not there", raw)
        except StorageFault as error:
            self._found(Problem.UNREADABLE_COPY, f"{key.digest}: {place}: {error.detail}", raw)
        else:
            self._walk.moved(len(value))
            if await self._values.is_good(key, state.kind, state.size_bytes, value):
                self._copies += 1
            else:
                self._found(Problem.BAD_COPY, f"{key.digest}: {place}", raw)

    async def _compare(self) -> None:
        """The index, with what the log says after it, against the log alone."""
        index, table = self._index, self._table
        wrong = await index.verify()
        if wrong is not None:
            self._found(Problem.DAMAGED_INDEX, wrong)
            return
        if (index.records, index.held) != (table.records, table.held):
            has = f"{index.records} records and {index.held} copies"
            ought = f"{table.records} and {table.held}"
            self._found(Problem.INDEX_DIFFERS, f"the index has {has}, the log {ought}")
        if index.floors() != table.floors():
            self._found(Problem.INDEX_DIFFERS, "the floors are others")
        after: bytes | None = None
        while keys := table.order.after(after, _SLICE_KEYS):
            for raw in keys:
                self._compare_one(raw)
            after = keys[-1]

    def _compare_one(self, raw: bytes) -> None:
        index, table = self._index, self._table
        state = table.state(raw)
        at = self._locations.get(raw) if state.held else None
        same = pack_row(index.state(raw)) == pack_row(state) and index.location(raw) == at
        same = same and index.claimants(raw, None, 1000) == table.claimants(raw, None, 1000)
        if not same:
            digest = RecordKey.from_raw(raw).digest
            self._found(Problem.INDEX_DIFFERS, f"{digest}: the index has another row", raw)

    def _found(self, problem: Problem, detail: str, key: bytes | None = None) -> None:
        self._findings.append(Finding(problem, detail, key))
