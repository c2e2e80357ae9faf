"""Indexed tables beside plain ones: layers, checkpoints, crashes, faults, and what sums find."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.index.index import IndexHome
from node.index.indexed_table import IndexedTable
from ring.errors import DiskFull, StorageFault
from tests.fakes.file_index import FileIndexHome
from tests.fakes.virtual_time import in_virtual_time
from tests.node.index.index_homes import KINDS, index_home
from tests.node.index.table_walk import TableWalk
from tests.sim.disk import SimDisk


@pytest.fixture(params=KINDS)
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[IndexHome]:
    async with index_home(request.param, tmp_path) as home:
        yield home


@pytest.mark.parametrize("entries_max", [1, 3, 4096])
async def test_a_table_is_what_was_applied_wherever_checkpoints_fall(
    home: IndexHome, entries_max: int
) -> None:
    walk = TableWalk(Random(entries_max), entries_max)
    table = await walk.open(home)
    checkpoint: asyncio.Task[object] | None = None
    for step in range(150):
        walk.change(table)
        if step % 7 == 0:
            if checkpoint is not None:
                await checkpoint
            checkpoint = asyncio.create_task(table.checkpoint())
        if walk.rng.random() < 0.3:
            await asyncio.sleep(0)
        if step % 3 == 0:
            walk.compare(table)
        if step % 40 == 20:
            assert checkpoint is not None
            await checkpoint
            checkpoint = None
            await table.close()
            table = await walk.open(home)
            walk.compare(table)
    if checkpoint is not None:
        await checkpoint
    assert await table.checkpoint() == table.covered == walk.log[-1][2]
    assert table.pending == 0
    walk.compare(table)
    assert await table.verify() is None
    await table.close()


class _Storm:
    """A walk on a simulated disk that loses power and fails."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.disk = SimDisk(self.rng)
        self.walk = TableWalk(self.rng, self.rng.choice([2, 5, 4096]))
        self.table: IndexedTable
        self.checkpoint: asyncio.Task[object] | None = None

    async def run(self, steps: int) -> None:
        self.table = await self.walk.open(FileIndexHome(self.disk))
        for _ in range(steps):
            await self._step()
            self.walk.compare(self.table)
        self._heal()
        await self._finish()
        assert await self.table.checkpoint() == self.walk.log[-1][2]
        assert await self.table.verify() is None
        self.walk.compare(self.table)

    async def _step(self) -> None:
        chance = self.rng.random()
        if chance < 0.6:
            self.walk.change(self.table)
        elif chance < 0.75:
            if self.checkpoint is None or self.checkpoint.done():
                await self._finish()
                self.checkpoint = asyncio.create_task(self.table.checkpoint())
        elif chance < 0.9:
            await asyncio.sleep(self.rng.random() * 0.01)
        elif chance < 0.94:
            self.disk.faults.sync_error_rate = self.rng.choice([0.0, 0.3])
            self.disk.faults.full = self.rng.random() < 0.3
        else:
            await self._crash()

    async def _crash(self) -> None:
        self.disk = self.disk.crash() if self.rng.random() < 0.8 else self.disk.kill()
        if self.checkpoint is not None:
            self.checkpoint.cancel()
            await asyncio.gather(self.checkpoint, return_exceptions=True)
            self.checkpoint = None
        self._heal()
        self.table = await self.walk.open(FileIndexHome(self.disk))

    async def _finish(self) -> None:
        if self.checkpoint is not None:
            with suppress(StorageFault, DiskFull):
                await self.checkpoint
            self.checkpoint = None

    def _heal(self) -> None:
        self.disk.faults.sync_error_rate, self.disk.faults.full = 0.0, False


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32))
def test_crashes_and_faults_lose_nothing_that_the_log_has(seed: int) -> None:
    @in_virtual_time
    async def storm() -> None:
        await _Storm(seed).run(60)

    storm()
