"""A page record store whose disk fails at every single call, is full from any point on, or dies.

What was acknowledged must be there, what failed may be or not, no copy may be anything but right,
and when the fault is gone the store goes on by itself.
"""

from __future__ import annotations

import asyncio
import os
from random import Random

import pytest
from msgspec.structs import replace

from node.recordlog.log_tail import RETRY_S
from ring.digest import Digest
from ring.errors import DiskFull, HoldfastError
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.record import RecordKey, dead
from tests.fakes.damageable_page_store import DamageablePageStore
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.node.recordlog.load import (
    BLOCK,
    DATA,
    KEYS,
    TINY,
    VALUE_OF,
    Load,
    everything,
    judge,
    open_store,
    values_put_again,
)
from tests.sim.device import DiskFaults
from tests.sim.disk import SimDisk
from tests.sim.loop import run

OPERATIONS = 12
RUNS = int(os.environ.get("HOLDFAST_FAULT_RUNS", "40"))


def medium_of(seed: int) -> SimDisk:
    return SimDisk(Random(seed), latency_s=0.001, faults=DiskFaults(warm=0.9))


async def calls_of_a_quiet_run() -> list[str]:
    disk = FaultyDisk(medium_of(0))
    store = await open_store(disk, 0)
    load = Load(Random(0))
    await load.work(store, OPERATIONS)
    assert not load.refusals
    await store.close()
    return disk.trouble.calls


CALLS = run(calls_of_a_quiet_run())
STRIDE = max(1, len(CALLS) // RUNS)


def same_after_rebuild(disk: SimDisk) -> None:
    """The log alone says what the index says."""

    async def main() -> None:
        store = await open_store(disk, 1)
        by_index = await everything(store)
        await store.close()
        store = await open_store(disk, 2, broken="for this test")
        assert await everything(store) == by_index
        await store.close()

    run(main())


async def fail(fails: range, seed: int, *, late: bool) -> SimDisk:
    """One run in which calls fail; then everything works again, and the power is cut."""
    medium = medium_of(seed)
    trouble = Trouble(fails=fails, late=late)
    load = Load(Random(0), reads_fail=True)
    try:
        store = await open_store(FaultyDisk(medium, trouble), seed)
    except HoldfastError:
        trouble.fails = range(0)
        store = await open_store(FaultyDisk(medium, trouble), seed)
    await load.work(store, OPERATIONS)
    await judge_despite(store, load, trouble)
    trouble.fails = range(0)
    await asyncio.sleep(2 * RETRY_S)
    await judge(store, load.promise, reads_failed=True)
    medium = medium.crash()
    store = await open_store(medium, seed + 1)
    await judge(store, load.promise, reads_failed=True)
    await asyncio.gather(*values_put_again(store))
    medium = medium.crash()
    store = await open_store(medium, seed + 2)
    for key, value in VALUE_OF.items():
        assert (await store.get(key))[1] == value
    await store.close()
    return medium


async def judge_despite(store: DamageablePageStore, load: Load, trouble: Trouble) -> None:
    """`judge`, though reads may fail."""
    try:
        await judge(store, load.promise, reads_failed=True)
    except HoldfastError:
        assert len(trouble.calls) > trouble.fails.start


@pytest.mark.parametrize("late", [True, False], ids=["after", "before"])
def test_a_fault_at_any_call_is_never_a_false_ack(*, late: bool) -> None:
    for number in range(int(late), len(CALLS), STRIDE):
        medium = run(fail(range(number, number + 1), number, late=late))
        if number % 4 < 2:
            same_after_rebuild(medium)


@pytest.mark.parametrize("late", [True, False], ids=["after", "before"])
def test_faults_from_any_call_on_are_never_a_false_ack(*, late: bool) -> None:
    for number in range(int(late), len(CALLS), 3 * STRIDE):
        medium = run(fail(range(number, number + 40), number, late=late))
        same_after_rebuild(medium)


async def die(
    number: int,
    *,
    late: bool,
    power: bool,
    works_on: bool | None = None,
    seed: int | None = None,
) -> SimDisk:
    """One run that ends at a call; after it, two starts in a row."""
    medium = medium_of(number if seed is None else seed)
    trouble = Trouble(dies=number, late=late)
    load = Load(Random(0))

    async def live_once() -> None:
        store = await open_store(FaultyDisk(medium, trouble), number)
        await load.work(store, OPERATIONS)
        await store.close()

    life = asyncio.ensure_future(live_once())
    death = asyncio.ensure_future(trouble.died.wait())
    life.add_done_callback(lambda _: death.cancel())
    await asyncio.gather(death, return_exceptions=True)
    medium = medium.crash() if power else medium.kill()
    store = await open_store(medium, number)
    assert store.had_state or not load.promise.had_state
    await judge(store, load.promise)
    await load.witness(store)  # what a start has shown stays
    if number % 2 if works_on is None else works_on:
        await load.work(store, 2)
    medium = medium.crash()
    store = await open_store(medium, number)
    await judge(store, load.promise)
    await store.close()
    return medium


@pytest.mark.parametrize("power", [True, False], ids=["power", "process"])
@pytest.mark.parametrize("late", [True, False], ids=["after", "before"])
def test_dying_at_any_call_loses_nothing_acknowledged(*, late: bool, power: bool) -> None:
    for number in range(int(late) + 2 * int(power), len(CALLS), 2 * STRIDE):
        medium = run(die(number, late=late, power=power))
        if number % 4 < 2:
            same_after_rebuild(medium)


def test_names_that_a_dead_process_left_are_made_durable() -> None:
    for number, call in enumerate(CALLS):
        if call == "sync directory":
            run(die(number, late=False, power=False, works_on=True, seed=0))


async def fill(room_bytes: int, seed: int) -> SimDisk:
    """One run on a disk with so much room; then there is room again, and the power is cut."""
    medium = medium_of(seed)
    trouble = Trouble(room_bytes=room_bytes)
    load = Load(Random(seed))
    try:
        store = await open_store(FaultyDisk(medium, trouble), seed)
    except DiskFull:
        trouble.room_bytes = None
        store = await open_store(FaultyDisk(medium, trouble), seed)
        trouble.room_bytes = room_bytes
    await load.work(store, 3 * OPERATIONS)
    await judge(store, load.promise)
    trouble.room_bytes = None
    await asyncio.sleep(2 * RETRY_S)
    await asyncio.gather(*values_put_again(store))
    medium = medium.crash()
    store = await open_store(medium, seed + 1)
    for key, value in VALUE_OF.items():
        assert (await store.get(key))[1] == value
    await store.close()
    return medium


def test_a_disk_that_is_full_at_any_step_loses_nothing() -> None:
    for number in range(RUNS // 2):
        medium = run(fill(number * 1024 * 1024 // (RUNS // 2), number))
        same_after_rebuild(medium)


def test_on_a_full_disk_reads_and_deletes_go_on_and_make_room() -> None:
    async def main() -> None:
        trouble = Trouble()
        settings = replace(TINY, log=replace(TINY.log, reserve_bytes=64 * BLOCK))
        store = await open_store(FaultyDisk(medium_of(1), trouble), 1, settings=settings)
        for key, value in VALUE_OF.items():
            await store.put_root(key, DATA, len(value), 1, value)
        await asyncio.sleep(RETRY_S)
        trouble.room_bytes = 0
        refused = 0
        for key, value in list(VALUE_OF.items()) * 4:
            try:
                await store.put_chunk(key, KEYS[refused % 3].digest, value)
            except DiskFull:
                refused += 1
        assert refused
        for key, value in VALUE_OF.items():
            assert (await store.get(key))[1] == value
            if key.raw[-1] % 2 or len(value) > PAYLOAD_SMALL_BYTES_MAX:
                await store.drop(key)
            else:
                assert (await store.bury(key, 1)).root == dead(1)
        await asyncio.sleep(5 * RETRY_S)  # what is dead is freed
        for key, value in list(VALUE_OF.items())[:3]:
            await store.put_root(key, DATA, len(value), 2, value)
        await store.close()

    run(main())


def test_half_dead_bulk_segments_are_freed_on_a_full_disk() -> None:
    async def main() -> None:
        trouble = Trouble()
        settings = replace(TINY, log=replace(TINY.log, reserve_bytes=64 * BLOCK))
        store = await open_store(FaultyDisk(medium_of(1), trouble), 1, settings=settings)
        values = [b"%d" % number * 80_000 for number in range(24)]
        large = {RecordKey(Digest.of(value)): value[:] for value in values}
        for key, value in large.items():
            await store.put_root(key, DATA, len(value), 1, value)
        await asyncio.sleep(RETRY_S)
        trouble.room_bytes = 0
        with pytest.raises(DiskFull):
            for value in (b"a" * 90_000, b"b" * 90_000, b"c" * 90_000, b"d" * 90_000):
                await store.put_root(RecordKey(Digest.of(value)), DATA, len(value), 1, value)
        for number, key in enumerate(large):
            if number % 2:
                await store.drop(key)
        await asyncio.sleep(5 * RETRY_S)
        fresh = b"e" * 90_000
        await store.put_root(RecordKey(Digest.of(fresh)), DATA, len(fresh), 1, fresh)
        for number, (key, value) in enumerate(large.items()):
            assert (await store.get(key))[1] == (None if number % 2 else value)
        await store.close()

    run(main())
