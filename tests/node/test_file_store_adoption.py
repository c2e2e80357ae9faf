"""A file store without its state takes in what its files say, and no more than they say."""

from __future__ import annotations

from random import Random

from node.file_paths import value_path
from node.file_store import FileRecordStore
from ring.digest import Digest
from ring.limits import CHUNK_BYTES
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind, live
from tests.fakes.manual_clock import ManualClock
from tests.fakes.virtual_time import in_virtual_time
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness

DATA, RECIPE = RecordKind.DATA, RecordKind.RECIPE
SMALL = b"fits into one record"
LARGE = RecordKey(Digest.of(b"stands for something large"))
CHUNKS = (b"chunk one", b"chunk two")


def key_of(value: bytes) -> RecordKey:
    return RecordKey(Digest.of(value))


def recipe_of(key: RecordKey) -> bytes:
    digests = tuple(Digest.of(chunk) for chunk in CHUNKS)
    return Recipe(CHUNK_BYTES + 1, digests).encode(key.digest)


async def lay(disk: SimDisk, key: RecordKey, kind: RecordKind, value: bytes) -> None:
    """A file that somebody left there."""
    path = value_path(key, kind)
    await disk.make_directories(path.rpartition("/")[0])
    await disk.publish(f"{path}.new", path, value)


async def open_on(disk: SimDisk) -> FileRecordStore:
    randomness = SimRandomness(Random(0))
    return await FileRecordStore.open(disk, clock=ManualClock(), randomness=randomness)


@in_virtual_time
async def test_bytes_that_prove_themselves_win_over_a_recipe_for_them() -> None:
    disk, key = SimDisk(Random(0), latency_s=0), key_of(SMALL)
    await lay(disk, key, DATA, SMALL)
    await lay(disk, key, RECIPE, recipe_of(key))

    for _ in range(2):  # the second start removes what no row knows
        store = await open_on(disk)
        state, value = await store.get(key)
        assert (state.kind, state.size_bytes, state.root) == (DATA, len(SMALL), live(1))
        assert value == SMALL
        await store.close()


@in_virtual_time
async def test_a_chunk_that_a_recipe_names_and_no_file_holds_is_not_here() -> None:
    disk = SimDisk(Random(0), latency_s=0)
    here, missing = map(key_of, CHUNKS)
    await lay(disk, here, DATA, CHUNKS[0])
    await lay(disk, LARGE, RECIPE, recipe_of(LARGE))

    store = await open_on(disk)
    assert [state.held for state in await store.stat([LARGE, here, missing])] == [
        True, True, False,
    ]  # fmt: skip
    assert await store.claims(here, None, 10) == ([LARGE.digest], True)
    assert await store.confirm(LARGE.digest, [here.digest, missing.digest]) == [True, False]
    await store.close()
