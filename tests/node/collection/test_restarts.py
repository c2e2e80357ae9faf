"""What a store that is opened again knows of trash, settled tombstones and purges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import pytest

from node.file_store import FileRecordStore
from node.local_store import LocalRecordStore
from ring.digest import Digest
from ring.purge import Tombstone
from ring.record import ABSENT, RecordKey, RecordKind, RecordState, dead
from tests.fakes.damageable_page_store import SMALL_PAGES, DamageablePageStore
from tests.fakes.file_index import FileIndexHome
from tests.fakes.manual_clock import ManualClock
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness

Open = Callable[[SimDisk], Awaitable[LocalRecordStore]]
TRASH, LARGE, SETTLED, PURGED, CHUNK = (
    RecordKey(Digest.of(value)) for value in (b"trash", b"l" * 70_000, b"settled", b"purged", b"c")
)
BLOB = Digest.of(b"blob")


async def files(disk: SimDisk) -> LocalRecordStore:
    return await FileRecordStore.open(
        disk, clock=ManualClock(), randomness=SimRandomness(Random(1))
    )


async def pages(disk: SimDisk) -> LocalRecordStore:
    return await DamageablePageStore.open(
        disk,
        FileIndexHome(disk),
        clock=ManualClock(),
        randomness=SimRandomness(Random(1)),
        settings=SMALL_PAGES,
    )


def yes() -> bool:
    return True


@pytest.mark.parametrize("open_store", [files, pages], ids=lambda make: make.__name__)
async def test_what_left_a_store_stays_gone_and_what_waits_still_waits(
    open_store: Open,
) -> None:
    disk = SimDisk(Random(2), latency_s=0)
    store = await open_store(disk)
    for key, value in ((TRASH, b"trash"), (LARGE, b"l" * 70_000)):
        await store.put_root(key, RecordKind.DATA, len(value), 1, value)
        await store.bury(key, 1, keep_value=True)
    for key in (SETTLED, PURGED):
        await store.bury(key, 3)
        await store.disposal.settle([Tombstone(key, dead(3))], yes)
    await store.disposal.purge([Tombstone(PURGED, dead(3))], yes)
    await store.put_chunk(CHUNK, BLOB, b"c")
    await store.bury(CHUNK, 2)
    number = await store.disposal.condemn(CHUNK)
    assert number is not None
    await store.disposal.collect(CHUNK, number)
    keys = [TRASH, LARGE, SETTLED, PURGED, CHUNK]
    before = await store.stat(keys)
    await store.close()

    again = await open_store(disk)

    assert await again.stat(keys) == before
    assert before[2:4] == [RecordState(root=dead(3), settled=True), ABSENT]
    assert await again.floors() == {PURGED.digest.partition: 3}
    assert (await again.get(LARGE))[1] == b"l" * 70_000
    assert await again.claims(CHUNK, None, 9) == ([], True)
    assert before[4].is_tombstone
    await again.close()
