"""Walks through an index in the background, so that what is wrong is found before somebody asks.

A value that changed is found when it is read; a row that the index lost, or brought back, only by
the count and sum of its partition.

It begins by having the index in memory, where the event loop need not wait for it.

Rules:
1.  A partition at a time, the one that was looked at longest ago first.  Where to begin follows
    from the clock, so nothing has to be remembered and a restart begins nothing anew.
2.  It ends with the first damage: the table remembers it, and its owner makes the index anew.
3.  An index that cannot be read at the moment is counted, said once, and looked at again later.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from msgspec import Struct

from node.index.indexed_table import IndexedTable
from ring.errors import StorageFault
from ring.limits import PARTITIONS
from ring.seams import Clock

DAY_S: Final = 24 * 3600.0

log = structlog.get_logger()


class PatrolSettings(Struct, frozen=True):
    """period_s: in which everything is looked at once.  rows_per_s: on average at most; an index
    that is too large for both takes longer than the period.
    """

    period_s: float = DAY_S
    rows_per_s: float = 20_000.0


class IndexPatrol:
    """See the module.  checked_total: partitions that were sound.  failures_total: see rule 3."""

    def __init__(self, table: IndexedTable, clock: Clock, settings: PatrolSettings) -> None:
        self.checked_total = 0
        self.failures_total = 0
        self._table = table
        self._clock = clock
        self._settings = settings
        self._is_failing = False

    async def run(self) -> None:
        """Until damage is found, or cancelled."""
        try:
            await self._table.warm()
        except StorageFault as error:
            self._fail(error)
        partition = self._due_now()
        while True:
            await asyncio.sleep(self._pause_s())
            if not await self.look(partition):
                return
            partition = (partition + 1) % PARTITIONS

    async def look(self, partition: int) -> bool:
        """Walk through a partition, and with the last one through the sums; false for damage."""
        try:
            wrong = await self._table.verify_partition(partition)
            if wrong is None and partition == PARTITIONS - 1:
                wrong = await self._table.verify_summary()
        except StorageFault as error:
            self._fail(error)
            return True
        self._is_failing = False
        self.checked_total += wrong is None
        return wrong is None

    def _fail(self, error: StorageFault) -> None:
        self.failures_total += 1
        if not self._is_failing:
            log.warning("the index cannot be looked through", error=error.detail)
        self._is_failing = True

    def _due_now(self) -> int:
        share = self._clock.now_s() % self._settings.period_s / self._settings.period_s
        return int(share * PARTITIONS)

    def _pause_s(self) -> float:
        rows = self._table.records / PARTITIONS
        return max(self._settings.period_s / PARTITIONS, rows / self._settings.rows_per_s)
