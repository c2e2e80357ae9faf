"""Reading a log back: what failed is no part of it, damage is refused unless the index has it."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from msgspec.structs import replace

from node.recordlog.log_tail import RETRY_S
from node.recordlog.segment_head import SegmentKind
from ring.digest import Digest
from ring.errors import Corrupt, StorageFault
from ring.messages import CopyVerdict
from ring.record import RecordKey, RecordState, dead, live
from tests.fakes.damageable_page_store import DamageablePageStore
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.node.recordlog.load import DATA, TINY, VALUE_OF, everything, open_store
from tests.sim.disk import SimDisk
from tests.sim.loop import run

SMALL = [key for key in VALUE_OF if 100 < len(VALUE_OF[key]) < 60_000]


async def put(store: DamageablePageStore, number: int) -> None:
    value = VALUE_OF[SMALL[number]]
    await store.put_root(SMALL[number], DATA, len(value), 1, value)


@pytest.mark.parametrize("removed", [False, True], ids=["next there", "next removed"])
def test_what_failed_is_no_part_of_the_log_though_it_stands_there(*, removed: bool) -> None:
    async def main() -> None:
        medium = SimDisk(Random(0), latency_s=0.0001)
        trouble = Trouble()
        store = await open_store(FaultyDisk(medium, trouble), 0)
        for number in range(7):  # so that the segment is not worth freeing
            value = bytes((number,)) * 12_000
            await store.put_chunk(RecordKey(Digest.of(value)), None, value)
        await asyncio.sleep(RETRY_S)  # there is room ahead
        trouble.refused = ("sync",)
        with pytest.raises(StorageFault):
            await put(store, 0)
        trouble.refused = ()
        assert VALUE_OF[SMALL[0]] in medium.content("log/1.seg")
        await asyncio.sleep(2 * RETRY_S)
        first = store.files.numbers(SegmentKind.LOG)[0]
        await put(store, 1)
        if removed:
            for partition in range(60):
                await store.raise_floor(partition, 1)
            await asyncio.sleep(RETRY_S)
            assert first + 1 not in store.files.numbers(SegmentKind.LOG)
        assert first in store.files.numbers(SegmentKind.LOG)
        before = await everything(store)
        medium = medium.kill()
        for broken in (None, "for this test"):
            store = await open_store(medium, 1, broken=broken)
            assert await store.stat([SMALL[0]]) == [RecordState()]
            assert await everything(store) == before
            await store.close()

    run(main())


def test_a_damaged_log_is_refused_unless_the_index_has_what_it_said() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0), latency_s=0.0001)
        store = await open_store(disk, 0)
        for number in range(4):
            await put(store, number)
        at = store.table.location(SMALL[1].raw)
        assert at is not None
        path = store.files.path(at.segment)
        await store.close()  # brings everything into the index
        disk.flip(path, 8 * (at.offset - 1))  # the rows end where the value begins
        store = await open_store(disk, 1)
        await put(store, 5)
        await store.close()
        store = await open_store(disk, 2)
        assert (await store.get(SMALL[5]))[1] == VALUE_OF[SMALL[5]]
        assert (await store.get(SMALL[3]))[1] == VALUE_OF[SMALL[3]]
        await store.close()
        with pytest.raises(Corrupt, match="damaged"):
            await open_store(disk, 3, broken="for this test")

    run(main())


def test_damage_just_before_the_only_batch_that_the_index_lacks_is_passed_over() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0), latency_s=0.0001)
        store = await open_store(disk, 0)
        for number in range(3):
            await put(store, number)
        at = store.table.location(SMALL[2].raw)
        assert at is not None
        path = store.files.path(at.segment)
        await store.table.checkpoint()
        await put(store, 3)
        disk = disk.kill()
        disk.flip(path, 8 * (at.offset - 1))  # the rows end where the value begins
        for process in (1, 2):
            store = await open_store(disk, process)
            for number in (0, 1, 2, 3):
                assert (await store.get(SMALL[number]))[1] == VALUE_OF[SMALL[number]]
            await put(store, 4 + process)
            disk = disk.kill()

    run(main())


def test_a_rotten_value_in_the_log_costs_only_itself_at_a_start() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0), latency_s=0.0001)
        store = await open_store(disk, 0)
        for number in range(4):
            await put(store, number)
        await store.bury(SMALL[0], 1)
        at = store.table.location(SMALL[1].raw)
        assert at is not None
        path = store.files.path(at.segment)
        await store.close()
        disk.flip(path, 8 * at.offset)
        for process, broken in ((1, None), (2, "so that all of the log is replayed")):
            store = await open_store(disk, process, broken=broken)
            assert (await store.get(SMALL[0])) == (RecordState(root=dead(1)), None)
            for number in (2, 3):
                assert (await store.get(SMALL[number]))[1] == VALUE_OF[SMALL[number]]
            assert (await store.stat([SMALL[1]]))[0].root == live(1)
            await store.close()
        store = await open_store(disk, 3)
        assert await store.verify(SMALL[1]) is CopyVerdict.QUARANTINED
        state, value = await store.get(SMALL[1])
        assert (state.root, state.held, value) == (live(1), False, None)
        await store.close()

    run(main())


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "quiet for a while"])
def test_damage_to_what_was_acknowledged_last_is_not_taken_for_a_torn_write(
    *, closed: bool
) -> None:
    async def main() -> None:
        disk = SimDisk(Random(0), latency_s=0.0001)
        store = await open_store(disk, 0)
        await put(store, 0)
        await store.bury(SMALL[0], 1)
        await put(store, 1)
        at = store.table.location(SMALL[1].raw)
        assert at is not None
        path = store.files.path(at.segment)
        if closed:
            await store.close()
        else:
            await store.upkeep.look()
            await store.upkeep.look()
            disk = disk.crash()
        disk.flip(path, 8 * at.offset)
        store = await open_store(disk, 1, broken="so that all of the log is replayed")
        states = await store.stat([SMALL[0], SMALL[1]])
        assert [state.root for state in states] == [dead(1), live(1)]
        await store.close()
        disk.flip(path, 8 * (at.offset - 1))
        with pytest.raises(Corrupt, match="damaged"):
            await open_store(disk, 2, broken="so that all of the log is replayed")

    run(main())


def test_a_value_rots_at_the_end_of_a_segment_whose_successor_is_gone() -> None:
    """Nothing tells any more where the segment ended; torn it cannot be, since the log went on."""

    still = replace(TINY, upkeep=replace(TINY.upkeep, interval_s=1e6))

    async def main() -> None:
        disk = SimDisk(Random(0), latency_s=0.0001)
        store = await open_store(disk, 0, settings=still)
        first = store.files.numbers(SegmentKind.LOG)[0]
        places: dict[int, RecordKey] = {}
        number = 0
        while len(store.files.numbers(SegmentKind.LOG)) < 3:
            number += 1
            value = b"%d" % number * 1000
            key = RecordKey(Digest.of(value))
            await store.put_root(key, DATA, len(value), 1, value)
            at = store.table.location(key.raw)
            assert at is not None
            if at.segment == first:
                places[at.offset] = key
        second = store.files.numbers(SegmentKind.LOG)[1]
        path, successor = store.files.path(first), store.files.path(second)
        await store.close()
        last = max(places)
        disk.flip(path, 8 * last)
        await disk.unlink(successor)
        store = await open_store(disk, 1, broken="so that all of the log is replayed")
        assert (await store.stat([places[last]]))[0].exists
        await store.close()

    run(main())


@pytest.mark.parametrize("seed", range(6))
def test_a_name_that_a_dead_process_left_unsynced_is_durable_before_it_counts(seed: int) -> None:
    """The process died between naming a segment and syncing the directory; the system lived on."""

    async def main() -> None:
        disk = SimDisk(Random(seed), latency_s=0.0001)
        store = await open_store(disk, 0)
        await put(store, 0)
        path = store.files.path(store.files.numbers(SegmentKind.LOG)[0])
        await store.close()
        await disk.rename(path, "log/begun.tmp")
        await disk.sync_directory("log")
        await disk.rename("log/begun.tmp", path)
        disk = disk.kill()
        store = await open_store(disk, 1)
        await put(store, 1)
        disk = disk.crash()
        store = await open_store(disk, 2)
        for number in (0, 1):
            assert (await store.get(SMALL[number]))[1] == VALUE_OF[SMALL[number]]
        await store.close()

    run(main())


def test_a_segment_of_another_store_is_refused() -> None:
    async def main() -> None:
        disks = []
        for seed in range(2):
            disk = SimDisk(Random(seed), latency_s=0.0001)
            store = await open_store(disk, seed)
            await put(store, seed)
            await store.close()
            disks.append(disk)
        content = disks[1].content("log/1.seg")
        await disks[0].publish("log/9.tmp", "log/9.seg", content)
        with pytest.raises(Corrupt, match=r"another|damaged"):
            await open_store(disks[0], 3)

    run(main())


def test_a_store_whose_log_is_gone_remembers_nothing() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0), latency_s=0.0001)
        store = await open_store(disk, 0)
        await put(store, 0)
        await store.close()
        for name in await disk.list_directory("log"):
            await disk.unlink(f"log/{name}")
        store = await open_store(disk, 1)
        assert not store.had_state
        assert await store.stat([SMALL[0]]) == [RecordState()]
        await put(store, 0)
        await store.close()

    run(main())


@pytest.mark.parametrize("batch", range(3))
def test_damage_before_the_last_batch_is_no_torn_write(batch: int) -> None:
    async def main() -> None:
        disk = SimDisk(Random(0), latency_s=0.0001)
        store = await open_store(disk, 0)
        for number in range(3):
            await store.raise_floor(number, 1)
        path = store.files.path(store.files.numbers(SegmentKind.LOG)[0])
        disk = disk.kill()
        disk.flip(path, 8 * ((1 + batch) * 4096 + 60))
        if batch < 2:
            with pytest.raises(Corrupt, match="written later"):
                await open_store(disk, 1)
            return
        store = await open_store(disk, 1)
        assert store.table.floors() == {0: 1, 1: 1}
        await store.raise_floor(7, 1)
        disk = disk.crash()
        store = await open_store(disk, 2)
        assert store.table.floors() == {0: 1, 1: 1, 7: 1}
        await store.close()

    run(main())
