"""A page record store whose stored values can be replaced by others, and looked into."""

from __future__ import annotations

from node.index.indexed_table import IndexedTable
from node.record_change import RecordChange
from node.record_row import pack_row
from node.recordlog.bulk_writer import BulkSizes
from node.recordlog.log_tail import LogSizes
from node.recordlog.page_store import PageRecordStore, PageSettings
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.upkeep import UpkeepSettings
from ring.limits import KIB, MIB
from ring.record import RecordKey, RecordKind, RecordState, live

SMALL_PAGES = PageSettings(
    log=LogSizes(
        segment_bytes=256 * KIB,
        step_bytes=32 * KIB,
        step_bytes_max=128 * KIB,
        reserve_bytes=128 * KIB,
        batch_bytes=128 * KIB,
    ),
    bulk=BulkSizes(segment_bytes=16 * MIB, step_bytes=8 * MIB),
    upkeep=UpkeepSettings(checkpoint_bytes=128 * KIB),
)


class DamageablePageStore(PageRecordStore):
    """See the module."""

    @property
    def table(self) -> IndexedTable:
        return self._indexed

    @property
    def files(self) -> SegmentFiles:
        return self._files

    async def damage(self, key: RecordKey, kind: RecordKind, value: bytes) -> None:
        """Have `value` be what is stored, without a look at it."""
        row = pack_row(self._table.state(key.raw))
        await self._values.write(key, kind, value)
        await self._ledger.commit(RecordChange(rows={key.raw: row}))

    async def remember(self, rows: dict[bytes, int]) -> None:
        """Have the table know rows, all in one change."""
        await self._ledger.commit(RecordChange(rows=rows))

    async def stage(self, key: RecordKey, value: bytes) -> None:
        """What a put does before it commits."""
        await self._values.write(key, RecordKind.DATA, value)

    async def commit_staged(self, key: RecordKey, size_bytes: int) -> None:
        """What a put does then."""
        state = RecordState(RecordKind.DATA, size_bytes, live(1), held=True)
        await self._ledger.commit(RecordChange(rows={key.raw: pack_row(state)}))
