"""A large blob is hashed whole until its recipe is known to be right, and never after."""

from __future__ import annotations

from random import Random

import pytest

from gateway.calls import CallSettings
from gateway.chunked import Chunked
from gateway.hashing import Hashing
from gateway.proven_recipes import ProvenRecipes
from gateway.records import LocalRecords
from node.memory_store import MemoryRecordStore
from ring.digest import Algorithm, Buffer, Digest, Hasher
from ring.errors import Corrupt
from ring.limits import CHUNK_BYTES
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind
from tests.fakes.large_blobs import pieces
from tests.fakes.manual_clock import ManualClock

DATA = Random(5).randbytes(2 * CHUNK_BYTES + 9)
CHUNKS = [Digest.of(DATA[at : at + CHUNK_BYTES]) for at in range(0, len(DATA), CHUNK_BYTES)]


class CountingHashing(Hashing):
    """Counts the bytes that went into hashes of whole blobs."""

    def __init__(self) -> None:
        super().__init__()
        self.whole_bytes = 0

    async def update(self, hasher: Hasher, data: Buffer) -> None:
        self.whole_bytes += len(data)
        await super().update(hasher, data)


def a_store() -> MemoryRecordStore:
    return MemoryRecordStore(ManualClock())


def a_gateway(store: MemoryRecordStore) -> tuple[Chunked, CountingHashing]:
    hashing = CountingHashing()
    return Chunked(LocalRecords(store, hashing), hashing, CallSettings()), hashing


@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_the_whole_is_hashed_by_the_upload_or_by_the_first_whole_read(
    algorithm: Algorithm,
) -> None:
    store = a_store()
    one, hashed_by_one = a_gateway(store)
    other, hashed_by_other = a_gateway(store)
    digest = (await one.put_stream(pieces(DATA), algorithm=algorithm)).digest
    for _ in range(2):
        assert await one.get(digest) == DATA
        assert await other.get(digest) == DATA

    assert hashed_by_one.whole_bytes == len(DATA)
    assert hashed_by_other.whole_bytes == len(DATA)


async def test_a_part_or_a_read_that_stops_early_proves_nothing() -> None:
    store = a_store()
    writer, _ = a_gateway(store)
    reader, hashed = a_gateway(store)
    digest = (await writer.put_stream(pieces(DATA))).digest
    part = await reader.open(digest, 1, len(DATA))
    assert b"".join([bytes(piece) async for piece in part]) == DATA[1:]
    early = await reader.open(digest)
    await anext(aiter(early))
    await early.close()
    before = hashed.whole_bytes
    assert await reader.get(digest) == DATA

    assert hashed.whole_bytes == before + len(DATA)


async def test_a_forged_recipe_is_not_the_one_that_was_proven() -> None:
    store = a_store()
    gateway, _ = a_gateway(store)
    digest = (await gateway.put_stream(pieces(DATA))).digest
    assert await gateway.get(digest) == DATA
    forged = Recipe(len(DATA), (CHUNKS[1], CHUNKS[0], CHUNKS[2])).encode(digest)
    key = RecordKey(digest)
    await store.drop(key)
    await store.put_root(key, RecordKind.RECIPE, len(DATA), 2, forged)
    for _ in range(2):  # nor does it become proven by having been tried
        with pytest.raises(Corrupt):
            await gateway.get(digest)


def test_the_proofs_used_last_are_kept() -> None:
    proven = ProvenRecipes(limit=2)
    for checksum in (b"a", b"b"):
        proven.add(checksum)
    assert b"a" in proven
    proven.add(b"c")

    assert [checksum in proven for checksum in (b"a", b"b", b"c")] == [True, False, True]
