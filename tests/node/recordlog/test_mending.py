"""A damaged index is made anew from the log, by the node itself, and nothing is lost by that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from msgspec.structs import replace

from node.index.index import IndexWriter
from node.index.index_keys import SUMMARY, partition_key, partition_of, row_key
from node.index.index_patrol import PatrolSettings
from node.local_store import LocalRecordStore
from node.recordlog.upkeep import UpkeepSettings
from node.store_holder import MENDING, OUT_OF_SERVICE, TRIES_MAX, StoreHolder
from ring.errors import Corrupt, DiskFull, HoldfastError, StorageFault
from ring.record import RecordKey
from ring.seams import Disk
from tests.fakes.damageable_page_store import DamageablePageStore
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.fakes.file_index import FileIndexHome
from tests.fakes.manual_clock import ManualClock
from tests.fakes.virtual_time import in_virtual_time
from tests.node.recordlog.load import (
    DATA,
    TINY,
    VALUE_OF,
    Load,
    everything,
    everything_unread,
    judge,
)
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness

KEYS = [key for key in VALUE_OF if 100 < len(VALUE_OF[key]) < 60_000]
FIRST = KEYS[0]
PATIENCE_S = 30.0
# Checkpoints when a test asks for one.
QUIET = replace(TINY, upkeep=UpkeepSettings(interval_s=1e6))
WATCHFUL = replace(QUIET, patrol=PatrolSettings(period_s=4.0))


class Bench:
    """A disk, its index, and a store that is opened as often as it is asked for."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.medium = SimDisk(Random(0), latency_s=0.0001)
        self.home = FileIndexHome(disk or self.medium)
        self.settings = QUIET
        self.opened: list[DamageablePageStore] = []
        self.refusal: HoldfastError | None = None
        self._disk = disk or self.medium

    async def open(self) -> DamageablePageStore:
        if self.refusal is not None:
            raise self.refusal
        store = await DamageablePageStore.open(
            self._disk,
            self.home,
            clock=ManualClock(),
            randomness=SimRandomness(Random(len(self.opened))),
            settings=self.settings,
        )
        self.opened.append(store)
        return store

    async def damage(self, work: Callable[[IndexWriter], None]) -> None:
        """Change the index behind the table's back."""
        await self.home.index.write(work)


async def put(store: LocalRecordStore, *keys: RecordKey) -> None:
    for key in keys:
        await store.put_root(key, DATA, len(VALUE_OF[key]), 1, VALUE_OF[key])


async def for_ever(_: LocalRecordStore) -> None:
    await asyncio.Event().wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):  # virtual seconds
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def held(bench: Bench) -> AsyncIterator[tuple[StoreHolder, asyncio.Task[None]]]:
    """A holder that runs, over a store with all values in its index."""
    holder = StoreHolder(bench.open)
    await holder.open()
    store = bench.opened[-1]
    await put(store, *VALUE_OF)
    await store.bury(KEYS[-1], 1)
    await store.upkeep.checkpoint()
    running: asyncio.Task[None] = asyncio.get_running_loop().create_task(holder.run(for_ever))
    try:
        yield holder, running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await holder.close()


def flip(key: bytes) -> Callable[[IndexWriter], None]:
    def work(writer: IndexWriter) -> None:
        value = writer.get(key)
        assert value is not None
        writer.put(key, value[:-1] + bytes((value[-1] ^ 1,)))

    return work


def lose(key: bytes) -> Callable[[IndexWriter], None]:
    return lambda writer: writer.delete(key)


@in_virtual_time
async def test_a_damaged_row_is_an_error_until_the_node_has_mended_it_by_itself() -> None:
    bench = Bench()
    async with held(bench) as (holder, _):
        store = bench.opened[0]
        before = await everything_unread(store)
        await bench.damage(flip(row_key(FIRST.raw)))

        with pytest.raises(Corrupt):
            await store.stat([FIRST])
        with pytest.raises(Corrupt):
            await put(store, FIRST)
        await until(lambda: holder.store is None)
        assert (holder.trouble, holder.damaged_total) == (MENDING, 1)
        assert FIRST.raw.hex() in holder.reason

        await until(lambda: holder.store is not None)
        assert (holder.trouble, holder.reason, holder.mended_total) == ("", "", 1)
        assert bench.opened[1].had_state
        assert await everything(bench.opened[1]) == before
        assert await bench.opened[1].table.verify() is None


@pytest.mark.parametrize(
    "damage",
    [
        lose(row_key(FIRST.raw)),
        flip(row_key(FIRST.raw)),
        flip(SUMMARY),
        lose(partition_key(partition_of(FIRST.raw))),
    ],
    ids=["lost row", "row", "summary", "lost sum"],
)
@in_virtual_time
async def test_damage_is_found_though_nobody_asks(damage: Callable[[IndexWriter], None]) -> None:
    bench = Bench()
    bench.settings = WATCHFUL
    async with held(bench) as (holder, _):
        before = await everything(bench.opened[0])
        await bench.damage(damage)

        await until(lambda: holder.mended_total == 1)

        assert await everything(bench.opened[-1]) == before


@in_virtual_time
async def test_a_sound_index_is_left_alone_by_the_patrol() -> None:
    bench = Bench()
    bench.settings = WATCHFUL
    async with held(bench) as (holder, _):
        await until(lambda: bench.opened[0].patrol.checked_total > 2 * 4096)
        assert (holder.damaged_total, len(bench.opened)) == (0, 1)


@in_virtual_time
async def test_damage_that_a_checkpoint_meets_is_mended() -> None:
    bench = Bench()
    async with held(bench) as (holder, _):
        store = bench.opened[0]
        await store.bury(FIRST, 2)
        before = await everything(store)
        await bench.damage(flip(partition_key(partition_of(FIRST.raw))))

        with pytest.raises(Corrupt):
            await store.upkeep.checkpoint()
        await until(lambda: holder.mended_total == 1)

        assert await everything(bench.opened[1]) == before


@in_virtual_time
async def test_damage_that_the_last_checkpoint_meets_is_mended_by_the_next_start() -> None:
    bench = Bench()
    async with held(bench) as (holder, running):
        store = bench.opened[0]
        await store.bury(FIRST, 2)
        before = await everything(store)
        await bench.damage(flip(partition_key(partition_of(FIRST.raw))))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await holder.close()

        assert bench.home.broken is not None
        again = await bench.open()
        assert again.table.damage is None
        assert await everything(again) == before
        assert await again.table.verify() is None
        await again.close()


@in_virtual_time
async def test_damage_that_a_start_meets_while_it_replays_the_log_is_mended_at_once() -> None:
    bench = Bench()
    store = await bench.open()
    await put(store, *VALUE_OF)
    await store.upkeep.checkpoint()
    await store.bury(FIRST, 2)
    before = await everything(store)
    medium = bench.medium.kill()
    index = (await FileIndexHome(medium).open()).index
    await index.write(flip(row_key(FIRST.raw)))
    await index.close()

    store = await Bench(medium).open()

    assert store.had_state
    assert store.table.damage is None
    assert await everything(store) == before
    await store.close()


@pytest.mark.parametrize("cut", ["killed", "power cut"])
@in_virtual_time
async def test_a_process_may_die_at_any_step_of_the_mending(cut: str) -> None:
    steps = 0
    while True:
        trouble = Trouble()
        medium = SimDisk(Random(steps), latency_s=0.0001)
        bench = Bench(FaultyDisk(medium, trouble))
        load = Load(Random(1))
        holder = StoreHolder(bench.open)
        await holder.open()
        store = bench.opened[0]
        await load.work(store, 25)
        await put(store, FIRST)
        before = (await everything_unread(store))[0]
        await bench.damage(flip(row_key(FIRST.raw)))
        running = asyncio.get_running_loop().create_task(holder.run(for_ever))
        with pytest.raises(Corrupt):
            await store.stat([FIRST])
        trouble.dies = len(trouble.calls) + steps
        died = asyncio.get_running_loop().create_task(trouble.died.wait())
        await until(lambda: died.done() or holder.mended_total == 1)  # noqa: B023 - of this round
        running.cancel()
        again = Bench(medium.kill() if cut == "killed" else medium.crash())
        if cut == "killed":
            again.home.broken = bench.home.broken
        store = await again.open()
        if cut == "power cut" and await store.table.verify() is not None:
            await store.close()  # the mark is gone, so the damage is found once more
            store = await again.open()
        assert (await everything(store))[0] == before
        assert await store.table.verify() is None
        await store.close()
        if not died.done():
            died.cancel()
            break
        steps += 1
    assert steps > 10


@pytest.mark.parametrize("error", [DiskFull("no room"), StorageFault("read-only")], ids=str)
@in_virtual_time
async def test_a_disk_that_refuses_is_waited_for(error: HoldfastError) -> None:
    bench = Bench()
    async with held(bench) as (holder, _):
        before = await everything_unread(bench.opened[0])
        await bench.damage(flip(row_key(FIRST.raw)))
        with pytest.raises(Corrupt):
            await bench.opened[0].stat([FIRST])
        bench.refusal = error

        await until(lambda: f"tried again: {error.detail}" in holder.reason)
        await asyncio.sleep(1000.0)
        assert (holder.trouble, holder.store) == (MENDING, None)
        bench.refusal = None
        await until(lambda: holder.mended_total == 1)

        assert await everything(bench.opened[-1]) == before


@in_virtual_time
async def test_a_log_that_is_damaged_too_is_refused_in_words() -> None:
    bench = Bench()
    async with held(bench) as (holder, running):
        for number in range(9):
            await bench.opened[0].raise_floor(number, 1)
        await bench.damage(flip(row_key(FIRST.raw)))
        last = bench.opened[0].files.numbers(bench.opened[0].files.kinds[1])[-1]
        bench.medium.flip(bench.opened[0].files.path(last), 8 * (4096 + 60))
        with pytest.raises(Corrupt):
            await bench.opened[0].stat([FIRST])

        with pytest.raises(Corrupt, match="replace the node"):
            await running
        assert holder.store is None


@in_virtual_time
async def test_an_index_that_is_damaged_again_and_again_is_given_up_in_words() -> None:
    bench = Bench()
    async with held(bench) as (holder, running):
        await until(lambda: holder.store is not None)
        for count in range(TRIES_MAX + 1):
            await until(lambda: holder.mended_total == count)  # noqa: B023 - of this round
            await bench.opened[-1].upkeep.checkpoint()
            await bench.damage(flip(row_key(FIRST.raw)))
            with pytest.raises(Corrupt):
                await bench.opened[-1].stat([FIRST])
            await asyncio.sleep(200.0)

        await until(lambda: holder.trouble == OUT_OF_SERVICE)
        assert "replace the node" in holder.reason
        assert (holder.damaged_total, holder.mended_total) == (TRIES_MAX + 1, TRIES_MAX)
        assert not running.done()
        await asyncio.sleep(100_000)
        assert (holder.store, len(bench.opened)) == (None, TRIES_MAX + 1)


@in_virtual_time
async def test_damage_long_after_the_last_is_mended_at_once_again() -> None:
    bench = Bench()
    async with held(bench) as (holder, _):
        for count in range(2 * TRIES_MAX):
            await bench.opened[-1].upkeep.checkpoint()
            await bench.damage(flip(row_key(FIRST.raw)))
            with pytest.raises(Corrupt):
                await bench.opened[-1].stat([FIRST])
            async with asyncio.timeout(0.9):
                await until(lambda: holder.mended_total == count + 1)  # noqa: B023 - this round
            await asyncio.sleep(4000)


@in_virtual_time
async def test_a_store_is_not_closed_under_those_who_use_it() -> None:
    bench = Bench()
    async with held(bench) as (holder, _):
        store = bench.opened[0]
        with holder.using(store):
            await bench.damage(flip(row_key(FIRST.raw)))
            with pytest.raises(Corrupt):
                await store.stat([FIRST])
            await until(lambda: holder.store is None)
            await asyncio.sleep(1.0)
            assert (await store.get(KEYS[1]))[1] == VALUE_OF[KEYS[1]]
            assert len(bench.opened) == 1
        await until(lambda: holder.mended_total == 1)


def flip_some(rng: Random) -> Callable[[IndexWriter], None]:
    """Flip a bit of one to three values, or lose them."""

    def work(writer: IndexWriter) -> None:
        pairs = writer.after(b"", 1000, below=b"\xff")
        for key, value in rng.sample(pairs, min(len(pairs), rng.randrange(1, 4))):
            if rng.random() < 0.3:
                writer.delete(key)
            else:
                at = rng.randrange(len(value))
                writer.put(key, value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :])

    return work


@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_what_was_promised_holds_though_the_index_rots_again_and_again(seed: int) -> None:
    rng = Random(seed)
    bench = Bench()
    bench.settings = replace(TINY, patrol=PatrolSettings(period_s=1e9))
    load = Load(rng)
    holder = StoreHolder(bench.open)
    await holder.open()
    running = asyncio.get_running_loop().create_task(holder.run(for_ever))
    for _ in range(4):
        store = bench.opened[-1]
        working = asyncio.get_running_loop().create_task(load.work(store, 30))
        await asyncio.sleep(rng.random() * 0.2)
        await bench.damage(flip_some(rng))
        wrong = await store.table.verify()  # before anybody is told that a lost row is absent
        await working
        if wrong is not None or store.table.damage is not None:
            await until(lambda: holder.store not in {None, store})  # noqa: B023 - of this round
        await judge(bench.opened[-1], load.promise)
        await load.witness(bench.opened[-1])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await holder.close()
