"""A file store whose process dies or whose disk fails at every single step.

Each run does the same operations on a simulated disk, which is told to die or fail at the n-th
call; then the power is cut and the store is opened again.  What was acknowledged must be there,
what was deleted must be gone, and no copy may be anything but right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from node.file_store import FileRecordStore
from node.local_store import LocalRecordStore
from ring.digest import Algorithm, Digest
from ring.errors import HoldfastError, StorageFault
from ring.limits import CHUNK_BYTES
from ring.messages import CopyVerdict
from ring.recipe import Recipe
from ring.record import NO_ROOT, RecordKey, RecordKind, RecordState, Root, dead, is_live, live
from ring.seams import Disk
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.fakes.manual_clock import ManualClock
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness
from tests.sim.loop import run

DATA = RecordKind.DATA
VALUES = [b"", b"one", b"two" * 100, b"three" * 5000, b"chunk"]
KEYS = [
    RecordKey(Digest.of(value, list(Algorithm)[number % 3])) for number, value in enumerate(VALUES)
]
BLOB = Digest.of(b"a large blob", Algorithm.SHA256)
RECIPE = Recipe(CHUNK_BYTES + 5, (KEYS[3].digest, KEYS[3].digest))


@dataclass(slots=True)
class Acked:
    """What the store said, and so must hold.

    roots: the least root of each record.  values: which must be held.  claims: likewise.
    """

    roots: dict[RecordKey, Root] = field(default_factory=dict)
    values: dict[RecordKey, bytes] = field(default_factory=dict)
    claims: list[RecordKey] = field(default_factory=list)
    floor: int = 0
    refusals: int = 0

    def put(self, key: RecordKey, root: Root, value: bytes) -> None:
        self.roots[key] = max(root, self.roots.get(key, NO_ROOT))
        self.values[key] = value

    def bury(self, key: RecordKey, root: Root) -> None:
        self.roots[key] = max(root, self.roots.get(key, NO_ROOT))


async def open_store(disk: Disk, seed: int) -> FileRecordStore:
    return await FileRecordStore.open(
        disk,
        clock=ManualClock(),
        randomness=SimRandomness(Random(seed)),
        compact_bytes_min=600,  # so that the state is compacted again and again
    )


def operations(store: LocalRecordStore, acked: Acked) -> list[Callable[[], Awaitable[None]]]:
    """What is done, in order; each adds to `acked` when it is told that it succeeded."""

    def put(number: int, generation: int) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            key, value = KEYS[number], VALUES[number]
            answer = await store.put_root(key, DATA, len(value), generation, value)
            if answer.root == live(generation):
                acked.put(key, answer.root, value)

        return one

    def bury(number: int) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            acked.values.pop(KEYS[number], None)  # it may go as soon as it is asked to
            state = await store.bury(KEYS[number], 1)
            acked.bury(KEYS[number], state.root)

        return one

    async def put_large() -> None:
        key, value = RecordKey(BLOB), RECIPE.encode(BLOB)
        await store.put_root(key, RecordKind.RECIPE, RECIPE.size_bytes, 1, value)
        acked.put(key, live(1), value)

    async def put_chunk() -> None:
        await store.put_chunk(KEYS[4], BLOB, VALUES[4])
        acked.put(KEYS[4], NO_ROOT, VALUES[4])
        acked.claims.append(KEYS[4])

    async def confirm() -> None:
        if await store.confirm(BLOB, [KEYS[3].digest]) == [True]:
            acked.claims.append(KEYS[3])

    async def absorb() -> None:
        await store.absorb(KEYS[2], RecordState(root=dead(3)), [], None)
        acked.values.pop(KEYS[2], None)
        acked.bury(KEYS[2], dead(3))

    async def raise_floor() -> None:
        await store.raise_floor(5, 2)
        acked.floor = 2

    async def together() -> None:
        await asyncio.gather(*(attempt(one) for one in (put(0, 2), put(2, 2), put(4, 1))))

    async def attempt(one: Callable[[], Awaitable[None]]) -> None:
        try:
            await one()
        except HoldfastError:
            acked.refusals += 1

    steps = (put(0, 1), put(1, 1), put(3, 1), put_chunk, bury(1), put(1, 1), confirm, put(1, 2),
             put_large, put(3, 1), raise_floor, together, bury(0), absorb, put(1, 2))  # fmt: skip
    return [lambda step=step: attempt(step) for step in steps]  # type: ignore[misc]  # a loop value


async def judge(store: LocalRecordStore, acked: Acked) -> None:
    """Everything acknowledged is there, and nothing wrong is."""
    for key, root in acked.roots.items():
        state = (await store.stat([key]))[0]
        assert state.root >= root, key
    for key, value in acked.values.items():
        state, got = await store.get(key)
        if state.root == acked.roots[key]:
            assert got == value, key
    for key in acked.claims:
        claims, _ = await store.claims(key, None, 10)
        assert claims == [BLOB], key
    assert (await store.floors()).get(5, 0) >= acked.floor
    entries, done = await store.page(None, 100, roots_only=False)
    assert done
    for entry in entries:
        held = entry.state.held
        assert await store.verify(entry.key) is (CopyVerdict.GOOD if held else CopyVerdict.ABSENT)
        if is_live(entry.state.root):
            assert held


def put_again(store: LocalRecordStore) -> list[Awaitable[object]]:
    """Puts that must succeed on a healthy disk, whatever happened before."""
    return [
        store.put_root(key, DATA, len(value), 9, value)
        for key, value in zip(KEYS, VALUES, strict=True)
    ]


async def calls_of_a_quiet_run() -> int:
    disk = FaultyDisk(SimDisk(Random(0), latency_s=0.001))
    store = await open_store(disk, 0)
    acked = Acked()
    for operation in operations(store, acked):
        await operation()
    assert not acked.refusals
    await judge(store, acked)
    await store.close()
    return len(disk.trouble.calls)


CALLS = run(calls_of_a_quiet_run())


async def die(number: int, seed: int, *, late: bool, power: bool) -> None:
    """One run that ends at a call; after it, two starts in a row."""
    medium = SimDisk(Random(seed), latency_s=0.001)
    trouble = Trouble(dies=number, late=late)
    acked = Acked()

    async def live_once() -> None:
        store = await open_store(FaultyDisk(medium, trouble), seed)
        for operation in operations(store, acked):
            await operation()
        await store.close()

    life = asyncio.ensure_future(live_once())
    death = asyncio.ensure_future(trouble.died.wait())
    life.add_done_callback(lambda _: death.cancel())
    await asyncio.gather(death, return_exceptions=True)
    medium = medium.crash() if power else medium.kill()
    store = await open_store(medium, seed + 1)
    await judge(store, acked)
    medium = medium.crash()
    store = await open_store(medium, seed + 2)
    await judge(store, acked)
    await asyncio.gather(*put_again(store))
    await store.close()


@pytest.mark.parametrize("power", [True, False], ids=["power", "process"])
@pytest.mark.parametrize("late", [True, False], ids=["after", "before"])
def test_dying_at_any_call_loses_nothing_acknowledged(*, late: bool, power: bool) -> None:
    for number in range(0, CALLS, 1 if power else 2):
        run(die(number, number, late=late, power=power))


async def fail(fails: range, seed: int, *, late: bool) -> None:
    """One run in which calls fail; then everything works again, and the power is cut."""
    medium = SimDisk(Random(seed), latency_s=0.001)
    trouble = Trouble(fails=fails, late=late)
    acked = Acked()
    disk = FaultyDisk(medium, trouble)
    try:
        store = await open_store(disk, seed)
    except StorageFault:
        store = await open_store(medium, seed + 1)
    for operation in operations(store, acked):
        await operation()
    trouble.fails = range(0)
    await asyncio.sleep(5)
    await asyncio.gather(*put_again(store))
    medium = medium.crash()
    store = await open_store(medium, seed + 2)
    await judge(store, acked)
    for key, value in zip(KEYS, VALUES, strict=True):
        state, got = await store.get(key)
        assert (state.root, got) == (live(9), value)
    await store.close()


@pytest.mark.parametrize("late", [True, False], ids=["after", "before"])
def test_a_fault_at_any_call_is_never_a_false_ack(*, late: bool) -> None:
    for number in range(CALLS):
        run(fail(range(number, number + 1), number, late=late))


@pytest.mark.parametrize("late", [True, False], ids=["after", "before"])
def test_faults_from_any_call_on_are_never_a_false_ack(*, late: bool) -> None:
    for number in range(int(late), CALLS, 4):
        run(fail(range(number, number + 40), number, late=late))
