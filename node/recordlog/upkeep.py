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
from node.recordlog.record_log import RecordLog
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import SegmentKind
from ring.errors import Corrupt, HoldfastError, StorageFault
from ring.limits import MIB

PRESSED_LIVE_SHARE_MAX: Final = 0.9

log = structlog.get_logger()


class UpkeepSettings(Struct, frozen=True):
    """interval_s: between two looks.  checkpoint_bytes of the log, checkpoint_rows in memory and
    checkpoint_s: after which a checkpoint is made; each writes about a page of the index for each
    row, so few and large ones write least.  live_share_max: a segment with less in it that
    counts is freed.  compaction_bytes_per_s: read and written by that at most.
    """

    interval_s: float = 1.0
    checkpoint_bytes: int = 128 * MIB
    checkpoint_rows: int = 100_000
    checkpoint_s: float = 300.0
    live_share_max: float = 0.5
    compaction_bytes_per_s: float = 32.0 * MIB


class _Rest(Struct, frozen=True):
    """A segment that was not worth freeing, or could not be: until when, and what lived in it."""

    until_bytes: int
    live_bytes: int


class Upkeep:
    """See the module.  failures_total: rounds that met an error."""

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
        self._sizes: dict[int, int] = {}
        self._failing: dict[str, str] = {}  # what failed last time, so that it is logged once
        self._resting: dict[int, _Rest] = {}

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
        await self._try("a checkpoint", self._checkpoint_if_due)
        await self._try("the reserve", self._keep_reserves)
        return await self.free_one()

    async def checkpoint(self) -> None:
        """Bring the table into its index; raises StorageFault, DiskFull or Corrupt."""
        applied = self._log.bytes_applied
        await self._table.checkpoint()
        self._checkpointed_bytes = applied
        self._checkpoint_at_bytes = applied + self._settings.checkpoint_bytes
        self._checkpoint_at_s = asyncio.get_running_loop().time() + self._settings.checkpoint_s

    async def free_one(self) -> bool:
        """Free the segment that costs least, if one is worth it; whether one was freed."""
        freed = self._compaction.freed_total
        for number in await self._victims():
            used_bytes = await self._used_bytes(number)
            self._rest(number, used_bytes)
            await self._try(f"freeing segment {number}", partial(self._free, number))
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
        is_much = self._table.pending >= self._settings.checkpoint_rows
        if applied >= self._checkpoint_at_bytes or is_much or (is_late and grown):
            await self.checkpoint()

    async def _free(self, number: int) -> None:
        try:
            if self._files.kinds[number] is SegmentKind.BULK:
                await self._compaction.free_bulk(number)
            else:
                await self._free_log(number)
        except Corrupt:
            self._resting[number] = _Rest(1 << 62, 0)  # kept as it is
            raise
        except FileNotFoundError as error:
            raise StorageFault(f"segment {number} is missing") from error

    async def _free_log(self, number: int) -> None:
        spoken = await self._compaction.look_at_log(number)
        cost_bytes = self._compaction.cost_bytes(number, spoken)
        tail = self._log.tail
        if tail.on_reserve and 2 * cost_bytes > tail.room_bytes():
            return
        if cost_bytes <= spoken.end * self._share_max():
            await self._compaction.free_log(number, spoken)

    def _rest(self, number: int, used_bytes: int) -> None:
        """Look at a segment again when much has been written since, or much of it has died."""
        live_bytes = self._table.live_bytes.get(number, 0)
        self._resting[number] = _Rest(self._log.bytes_applied + used_bytes, live_bytes)

    def _is_resting(self, number: int, live_bytes: int) -> bool:
        rest = self._resting.get(number)
        if rest is None or self._log.bytes_applied >= rest.until_bytes:
            return False
        return 10 * live_bytes >= 9 * rest.live_bytes

    def _share_max(self) -> float:
        """How much of a segment may count for freeing it to be worth it."""
        if self._log.tail.on_reserve or self._bulk.is_full:
            return PRESSED_LIVE_SHARE_MAX
        return self._settings.live_share_max

    async def _victims(self) -> list[int]:
        """Segments that are mostly dead, the emptiest first."""
        shares: list[tuple[float, int]] = []
        current = self._log.tail.end.segment
        for number, kind in [*self._files.kinds.items()]:
            if kind is SegmentKind.LOG and number >= current:
                continue
            if kind is SegmentKind.BULK and (
                self._bulk.is_writing(number) or self._compaction.is_waited_for(number)
            ):
                continue
            live_bytes = self._table.live_bytes.get(number, 0)
            if self._is_resting(number, live_bytes):
                continue
            share = live_bytes / max(1, await self._used_bytes(number))
            if share <= self._share_max():
                shares.append((share, number))
        return [number for _, number in sorted(shares)]

    async def _used_bytes(self, number: int) -> int:
        """Length of a segment, as far as it is used where that is known."""
        for ends in (self._log.tail.ends, self._bulk.ends, self._sizes):
            if number in ends:
                return ends[number]
        found = await self._files.disk.info(self._files.path(number))
        size_bytes = self._sizes[number] = 0 if found is None else found.size_bytes
        return size_bytes
