"""The record stores that test_record_store.py runs on; add a factory to STORES to test another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from node.file_paths import value_path
from node.file_store import FileRecordStore
from node.local_store import LocalRecordStore
from node.memory_store import MemoryRecordStore
from node.posix_disk import PosixDisk
from node.posix_threads import Threads
from ring.digest import Algorithm, Digest
from ring.record import RecordEntry, RecordKey, RecordKind, live
from ring.seams import RecordStore
from tests.fakes.manual_clock import ManualClock
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness


@dataclass(frozen=True, slots=True)
class Subject:
    """A store to test.

    store: what is tested.  local: the store of a node behind it, often the same.  clock: the node's
    wall clock.  damage: replace the stored bytes of a value.
    """

    store: RecordStore
    local: LocalRecordStore
    clock: ManualClock
    damage: Callable[[RecordKey, RecordKind, bytes], Awaitable[None]]


Factory = Callable[[Path], AbstractAsyncContextManager[Subject]]


@asynccontextmanager
async def in_memory(path: Path) -> AsyncIterator[Subject]:
    clock = ManualClock()
    store = MemoryRecordStore(clock)

    async def damage(key: RecordKey, kind: RecordKind, value: bytes) -> None:
        await store.values.write(key, kind, value)

    yield Subject(store, store, clock, damage)
    await store.close()


@asynccontextmanager
async def files_on_the_real_disk(path: Path) -> AsyncIterator[Subject]:
    clock = ManualClock()
    disk = PosixDisk(str(path / "node"), threads=4)
    hashing = Threads(1, "hashing")
    store = await FileRecordStore.open(
        disk, clock=clock, randomness=SimRandomness(Random(1)), offload=hashing.run
    )

    async def damage(key: RecordKey, kind: RecordKind, value: bytes) -> None:
        (path / "node" / value_path(key, kind)).write_bytes(value)

    yield Subject(store, store, clock, damage)
    await store.close()
    await hashing.close()
    await disk.close()


@asynccontextmanager
async def files_on_the_simulated_disk(path: Path) -> AsyncIterator[Subject]:
    clock = ManualClock()
    disk = SimDisk(Random(2), latency_s=0)
    store = await FileRecordStore.open(disk, clock=clock, randomness=SimRandomness(Random(3)))

    async def damage(key: RecordKey, kind: RecordKind, value: bytes) -> None:
        file = await disk.open(value_path(key, kind))
        await file.truncate(0)
        await file.write(0, value)
        await file.close()

    yield Subject(store, store, clock, damage)
    await store.close()


STORES: list[Factory] = [in_memory, files_on_the_real_disk, files_on_the_simulated_disk]


def key_of(value: bytes, algorithm: Algorithm = Algorithm.BLAKE3) -> RecordKey:
    """The key under which `value` is filed."""
    return RecordKey(Digest.of(value, algorithm))


async def put(subject: Subject, value: bytes, generation: int = 1) -> RecordKey:
    """A client's put that must be accepted."""
    key = key_of(value)
    answer = await subject.store.put_root(key, RecordKind.DATA, len(value), generation, value)
    assert answer.root == live(generation)
    return key


async def every_entry(subject: Subject, *, roots_only: bool, limit: int = 7) -> list[RecordEntry]:
    """All pages one after the other."""
    entries: list[RecordEntry] = []
    done = False
    while not done:
        after = entries[-1].key if entries else None
        page, done = await subject.store.page(after, limit, roots_only=roots_only)
        assert page or done
        assert len(page) <= limit
        entries += page
    return entries
