"""A store whose log is gone: what is left of it is not trusted, and not destroyed either."""

from __future__ import annotations

from random import Random

import pytest

from node.recordlog.segment_head import SegmentKind
from ring.errors import Corrupt, StorageFault
from ring.record import RecordKey, RecordState
from tests.fakes.damageable_page_store import DamageablePageStore
from tests.fakes.file_index import FileIndexHome
from tests.fakes.manual_clock import ManualClock
from tests.fakes.virtual_time import in_virtual_time
from tests.node.recordlog.load import DATA, TINY, VALUE_OF, open_store
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness

SMALL = next(key for key in VALUE_OF if 100 < len(VALUE_OF[key]) < 60_000)
LARGE = next(key for key in VALUE_OF if len(VALUE_OF[key]) > 65_536)


async def disk_without_log(*keys: RecordKey) -> SimDisk:
    disk = SimDisk(Random(0), latency_s=0.0001)
    store = await open_store(disk, 0)
    for key in keys:
        await store.put_root(key, DATA, len(VALUE_OF[key]), 1, VALUE_OF[key])
    await store.close()
    for name in await disk.list_directory("log"):
        await disk.unlink(f"log/{name}")
    return disk


@in_virtual_time
async def test_values_without_their_log_are_refused_in_words_and_left_alone() -> None:
    disk = await disk_without_log(SMALL, LARGE)
    before = {path: bytes(node.content) for path, node in disk.files() if "index" not in path}

    for _ in range(2):
        with pytest.raises(Corrupt, match="log/, which says what they are, is empty"):
            await open_store(disk, 1)

    assert {p: bytes(n.content) for p, n in disk.files() if "index" not in p} == before


@in_virtual_time
async def test_a_store_that_kept_nothing_large_begins_anew_and_says_so() -> None:
    disk = await disk_without_log(SMALL)
    store = await open_store(disk, 1)

    assert not store.had_state
    assert await store.stat([SMALL]) == [RecordState()]
    assert store.table.records == 0
    await store.close()


@in_virtual_time
async def test_who_must_know_of_the_loss_knows_before_there_is_a_log_again() -> None:
    disk = await disk_without_log(SMALL)
    told = 0

    async def tell() -> None:
        nonlocal told
        told += 1
        assert [name for name in await disk.list_directory("log") if name.endswith("seg")] == []
        if told == 1:
            raise StorageFault("the marker could not be written")

    async def opened() -> DamageablePageStore:
        return await DamageablePageStore.open(
            disk,
            FileIndexHome(disk),
            clock=ManualClock(),
            randomness=SimRandomness(Random(2)),
            settings=TINY,
            before_new=tell,
        )

    with pytest.raises(StorageFault):
        await opened()
    store = await opened()
    assert (told, store.had_state) == (2, False)
    assert store.files.numbers(SegmentKind.LOG)
    await store.close()
    store = await opened()
    assert (told, store.had_state) == (2, True)
    await store.close()
