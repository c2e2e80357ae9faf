"""Freeing what rotted: it costs itself, and the log says afterwards what the table says."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random

import pytest
from msgspec.structs import replace

from node.recordlog.segment_head import SegmentKind
from ring.digest import Digest
from ring.record import RecordKey, RecordState, dead, live
from tests.fakes.damageable_page_store import DamageablePageStore
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.node.recordlog.load import (
    BLOCK,
    CLAIMANTS,
    DATA,
    TINY,
    VALUE_OF,
    Load,
    everything,
    judge,
    open_store,
)
from tests.sim.disk import SimDisk
from tests.sim.loop import run

SMALL = [key for key in VALUE_OF if 0 < len(VALUE_OF[key]) <= 3000]
LARGE = [key for key in VALUE_OF if len(VALUE_OF[key]) > 65_536]
IN_ROWS = 80  # a byte of a batch that its checksum covers


BY_HAND = replace(TINY, upkeep=replace(TINY.upkeep, interval_s=1e9))


def new_disk(seed: int = 0) -> SimDisk:
    return SimDisk(Random(seed), latency_s=0.0001)


async def put(store: DamageablePageStore, key: RecordKey, generation: int = 1) -> None:
    value = VALUE_OF[key]
    await store.put_root(key, DATA, len(value), generation, value)


async def chunk(store: DamageablePageStore, key: RecordKey, claimant: int) -> None:
    await store.put_chunk(key, CLAIMANTS[claimant], VALUE_OF[key])


def logs(store: DamageablePageStore) -> list[int]:
    return store.files.numbers(SegmentKind.LOG)


async def keep_alive(store: DamageablePageStore, mark: int, count: int = 5) -> list[RecordKey]:
    """Values enough for the segment that they are in not to be worth freeing."""
    kept = []
    for number in range(count):
        value = bytes((mark, number)) * 6_000
        kept.append(RecordKey(Digest.of(value)))
        await store.put_chunk(kept[-1], None, value)
    return kept


async def next_segment(store: DamageablePageStore) -> int:
    """Leave the log's segment; its number."""
    last = logs(store)[-1]
    while logs(store)[-1] == last:
        await store.raise_floor(500, store.table.floor(500) + 1)
    return last


async def forget(store: DamageablePageStore, keys: list[RecordKey]) -> None:
    for key in keys:
        await store.drop(key)


def damage_rows(disk: SimDisk, store: DamageablePageStore, number: int, batch: int = 0) -> None:
    """Of batches of one block each."""
    disk.flip(store.files.path(number), 8 * ((1 + batch) * BLOCK + IN_ROWS))


async def work(store: DamageablePageStore) -> None:
    """Have so much written that what rests is looked at again."""
    for _ in range(3):
        await next_segment(store)


async def free(store: DamageablePageStore, number: int) -> None:
    """Have compaction free what is worth it, and this segment in any case."""
    while await store.upkeep.free_one():
        pass
    assert number not in store.files.kinds


async def require_whole_log(disk: SimDisk, store: DamageablePageStore) -> DamageablePageStore:
    """Have the log alone say what the table says; the store that was opened from it."""
    before = await everything(store)
    await store.close()
    store = await open_store(disk, 9, broken="for this test")
    rows, places, live_bytes = await everything(store)
    assert rows == before[0]
    assert (places, live_bytes) == before[1:]
    return store


def test_a_rotten_value_in_the_log_costs_only_itself() -> None:
    async def main() -> None:
        disk = new_disk()
        store = await open_store(disk, 0, settings=BY_HAND)
        rotten, good = SMALL[0], SMALL[1]
        for key in SMALL[:4]:
            await put(store, key)
        kept = await keep_alive(store, 1)
        segment = await next_segment(store)
        at = store.table.location(rotten.raw)
        assert at is not None
        assert at.segment == segment
        disk.flip(store.files.path(segment), 8 * (at.offset + at.size_bytes // 2))
        await forget(store, kept)
        await free(store, segment)
        assert await store.get(rotten) == (RecordState(DATA, len(VALUE_OF[rotten]), live(1)), None)
        assert (await store.get(good))[1] == VALUE_OF[good]
        assert len(await disk.list_directory("quarantine")) == 1
        store = await require_whole_log(disk, store)
        await put(store, rotten)
        assert (await store.get(rotten))[1] == VALUE_OF[rotten]
        await store.close()

    run(main())


@pytest.mark.parametrize("damaged", ["head", "first batch", "a batch within"])
def test_what_a_damaged_segment_said_is_said_anew(damaged: str) -> None:
    async def main() -> None:
        disk = new_disk()
        store = await open_store(disk, 0, settings=BY_HAND)
        buried, dropped, again, raised, claimed, held, *_ = SMALL
        for key in (buried, dropped, raised):
            await put(store, key)
        await chunk(store, again, 0)
        await keep_alive(store, 1)
        oldest = await next_segment(store)

        await store.raise_floor(3, 5)
        await store.bury(buried, 1)
        await store.drop(dropped)
        await store.drop(again)
        await put(store, raised, 7)  # a row for the value that the oldest segment has
        await chunk(store, claimed, 1)
        await put(store, held)
        await put(store, LARGE[0])
        filling = await keep_alive(store, 2, 2)
        segment = await next_segment(store)

        await put(store, again)  # not claimed any more
        await store.damage(claimed, DATA, VALUE_OF[claimed])  # its value is here now, its claim not
        await keep_alive(store, 3)
        await next_segment(store)
        assert logs(store)[:2] == [oldest, segment]
        if damaged == "head":
            disk.flip(store.files.path(segment), 8 * 100)
        else:
            damage_rows(disk, store, segment, 0 if damaged == "first batch" else 3)
        await forget(store, filling)
        await free(store, segment)
        assert oldest in store.files.kinds
        store = await require_whole_log(disk, store)

        assert store.table.floor(3) == 5
        assert (await store.stat([buried]))[0].root == dead(1)
        assert await store.stat([dropped]) == [RecordState()]
        assert await store.claims(again, None, 9) == ([], True)
        assert await store.claims(claimed, None, 9) == ([CLAIMANTS[1]], True)
        assert (await store.stat([raised]))[0].root == live(7)
        for key in (again, raised, claimed, held, LARGE[0]):
            assert (await store.get(key))[1] == VALUE_OF[key]
        assert await disk.list_directory("") == ["bulk", "index", "log"], "nothing was set aside"
        await store.close()

    run(main())


def test_of_two_damaged_segments_the_older_goes_first_though_it_is_full() -> None:
    async def main() -> None:
        disk = new_disk()
        store = await open_store(disk, 0, settings=BY_HAND)
        await put(store, SMALL[0])
        kept = await keep_alive(store, 1)
        older = await next_segment(store)
        await store.drop(SMALL[0])
        filling = await keep_alive(store, 2)
        newer = await next_segment(store)
        for number in (older, newer):
            damage_rows(disk, store, number)
        await forget(store, filling)
        await free(store, newer)
        assert older not in store.files.kinds
        store = await require_whole_log(disk, store)
        assert await store.stat([SMALL[0]]) == [RecordState()]
        assert all([(await store.get(key))[1] for key in kept])
        await store.close()

    run(main())


def test_a_damaged_last_batch_is_noticed_when_nobody_tells_where_its_segment_ended() -> None:
    async def main() -> None:
        disk = new_disk()
        store = await open_store(disk, 0, settings=BY_HAND)
        await put(store, SMALL[0])
        kept = await keep_alive(store, 1)
        segment = logs(store)[-1]
        buried: list[RecordKey] = []
        while logs(store)[-1] == segment:
            buried.append(RecordKey(Digest.of(b"%d" % len(buried))))
            await store.bury(buried[-1], 1)
        filling = await keep_alive(store, 2)
        after = await next_segment(store)
        await forget(store, filling)
        await free(store, after)
        await store.close()
        store = await open_store(disk, 1, settings=BY_HAND)
        last = disk.content(store.files.path(segment)).rindex(b"HFlb")
        disk.flip(store.files.path(segment), 8 * (last + IN_ROWS))
        await forget(store, kept)
        await free(store, segment)
        store = await require_whole_log(disk, store)
        assert [state.root for state in await store.stat(buried)] == [dead(1)] * len(buried)
        assert (await store.get(SMALL[0]))[1] == VALUE_OF[SMALL[0]]
        await store.close()

    run(main())


def test_what_cannot_be_read_keeps_its_segment_and_so_does_a_disk_without_room() -> None:
    async def main() -> None:
        disk, trouble = new_disk(), Trouble()
        store = await open_store(FaultyDisk(disk, trouble), 0, settings=BY_HAND)
        await put(store, SMALL[0])
        kept = await keep_alive(store, 1)
        segment = await next_segment(store)
        damage_rows(disk, store, segment)
        await forget(store, kept)
        trouble.room_bytes = 1
        assert not await store.upkeep.free_one()
        assert segment in store.files.kinds
        trouble.room_bytes = None
        await work(store)
        trouble.refused = ("read",)
        assert not await store.upkeep.free_one()
        assert store.upkeep.failures_total > 0
        assert (await store.stat([SMALL[0]]))[0].held
        trouble.refused = ()
        await work(store)
        await work(store)
        await free(store, segment)
        store = await require_whole_log(disk, store)
        assert (await store.get(SMALL[0]))[1] == VALUE_OF[SMALL[0]]
        await store.close()

    run(main())


@pytest.mark.parametrize("seed", range(6))
def test_after_rot_anywhere_in_rows_the_log_becomes_whole_again(seed: int) -> None:
    async def main() -> None:
        disk, rng = new_disk(seed), Random(seed)
        load = Load(Random(seed))
        store = await open_store(disk, seed)
        await load.work(store, 60)
        damaged = rng.sample(closed := logs(store)[:-1], min(len(closed), 2))
        assert damaged
        for number in damaged:
            content = disk.content(store.files.path(number))
            starts = [at for at in range(0, len(content), BLOCK) if content[at : at + 4] == b"HFlb"]
            disk.flip(store.files.path(number), 8 * (rng.choice(starts) + IN_ROWS))
        for _ in range(20):
            await load.work(store, 20)
            if not any(number in store.files.kinds for number in damaged):
                break
        assert not any(number in store.files.kinds for number in damaged)
        assert store.upkeep.failures_total == 0
        await judge(store, load.promise)
        store = await require_whole_log(disk, store)
        await judge(store, load.promise)
        await store.close()

    run(main())


async def damaged_and_dead(disk: SimDisk, store: DamageablePageStore) -> None:
    """A damaged segment worth freeing, with an older one and a later one that are not."""
    buried, dropped, claimed, held, *_ = SMALL
    for key in (buried, dropped):
        await put(store, key)
    await keep_alive(store, 1)
    await next_segment(store)
    await store.bury(buried, 1)
    await store.drop(dropped)
    await chunk(store, claimed, 1)
    await put(store, held)
    await put(store, LARGE[0])
    filling = await keep_alive(store, 2, 2)
    segment = await next_segment(store)
    await keep_alive(store, 3)
    await next_segment(store)
    await store.upkeep.checkpoint()
    damage_rows(disk, store, segment, 1)
    await forget(store, filling)


def set_after(event: asyncio.Event, _: object) -> None:
    event.set()


@pytest.mark.parametrize("late", [False, True], ids=["not done", "done"])
def test_a_power_cut_at_any_step_of_it_loses_nothing(*, late: bool) -> None:
    async def main() -> None:
        steps = 0
        while True:
            disk, trouble = new_disk(steps), Trouble(late=late)
            store = await open_store(FaultyDisk(disk, trouble), 0, settings=BY_HAND)
            await damaged_and_dead(disk, store)
            before = (await everything(store))[0]
            trouble.dies = len(trouble.calls) + steps
            freeing = asyncio.ensure_future(store.upkeep.free_one())
            freeing.add_done_callback(partial(set_after, trouble.died))
            await trouble.died.wait()
            is_over = freeing.done()
            freeing.cancel()
            disk = disk.crash()
            store = await open_store(disk, 1, settings=BY_HAND)
            assert (await everything(store))[0] == before
            while 2 in store.files.kinds:
                assert await store.upkeep.free_one()
            store = await require_whole_log(disk, store)
            assert (await everything(store))[0] == before
            await store.close()
            if is_over:
                break
            steps += 1
        assert steps > 10

    run(main())
