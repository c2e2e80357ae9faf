"""The values of a page record store.

A small value waits for the commit of its record and becomes durable with it; a large one is durable
before.  Neither is seen before the log has it: reads ask the table where a value lies.
"""

from __future__ import annotations

from itertools import count
from typing import Final

import structlog

from node.file_paths import quarantine_name, quarantined_below
from node.file_span import FileSpan, SpanFile
from node.index.located_table import LocatedTable
from node.index.location import Location
from node.record_change import RecordChange
from node.recordlog.bulk_writer import BulkWriter
from node.recordlog.record_log import RecordLog
from node.recordlog.segment_files import SegmentFiles
from ring.digest import Buffer
from ring.errors import StorageFault
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.record import RecordKey, RecordKind
from ring.seams import Randomness

QUARANTINE: Final = "quarantine"

log = structlog.get_logger()


class PageValues:
    """node.values.Values over segments."""

    def __init__(
        self,
        files: SegmentFiles,
        table: LocatedTable,
        ledger: RecordLog,
        bulk: BulkWriter,
        randomness: Randomness,
        *,
        reserve_bytes: int,
    ) -> None:
        self._files = files
        self._table = table
        self._ledger = ledger
        self._bulk = bulk
        self._reserve_bytes = reserve_bytes
        self._process = randomness.octets(8).hex()
        self._numbers = count()

    async def read(self, key: RecordKey, kind: RecordKind) -> Buffer:
        at = self._location(key)
        async with self._files.reading(at.segment) as file:
            return await file.read(at.offset, at.size_bytes)

    def read_now(self, key: RecordKey, kind: RecordKind) -> Buffer | None:
        at = self._location(key)
        if at.size_bytes > PAYLOAD_SMALL_BYTES_MAX:
            return None
        file = self._files.reader_now(at.segment)
        return None if file is None else file.read_now(at.offset, at.size_bytes)

    async def write(self, key: RecordKey, kind: RecordKind, value: Buffer) -> None:
        if not self.write_now(key, kind, value):
            self._ledger.staged[key.raw] = await self._bulk.write(key.raw, kind, value)

    def write_now(self, key: RecordKey, kind: RecordKind, value: Buffer) -> bool:
        if len(value) > PAYLOAD_SMALL_BYTES_MAX:
            return False
        self._ledger.staged[key.raw] = value
        return True

    async def write_again(self, key: RecordKey, kind: RecordKind, value: Buffer) -> None:
        """`write` of a value that is here and has to move, also on a full disk."""
        if not self.write_now(key, kind, value):
            at = await self._bulk.write(key.raw, kind, value, rescue=True)
            self._ledger.staged[key.raw] = at

    async def remove(self, key: RecordKey, kind: RecordKind) -> None:
        """The log removes a value with the row that does not hold it any more."""
        self._ledger.staged.pop(key.raw, None)

    async def quarantine(self, key: RecordKey, kind: RecordKind) -> None:
        at = self._table.location(key.raw)
        if at is None:
            return
        await self.set_aside(key, kind, at)
        await self._ledger.commit_places(RecordChange(), {key.raw: None}, essential=True)

    async def quarantined(self, key: RecordKey) -> list[str]:
        return await quarantined_below(self._files.disk, QUARANTINE, key)

    async def set_aside(self, key: RecordKey, kind: RecordKind, at: Location) -> None:
        """Save a bad copy durably as a plain file; what cannot be read is lost."""
        try:
            async with self._files.reading(at.segment) as file:
                value = await file.read(at.offset, at.size_bytes)
        except (FileNotFoundError, StorageFault) as error:
            log.warning("a bad copy cannot be kept", digest=str(key.digest), error=str(error))
            return
        disk = self._files.disk
        unique = f"{self._process}-{next(self._numbers)}"
        path = f"{QUARANTINE}/{quarantine_name(key, kind, unique)}"
        await disk.make_directories(QUARANTINE)
        try:
            await disk.publish(f"{path}.tmp", path, value)
            await disk.sync_directory(QUARANTINE)
        except FileNotFoundError as error:
            raise StorageFault(f"{QUARANTINE} vanished") from error

    async def open_span(self, key: RecordKey, kind: RecordKind) -> FileSpan | None:
        at = self._location(key)
        async with self._files.reading(at.segment) as file:
            if not isinstance(file, SpanFile):
                return None
            return await file.span(at.offset, at.size_bytes)

    async def bytes_free(self) -> int:
        if self._ledger.tail.on_reserve:
            return 0
        free = await self._files.disk.free_bytes()
        return max(0, free + self._bulk.room_bytes() - self._reserve_bytes)

    def _location(self, key: RecordKey) -> Location:
        at = self._table.location(key.raw)
        if at is None:
            raise FileNotFoundError(f"{key.digest} is not here")
        return at
