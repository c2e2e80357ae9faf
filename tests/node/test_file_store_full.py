"""A file store whose disk has no room left, or takes no more writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from node.file_store import FileRecordStore
from node.posix_disk import PosixDisk
from node.state_journal import RENEW_RETRY_S
from ring.digest import Digest
from ring.errors import DiskFull, StorageFault
from ring.limits import CHUNK_BYTES
from ring.record import RecordKey, RecordKind, RecordState, dead, live
from ring.seams import Disk
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.manual_clock import ManualClock
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness
from tests.sim.loop import run


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[PosixDisk]:
    disk = PosixDisk(str(tmp_path / "node"), threads=2)
    yield disk
    await disk.close()


async def open_on(disk: Disk) -> FileRecordStore:
    randomness = SimRandomness(Random(0))
    return await FileRecordStore.open(disk, clock=ManualClock(), randomness=randomness)


def key_of(value: bytes) -> RecordKey:
    return RecordKey(Digest.of(value))


async def put(store: FileRecordStore, value: bytes) -> RecordKey:
    key = key_of(value)
    answer = await store.put_root(key, RecordKind.DATA, len(value), 1, value)
    assert answer.root == live(1)
    return key


async def test_on_a_full_disk_reads_and_deletes_go_on(disk: PosixDisk) -> None:
    faulty = FaultyDisk(disk)
    store = await open_on(faulty)
    keys = [await put(store, b"%d" % number) for number in range(100)]
    chunk = key_of(b"chunk")
    await store.put_chunk(chunk, None, b"chunk")
    faulty.trouble.room_bytes = 0

    with pytest.raises(DiskFull):
        await put(store, b"no room")
    assert await store.stat([key_of(b"no room")]) == [RecordState()]
    await asyncio.gather(*(store.bury(key, 1) for key in keys[:50]))
    for key in keys[50:90]:
        assert (await store.bury(key, 1)).root == dead(1)
    assert (await store.get(keys[95]))[1] == b"95"
    await store.close()

    store = await open_on(faulty)
    assert [state.root for state in await store.stat(keys)] == [dead(1)] * 90 + [live(1)] * 10
    with pytest.raises(DiskFull):
        await put(store, bytes(CHUNK_BYTES))
    assert (await store.bury(keys[99], 1)).root == dead(1)
    faulty.trouble.room_bytes = None
    await put(store, bytes(CHUNK_BYTES))
    await store.close()


async def test_room_that_comes_back_is_used(disk: PosixDisk) -> None:
    faulty = FaultyDisk(disk)
    store = await open_on(faulty)
    for number in range(5):
        faulty.trouble.room_bytes = 0
        with pytest.raises(DiskFull):
            await put(store, b"%d" % number)
        faulty.trouble.room_bytes = None
        await put(store, b"%d" % number)
    await store.close()


def test_on_a_read_only_disk_reads_go_on_and_nothing_is_acknowledged() -> None:
    async def main() -> None:
        faulty = FaultyDisk(SimDisk(Random(0)))
        store = await open_on(faulty)
        kept, rotten = await put(store, b"kept"), await put(store, b"rotten")
        faulty.trouble.refused = ("publish", "write", "truncate", "rename", "unlink", "sync",
                                  "sync directory", "make directories")  # fmt: skip

        for _ in range(2):
            for attempt in (put(store, b"new"), store.bury(kept, 1), store.drop(rotten)):
                with pytest.raises(StorageFault):
                    await attempt
        assert (await store.get(kept))[1] == b"kept"
        assert [state.root for state in await store.stat([kept, rotten])] == [live(1), live(1)]
        assert await store.stat([key_of(b"new")]) == [RecordState()]

        faulty.trouble.refused = ()
        await asyncio.sleep(RENEW_RETRY_S)
        await put(store, b"new")
        assert (await store.bury(kept, 1)).root == dead(1)
        await store.close()
        store = await open_on(faulty)
        assert (await store.get(key_of(b"new")))[1] == b"new"
        assert (await store.get(kept))[1] is None
        await store.close()

    run(main())
