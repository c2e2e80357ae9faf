"""A file store whose disk has no room left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from node.file_store import FileRecordStore
from node.posix_disk import PosixDisk
from ring.digest import Digest
from ring.errors import DiskFull
from ring.limits import CHUNK_BYTES
from ring.record import RecordKey, RecordKind, RecordState, dead, live
from ring.seams import Disk
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.manual_clock import ManualClock
from tests.sim.host import SimRandomness


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
