"""Indexed tables beside plain ones: layers, checkpoints, crashes, faults, and what sums find."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.index.index import Index, IndexHome, IndexReader, IndexWriter, OpenedIndex
from node.index.indexed_table import PENDING_MIN, IndexedTable, open_table
from node.index.location import Position
from node.record_change import RecordChange
from ring.errors import Corrupt, DiskFull, StorageFault
from tests.fakes.file_index import FileIndexHome
from tests.fakes.virtual_time import in_virtual_time
from tests.node.index.index_homes import KINDS, index_home
from tests.node.index.table_walk import TableWalk
from tests.sim.disk import SimDisk

T = TypeVar("T")


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


class _StoppingIndex:
    """An index that fails after some transactions, and again after a third as many."""

    def __init__(self, index: Index, writes: int, written: asyncio.Event) -> None:
        self._index = index
        self._writes_left = writes
        self._writes_then = writes // 3
        self._written = written

    def get(self, key: bytes) -> bytes | None:
        return self._index.get(key)

    def after(self, key: bytes, limit: int, *, below: bytes) -> list[tuple[bytes, bytes]]:
        return self._index.after(key, limit, below=below)

    async def write(self, work: Callable[[IndexWriter], T]) -> T:
        if not self._writes_left:
            self._writes_left = self._writes_then
            raise StorageFault("the end")
        self._writes_left -= 1
        self._written.set()
        return await self._index.write(work)

    async def read(self, work: Callable[[IndexReader], T]) -> T:
        return await self._index.read(work)

    async def warm(self) -> None:
        await self._index.warm()

    def condemn(self) -> None:
        self._index.condemn()

    async def close(self) -> bool:
        return await self._index.close()


class _StoppingHome:
    """A home of such an index; `written` when the first transaction begins."""

    def __init__(self, home: IndexHome, writes: int) -> None:
        self.written = asyncio.Event()
        self._home = home
        self._writes = writes

    async def open(self) -> OpenedIndex:
        opened = await self._home.open()
        index = _StoppingIndex(opened.index, self._writes, self.written)
        return OpenedIndex(index, opened.discarded)

    async def discard(self) -> None:
        await self._home.discard()


async def test_a_checkpoint_covers_what_was_there_when_it_began(home: IndexHome) -> None:
    walk = TableWalk(Random(2), 2)
    stopping = _StoppingHome(home, 1000)
    table = await walk.open(stopping)
    for _ in range(20):
        walk.change(table)
    begun_at = walk.log[-1][2]
    checkpoint = asyncio.create_task(table.checkpoint())
    await stopping.written.wait()
    while not checkpoint.done():
        assert table.covered is None
        walk.change(table)
        walk.compare(table)
        await asyncio.sleep(0)

    assert await checkpoint == table.covered == begun_at
    walk.compare(table)
    await table.close()
    table = await walk.open(home)
    walk.compare(table)
    await table.close()


@pytest.mark.parametrize("seed", range(2))
async def test_a_checkpoint_cut_short_after_any_transaction_is_finished_after_a_replay(
    seed: int,
) -> None:
    cut_short = 0
    for writes in range(40):
        async with index_home("file", Path()) as home:
            walk = TableWalk(Random(seed), 2)
            table = await walk.open(home)
            for _ in range(10):
                walk.change(table)
            await table.checkpoint()
            await table.close()
            for again in range(2):  # the second time in the midst of finishing the first
                table = await walk.open(_StoppingHome(home, writes // (1 + 4 * again)))
                walk.compare(table)
                for _ in range(30):
                    walk.change(table)
                for _ in range(2):
                    with suppress(StorageFault):
                        await table.checkpoint()
                    walk.compare(table)
                await table.close()
                cut_short += (await open_table(home)).table.replay_to is not None

            table = await walk.open(home)
            walk.compare(table)
            walk.change(table)
            assert await table.checkpoint() == walk.log[-1][2]
            walk.compare(table)
            assert await table.verify() is None
    assert cut_short > 40


async def test_nothing_is_covered_before_the_replay_came_to_the_end_of_a_checkpoint() -> None:
    async with index_home("file", Path()) as home:
        walk = TableWalk(Random(1), 2)
        table = await walk.open(_StoppingHome(home, 3))
        for _ in range(10):
            walk.change(table)
        with pytest.raises(StorageFault):
            await table.checkpoint()
        table = (await open_table(home)).table

        end = walk.log[-1][2]
        for entry in walk.log:
            assert table.replay_to == end
            with pytest.raises(Corrupt):
                table.end_replay()
            assert await table.checkpoint() is None
            table.apply(*entry)
        table.end_replay()
        assert await table.checkpoint() == end
        walk.compare(table)


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


async def test_a_table_is_full_when_a_checkpoint_is_worth_it() -> None:
    def rows(first: int, count: int) -> RecordChange:
        numbers = range(first, first + count)
        return RecordChange(rows={b"\0\1" + n.to_bytes(32, "big"): 0 for n in numbers})

    async with index_home("file", Path()) as home:
        table = (await open_table(home)).table
        was_full = []
        table.apply(rows(0, PENDING_MIN - 1), {}, Position(1, 1))
        was_full.append(table.is_full)
        table.apply(rows(PENDING_MIN, 1), {}, Position(1, 2))
        was_full.append(table.is_full)
        await table.checkpoint()
        was_full.append(table.is_full)
        assert was_full == [False, True, False]
        assert table.pending == 0
