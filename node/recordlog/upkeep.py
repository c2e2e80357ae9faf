"""What a page record store does in the background, and when: checkpoints, the reserve, compaction.

A machine of one task.  It yields to clients by its throttle; on a full disk it frees what can be
freed with the room that the reserve has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
from msgspec import Struct

from node.index.indexed_table import IndexedTable
from node.record_change import RecordChange
from node.recordlog.bulk_writer import BulkWriter
from node.recordlog.compaction import Compaction
from node.recordlog.key_mover import ROW_BYTES_ABOUT
from node.recordlog.record_log import RecordLog
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import SegmentKind
from node.recordlog.victim_choice import Candidate, VictimChoice
from ring.errors import HoldfastError, StorageFault
from ring.limits import KIB, MIB
from ring.seams import BLOCK_BYTES

_ROWS_A_PAGE: Final = 32  # of the index
_BULK_WON_SHARE: Final = 16  # of a full bulk segment, for moving its values on a full disk

log = structlog.get_logger()


class UpkeepSettings(Struct, frozen=True):
    """interval_s: between two looks.

    checkpoint_bytes of the log and checkpoint_s: after which a checkpoint is made, and whenever the
    table says that it is full and has checkpoint_rows_min in memory (230 bytes each).  A checkpoint
    writes about a page of the index for each row until nearly all pages are, so few and large ones
    write least; what was written since is replayed by a start.
    live_share_min: of what was stored; with less that counts, segments are freed.  live_share_max:
    of a segment that is freed.  compaction_bytes_per_s: read and written by that at most.
    """

    interval_s: float = 1.0
    checkpoint_bytes: int = 512 * MIB
    checkpoint_s: float = 300.0
    checkpoint_rows_min: int = 96 * KIB
    live_share_min: float = 0.78
    live_share_max: float = 0.8
    compaction_bytes_per_s: float = 32.0 * MIB


class Upkeep:
    """See the module.  failures_total: rounds that met an error.  checkpoints_total: made here."""

    def __init__(
        self,
        *,
        settings: UpkeepSettings,
        files: SegmentFiles,
        table: IndexedTable,
        ledger: RecordLog,
        bulk: BulkWriter,
        compaction: Compaction,
        log_reserve_bytes: int,
        bulk_reserve_bytes: int,
    ) -> None:
        self.failures_total = 0
        self.checkpoints_total = 0
        self._settings = settings
        self._files = files
        self._table = table
        self._log = ledger
        self._bulk = bulk
        self._compaction = compaction
        self._log_reserve_bytes = log_reserve_bytes
        self._bulk_reserve_bytes = bulk_reserve_bytes
        self._checkpoint_at_bytes = settings.checkpoint_bytes
        self._checkpoint_at_s = 0.0
        self._checkpointed_bytes = 0
        self._seen_bytes = 0  # applied at the last look
        self._sizes: dict[int, int] = {}
        self._failing: dict[str, str] = {}  # what failed last time, so that it is logged once
        self._choice = VictimChoice(
            settings.live_share_min,
            settings.live_share_max,
            bulk_won_min_bytes=bulk_reserve_bytes // _BULK_WON_SHARE,
        )

    async def run(self) -> None:
        """Until cancelled."""
        self._checkpoint_at_s = asyncio.get_running_loop().time() + self._settings.checkpoint_s
        freed = False
        while True:
            await asyncio.sleep(0 if freed else self._settings.interval_s)
            freed = False
            try:
                freed = await self.look()
            except Exception:
                self.failures_total += 1
                log.exception("upkeep of the store failed")

    async def look(self) -> bool:
        """One round, whether a segment was freed; what fails keeps nothing else from being done."""
        await self._try("going on after a fault", self._heal)
        await self._try("putting a batch behind the last", self._seal_if_quiet)
        await self._try("a checkpoint", self._checkpoint_if_due)
        await self._try("the reserve", self._keep_reserves)
        return await self.free_one()

    async def checkpoint(self) -> None:
        """Bring the table into its index; raises StorageFault, DiskFull or Corrupt."""
        applied = self._log.bytes_applied
        await self._table.checkpoint()
        self.checkpoints_total += 1
        self._checkpointed_bytes = applied
        self._checkpoint_at_bytes = applied + self._settings.checkpoint_bytes
        self._checkpoint_at_s = asyncio.get_running_loop().time() + self._settings.checkpoint_s

    async def free_one(self) -> bool:
        """Free the segment that costs least, if one is worth it; whether one was freed."""
        freed = self._compaction.freed_total
        candidates = await self._candidates()
        applied = self._log.bytes_applied
        victims = self._choice.victims(
            candidates,
            applied,
            checkpoint_bytes=self._checkpoint_bytes_about(),
            is_pressed=self._is_pressed,
        )
        for one in victims:
            self._choice.tried(one, applied)
            await self._try(f"freeing segment {one.number}", partial(self._free, one))
            if self._compaction.freed_total > freed:
                return True
        return False

    async def _try(self, what: str, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except HoldfastError as error:
            self.failures_total += 1
            if self._failing.get(what) != error.detail:
                self._failing[what] = error.detail
                log.warning("upkeep of the store failed", what=what, error=error.detail)
        else:
            self._failing.pop(what, None)

    async def _heal(self) -> None:
        """After a failed write, have a segment say where the log ended before a start looks."""
        if self._log.tail.has_failed:
            await self._log.commit(RecordChange(), essential=True)

    async def _seal_if_quiet(self) -> None:
        applied, self._seen_bytes = self._seen_bytes, self._log.bytes_applied
        if applied == self._seen_bytes:
            await self._log.seal()

    async def _keep_reserves(self) -> None:
        """A small store, that never filled a bulk segment, does without the large reserve."""
        await self._files.keep_reserve(SegmentKind.LOG, self._log_reserve_bytes)
        if len(self._files.numbers(SegmentKind.BULK)) > 1:
            await self._files.keep_reserve(SegmentKind.BULK, self._bulk_reserve_bytes)
            if self._files.reserves[SegmentKind.BULK]:
                await self._bulk.end_rescue()

    async def _checkpoint_if_due(self) -> None:
        applied = self._log.bytes_applied
        is_late = asyncio.get_running_loop().time() >= self._checkpoint_at_s
        grown = applied > self._checkpointed_bytes
        is_full = self._table.is_full and self._table.pending >= self._settings.checkpoint_rows_min
        is_much = applied >= self._checkpoint_at_bytes or is_full
        if is_much or (is_late and grown):
            await self.checkpoint()

    async def _free(self, one: Candidate) -> None:
        try:
            if self._files.kinds[one.number] is SegmentKind.BULK:
                await self._compaction.free_bulk(one.number)
            else:
                await self._free_log(one)
        except FileNotFoundError as error:
            raise StorageFault(f"segment {one.number} is missing") from error

    async def _free_log(self, one: Candidate) -> None:
        spoken = await self._compaction.look_at_log(one.number)
        cost_bytes = await self._compaction.cost_bytes(one.number, spoken)
        tail = self._log.tail
        if tail.on_reserve and 2 * cost_bytes > tail.room_bytes():
            return
        if spoken.damage is not None:
            # It costs by the size of the table, once; and the log is whole again.
            is_worth_it = 2 * cost_bytes <= await self._files.disk.free_bytes()
        else:
            self._choice.learned(one, cost_bytes - one.live_bytes, spoken.packed_bytes)
            share_max = self._choice.share_max(is_pressed=self._is_pressed)
            is_worth_it = cost_bytes <= spoken.end * share_max
        if is_worth_it:
            await self._compaction.free_log(one.number, spoken)

    @property
    def _is_pressed(self) -> bool:
        """Whether the disk is full."""
        return self._log.tail.on_reserve or self._bulk.is_full

    async def _candidates(self) -> list[Candidate]:
        """Segments that nothing is written to any more."""
        found = []
        current = self._log.tail.end.segment
        covered = self._table.covered
        for number, kind in [*self._files.kinds.items()]:
            is_log = kind is SegmentKind.LOG
            if is_log and number >= current:
                continue
            if not is_log and (
                self._bulk.is_writing(number) or self._compaction.is_waited_for(number)
            ):
                continue
            used_bytes = await self._used_bytes(number)
            live_bytes = self._table.live_bytes.get(number, 0)
            row_bytes = self._row_bytes_about(live_bytes) if is_log else 0
            is_covered = not is_log or (covered is not None and covered.segment > number)
            found.append(
                Candidate(number, used_bytes, live_bytes, row_bytes, is_covered, is_log)
            )
        return found

    def _checkpoint_bytes_about(self) -> int:
        """What a checkpoint would write now: a page for each row, but no page twice."""
        return BLOCK_BYTES * min(self._table.pending, self._table.records // _ROWS_A_PAGE + 1)

    def _row_bytes_about(self, live_bytes: int) -> int:
        """Of the rows of so many bytes of values, if those are as large as others."""
        value_bytes = max(1, self._table.bytes_stored)
        return ROW_BYTES_ABOUT * self._table.held * live_bytes // value_bytes

    async def _used_bytes(self, number: int) -> int:
        """Length of a segment, as far as it is used where that is known."""
        for ends in (self._log.tail.ends, self._bulk.ends, self._sizes):
            if number in ends:
                return ends[number]
        found = await self._files.disk.info(self._files.path(number))
        size_bytes = self._sizes[number] = 0 if found is None else found.size_bytes
        return size_bytes
