"""Freeing segments: what lives stays, what is bad is put aside, what is waited for is kept."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from msgspec.structs import replace

from node.recordlog.segment_head import SegmentKind
from ring.digest import Digest
from ring.record import RecordKey, RecordState, dead
from tests.fakes.damageable_page_store import DamageablePageStore
from tests.node.recordlog.load import (
    CLAIMANTS,
    DATA,
    TINY,
    VALUE_OF,
    Load,
    everything,
    judge,
    open_store,
)
from tests.sim.device import DiskFaults
from tests.sim.disk import SimDisk
from tests.sim.loop import run

SMALL = [key for key in VALUE_OF if 0 < len(VALUE_OF[key]) < 60_000]
LARGE = [key for key in VALUE_OF if len(VALUE_OF[key]) > 65_536]


def new_disk(seed: int = 0) -> SimDisk:
    return SimDisk(Random(seed), latency_s=0.0001, faults=DiskFaults(warm=0.9))


async def put(store: DamageablePageStore, key: RecordKey, generation: int = 1) -> None:
    value = VALUE_OF[key]
    await store.put_root(key, DATA, len(value), generation, value)


async def write_on(store: DamageablePageStore, batches: int) -> None:
    """Have the log go on."""
    for number in range(batches):
        await store.raise_floor(number, store.table.floor(number) + 1)


def segments(store: DamageablePageStore, kind: SegmentKind) -> list[int]:
    return store.files.numbers(kind)


@pytest.mark.parametrize("seed", range(4))
def test_the_log_alone_says_what_the_index_says_after_much_compaction(seed: int) -> None:
    async def main() -> None:
        disk = new_disk(seed)
        load = Load(Random(seed))
        store = await open_store(disk, seed)
        for _ in range(4):
            await load.work(store, 60)
            await judge(store, load.promise)
            await asyncio.sleep(0.2)
        assert store.upkeep.failures_total == 0
        await store.close()
        store = await open_store(disk, seed)
        by_index = await everything(store)
        await store.close()
        store = await open_store(disk, seed, broken="for this test")
        assert await everything(store) == by_index
        await judge(store, load.promise)
        await store.close()

    run(main())


def test_files_do_not_grow_for_ever() -> None:
    async def main() -> None:
        disk = new_disk()
        store = await open_store(disk, 0)
        for generation in range(1, 15):
            for key in VALUE_OF:
                await put(store, key, generation)
                await store.bury(key, generation)
        await asyncio.sleep(1)
        assert sum(len(file.content) for _, file in disk.files()) < 1_200_000
        for key in VALUE_OF:
            assert (await store.stat([key]))[0].root == dead(14)
        await store.close()

    run(main())


async def fill_segment(store: DamageablePageStore) -> None:
    """Go on to the next segment of the log, leaving this one without anything that lives."""
    last = segments(store, SegmentKind.LOG)[-1]
    while segments(store, SegmentKind.LOG)[-1] == last:
        await write_on(store, 1)


def test_a_drop_is_not_forgotten_while_an_older_segment_speaks_of_its_key() -> None:
    async def main() -> None:
        disk = new_disk()
        store = await open_store(disk, 0)
        gone, again = SMALL[1], SMALL[2]
        for key in (gone, again):
            await store.put_chunk(key, CLAIMANTS[0], VALUE_OF[key])
        for number in range(6):  # so that the oldest segment stays
            value = bytes((number,)) * 12_000
            await store.put_chunk(RecordKey(Digest.of(value)), None, value)
        first = segments(store, SegmentKind.LOG)
        await fill_segment(store)
        await store.drop(gone)
        await store.drop(again)
        await fill_segment(store)
        await store.put_chunk(again, CLAIMANTS[1], VALUE_OF[again])
        await fill_segment(store)
        await asyncio.sleep(1)
        assert segments(store, SegmentKind.LOG)[:1] == first
        assert first[0] + 1 not in segments(store, SegmentKind.LOG)
        await store.close()
        store = await open_store(disk, 0, broken="for this test")
        assert await store.stat([gone]) == [RecordState()]
        assert await store.claims(gone, None, 10) == ([], True)
        assert await store.claims(again, None, 10) == ([CLAIMANTS[1]], True)
        await store.close()

    run(main())


@pytest.mark.parametrize("keys", [SMALL, LARGE], ids=["small", "large"])
def test_a_bad_copy_is_put_aside_and_not_moved(keys: list[RecordKey]) -> None:
    async def main() -> None:
        disk = new_disk()
        store = await open_store(disk, 0)
        for key in keys:
            await put(store, key)
        at = store.table.location(keys[0].raw)
        assert at is not None
        disk.flip(store.files.path(at.segment), 8 * (at.offset + 3))
        for key in keys[1:]:
            await store.bury(key, 1)
        await write_on(store, 60)
        if keys is LARGE:
            for key in SMALL:
                await put(store, key)
            for _ in range(4):  # so that the segment is closed
                for key in LARGE[1:]:
                    await store.put_chunk(key, None, VALUE_OF[key])
                    await store.drop(key)
        await asyncio.sleep(2)
        assert at.segment not in store.files.kinds
        state, value = await store.get(keys[0])
        assert (state.held, value) == (False, None)
        assert len(await disk.list_directory("quarantine")) == 1
        await put(store, keys[0])
        assert (await store.get(keys[0]))[1] == VALUE_OF[keys[0]]
        await store.close()

    run(main())


def test_a_value_that_waits_for_its_commit_keeps_its_segment() -> None:
    async def main() -> None:
        store = await open_store(new_disk(), 0)
        key = LARGE[0]
        await store.stage(key, VALUE_OF[key])
        waited_for = segments(store, SegmentKind.BULK)[-1]
        for other in LARGE[1:] * 4:
            await put(store, other)
            await store.drop(other)
        await asyncio.sleep(1)
        assert waited_for in store.files.kinds
        await store.commit_staged(key, len(VALUE_OF[key]))
        assert (await store.get(key))[1] == VALUE_OF[key]
        await store.close()

    run(main())


def test_a_copy_that_was_bad_is_replaced_by_a_put_also_when_its_row_stays() -> None:
    async def main() -> None:
        disk = new_disk()
        store = await open_store(disk, 0)
        for key in (SMALL[0], LARGE[0]):
            await put(store, key)
            await store.damage(key, DATA, b"x" * len(VALUE_OF[key]))
            await put(store, key)
            assert (await store.get(key))[1] == VALUE_OF[key]
        disk = disk.crash()
        store = await open_store(disk, 0)
        for key in (SMALL[0], LARGE[0]):
            assert (await store.get(key))[1] == VALUE_OF[key]
        assert len(await disk.list_directory("quarantine")) == 2
        await store.close()

    run(main())


def test_a_start_after_compaction_needs_no_more_than_the_end_of_the_log() -> None:
    async def main() -> None:
        disk = new_disk()
        upkeep = replace(TINY.upkeep, checkpoint_bytes=1 << 40, checkpoint_s=1e9)
        settings = replace(TINY, upkeep=upkeep)
        store = await open_store(disk, 0, settings=settings)
        await store.upkeep.checkpoint()
        for generation in range(1, 6):
            for key in SMALL:
                await put(store, key, generation)
                await store.bury(key, generation)
        await asyncio.sleep(1)
        assert segments(store, SegmentKind.LOG)[0] > 1, "nothing was freed"
        disk = disk.crash()
        store = await open_store(disk, 0)
        assert await disk.list_directory("index") == ["data"], "the index was given up"
        await store.close()

    run(main())
