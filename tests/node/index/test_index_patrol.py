"""The patrol goes through an index by the clock, also when the disk was away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from node.index.index import IndexReader
from node.index.index_patrol import IndexPatrol, PatrolSettings
from node.index.indexed_table import IndexedTable
from node.index.summary import Summary
from node.memory_disk import MemoryDisk
from ring.errors import StorageFault
from ring.limits import PARTITIONS
from tests.fakes.file_index import FileIndex, FileIndexHome
from tests.fakes.manual_clock import ManualClock
from tests.fakes.virtual_time import in_virtual_time

T = TypeVar("T")
PERIOD_S = 4096.0


class AwayIndex(FileIndex):
    """An index that cannot be read while it is away."""

    is_away = False

    async def read(self, work: Callable[[IndexReader], T]) -> T:
        if self.is_away:
            raise StorageFault("away")
        return await super().read(work)


class NotedTable(IndexedTable):
    """A table that notes what was verified."""

    def __init__(self) -> None:
        disk = MemoryDisk(1 << 20)
        self.index = AwayIndex(disk, FileIndexHome(disk), {})
        super().__init__(self.index, Summary())
        self.looked_at: list[int | None] = []
        self.claimed_records = 0

    @property
    def records(self) -> int:
        return self.claimed_records

    async def verify_partition(self, partition: int) -> str | None:
        self.looked_at.append(partition)
        return await super().verify_partition(partition)

    async def verify_summary(self) -> str | None:
        self.looked_at.append(None)
        return await super().verify_summary()


async def walked(table: NotedTable, for_s: float, *, now_s: float = 0.0) -> IndexPatrol:
    patrol = IndexPatrol(table, ManualClock(now_s), PatrolSettings(PERIOD_S, rows_per_s=100.0))
    running = asyncio.get_running_loop().create_task(patrol.run())
    await asyncio.sleep(for_s + 0.5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return patrol


@pytest.mark.parametrize("round_", [0, 7])
@in_virtual_time
async def test_where_it_begins_follows_from_the_clock(round_: int) -> None:
    table = NotedTable()
    patrol = await walked(table, 3.0, now_s=(round_ + 0.75) * PERIOD_S)

    assert table.looked_at == [3072, 3073, 3074]
    assert patrol.checked_total == 3


@in_virtual_time
async def test_it_comes_to_everything_once_a_period_and_to_the_sums_at_the_end() -> None:
    table = NotedTable()
    await walked(table, PERIOD_S, now_s=PERIOD_S - 2)

    last = PARTITIONS - 1
    assert table.looked_at == [last - 1, last, None, *range(last - 1)]


@in_virtual_time
async def test_an_index_that_is_too_large_takes_longer() -> None:
    table = NotedTable()
    table.claimed_records = 1000 * PARTITIONS
    await walked(table, 30.0)

    assert table.looked_at == [0, 1, 2]


@in_virtual_time
async def test_an_index_that_cannot_be_read_is_looked_at_again() -> None:
    table = NotedTable()
    table.index.is_away = True
    patrol = await walked(table, 4.0)
    assert (patrol.failures_total, patrol.checked_total, table.damage) == (4, 0, None)

    table.index.is_away = False
    assert await patrol.look(9)
    assert patrol.checked_total == 1
