"""What a page record store does in the background, and when: checkpoints, the reserve, compaction.

A machine of one task.  It yields to clients by its throttle; on a full disk it frees what can be
freed with the room that the reserve has left.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from msgspec import Struct

from node.index.located_table import LocatedTable
from node.recordlog.bulk_writer import BulkWriter
from node.recordlog.compaction import Compaction
from node.recordlog.record_log import RecordLog
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import SegmentKind
from ring.errors import Corrupt, HoldfastError
from ring.limits import MIB

PRESSED_LIVE_SHARE_MAX: Final = 0.9

log = structlog.get_logger()


class UpkeepSettings(Struct, frozen=True):
    """interval_s: between two looks.  checkpoint_bytes: of the log, and checkpoint_s: after which a
    checkpoint is made.  live_share_max: a segment with less in it that counts is freed.
    compaction_bytes_per_s: read and written by that at most.
    """

    interval_s: float = 1.0
    checkpoint_bytes: int = 16 * MIB
    checkpoint_s: float = 60.0
    live_share_max: float = 0.5
    compaction_bytes_per_s: float = 32.0 * MIB


class Upkeep:
    """See the module.  failures_total: rounds that met an error."""

    def __init__(
        self,
        *,
        settings: UpkeepSettings,
        files: SegmentFiles,
        table: LocatedTable,
        ledger: RecordLog,
        bulk: BulkWriter,
        compaction: Compaction,
        reserve_bytes: int,
    ) -> None:
        self.failures_total = 0
        self._settings = settings
        self._files = files
        self._table = table
        self._log = ledger
        self._bulk = bulk
        self._compaction = compaction
        self._reserve_bytes = reserve_bytes
        self._checkpoint_at_bytes = settings.checkpoint_bytes
        self._checkpoint_at_s = 0.0
        self._checkpointed_bytes = 0
        self._sizes: dict[int, int] = {}
        self._resting: dict[int, int] = {}  # until the log has grown to this

    async def run(self) -> None:
        """Until cancelled."""
        self._checkpoint_at_s = asyncio.get_running_loop().time() + self._settings.checkpoint_s
        while True:
            await asyncio.sleep(self._settings.interval_s)
            try:
                await self.look()
            except HoldfastError as error:
                self.failures_total += 1
                log.warning("upkeep of the store failed", error=error.detail)
            except Exception:
                self.failures_total += 1
                log.exception("upkeep of the store failed")

    async def look(self) -> None:
        """One round."""
        await self._checkpoint_if_due()
        await self._files.keep_reserve(self._reserve_bytes)
        while await self.free_one():
            pass

    async def checkpoint(self) -> None:
        """Bring the table into its index; raises StorageFault, DiskFull or Corrupt."""
        settings = self._settings
        self._checkpoint_at_bytes = self._log.bytes_applied + settings.checkpoint_bytes
        self._checkpoint_at_s = asyncio.get_running_loop().time() + settings.checkpoint_s
        applied = self._log.bytes_applied
        await self._table.checkpoint()
        self._checkpointed_bytes = applied

    async def free_one(self) -> bool:
        """Free the segment that costs least, if one is worth it; whether one was freed."""
        for number in await self._victims():
            if await self._free(number):
                return True
            self._resting[number] = self._log.bytes_applied + await self._used_bytes(number)
        return False

    async def _checkpoint_if_due(self) -> None:
        applied = self._log.bytes_applied
        is_late = asyncio.get_running_loop().time() >= self._checkpoint_at_s
        grown = applied > self._checkpointed_bytes
        if applied >= self._checkpoint_at_bytes or (is_late and grown):
            await self.checkpoint()

    async def _free(self, number: int) -> bool:
        try:
            if self._files.kinds[number] is SegmentKind.BULK:
                return await self._compaction.free_bulk(number)
            spoken = await self._compaction.look_at_log(number)
            cost = self._compaction.cost_bytes(number, spoken)
            pressed = self._log.tail.on_reserve
            if cost > spoken.end * self._share_max():
                return False
            if pressed and 2 * cost > self._log.tail.room_bytes():
                return False
            return await self._compaction.free_log(number, spoken)
        except Corrupt as error:
            log.warning("a segment is damaged and kept", segment=number, error=error.detail)
            self._resting[number] = 1 << 62
            raise
        except FileNotFoundError as error:
            log.warning("a segment is missing", segment=number, error=str(error))
            return False

    def _share_max(self) -> float:
        """How much of a segment may count for freeing it to be worth it."""
        if self._log.tail.on_reserve:
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
            if self._resting.get(number, 0) > self._log.bytes_applied:
                continue
            live_bytes = self._table.live_bytes.get(number, 0)
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
