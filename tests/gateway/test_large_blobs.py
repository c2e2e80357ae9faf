"""Large blobs in and out: sizes around the chunk limits, ranges, memory, and ends in the middle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest

from ring.digest import Algorithm, Buffer, Digest
from ring.errors import DigestMismatch, RangeNotSatisfiable
from ring.limits import CHUNK_BYTES, KIB, MIB
from ring.messages import ConfirmChunks, GetRecord, PutRecord
from ring.record import RecordKind
from tests.fakes.large_blobs import assert_calm, pieces
from tests.fakes.small_cluster import small_cluster
from tests.fakes.virtual_time import in_virtual_time

SIZES = [
    0,
    1,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    CHUNK_BYTES + 1,
    2 * CHUNK_BYTES,
    2 * CHUNK_BYTES + 1,
]
DATA = Random(1).randbytes(2 * CHUNK_BYTES + 1)
LARGE = DATA[: CHUNK_BYTES + 1]


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("promised", [True, False])
@in_virtual_time
async def test_what_goes_in_comes_out_whatever_its_size(size: int, promised: bool) -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), DATA[:size]
        digest = Digest.of(data)
        stored = await gateway.put_stream(
            pieces(data, 1_000_003), digest=digest if promised else None
        )
        assert (stored.digest, stored.size_bytes, stored.created) == (digest, size, True)
        assert await gateway.get(digest) == data
        assert (await gateway.stat(digest)).size_bytes == size
        assert (await gateway.list_page(None, 10))[0] == [(digest, size)]
        kind = RecordKind.RECIPE if size > CHUNK_BYTES else RecordKind.DATA
        assert {node.state_of(digest).kind for node in cluster.owners(digest)} == {kind}
        await cluster.calm()

        again = await gateway.put_stream(pieces(data, 2 * MIB), digest=digest if promised else None)
        assert (again.digest, again.created) == (digest, False)
        await assert_calm(cluster, gateway)


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("promised", [True, False])
@in_virtual_time
async def test_a_large_blob_may_have_any_digest(algorithm: Algorithm, promised: bool) -> None:
    async with small_cluster() as cluster:
        gateway, digest = cluster.gateway(), Digest.of(LARGE, algorithm)
        stored = await gateway.put_stream(
            pieces(LARGE), digest=digest if promised else None, algorithm=algorithm
        )
        assert stored.digest == digest
        assert await gateway.get(digest) == LARGE


@pytest.mark.parametrize("size", [1024, CHUNK_BYTES - 1, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
@in_virtual_time
async def test_pieces_may_have_any_size(size: int) -> None:
    async with small_cluster(1, 1) as cluster:
        gateway = cluster.gateway()
        stored = await gateway.put_stream(pieces(DATA, size))
        assert await gateway.get(stored.digest) == DATA


@in_virtual_time
async def test_empty_pieces_are_nothing() -> None:
    async def sparse() -> AsyncIterator[Buffer]:
        yield b""
        yield LARGE[:CHUNK_BYTES]
        yield b""
        yield LARGE[CHUNK_BYTES:]
        yield b""

    async with small_cluster(1, 1) as cluster:
        gateway = cluster.gateway()
        assert (await gateway.put_stream(sparse())).digest == Digest.of(LARGE)
        assert await gateway.get(Digest.of(LARGE)) == LARGE


@in_virtual_time
async def test_a_blob_of_equal_chunks_keeps_one() -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(3 * CHUNK_BYTES)
        await gateway.put(Digest.of(data), data)
        await gateway.confirm(Digest.of(data))
        assert await gateway.get(Digest.of(data)) == data
        await assert_calm(cluster, gateway)

        assert cluster.owners(Digest.of(data))[0].store.usage().records == 2


@in_virtual_time
async def test_put_takes_large_values_too() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        assert (await gateway.put(Digest.of(LARGE), LARGE)).created
        with pytest.raises(DigestMismatch):
            await gateway.put(Digest.of(b"other"), LARGE)
        await assert_calm(cluster, gateway)


# --- promises that are not kept -------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@in_virtual_time
async def test_a_body_that_is_not_what_was_promised_becomes_visible_nowhere(size: int) -> None:
    async with small_cluster() as cluster:
        gateway, promised = cluster.gateway(), Digest.of(b"something else")
        with pytest.raises(DigestMismatch) as caught:
            await gateway.put_stream(pieces(DATA[:size]), digest=promised)

        assert caught.value.facts == {
            "expected": str(promised), "computed": str(Digest.of(DATA[:size])),
        }
        for digest in (promised, Digest.of(DATA[:size])):
            assert not await gateway.contains(digest)
        assert await gateway.list_page(None, 10) == ([], None)
        await assert_calm(cluster, gateway)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
@in_virtual_time
async def test_a_client_that_goes_away_in_the_middle_leaves_nothing_visible(size: int) -> None:
    async def broken() -> AsyncIterator[Buffer]:
        for start in range(0, size, MIB):
            yield DATA[start : min(start + MIB, size)]
        raise ConnectionResetError("gone")

    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        with pytest.raises(ConnectionResetError):
            await gateway.put_stream(broken(), digest=Digest.of(DATA))
        assert await gateway.list_page(None, 10) == ([], None)
        await assert_calm(cluster, gateway)


# --- ranges ---------------------------------------------------------------------------------------

C = CHUNK_BYTES


@in_virtual_time
async def test_ranges_are_cut_from_the_chunks_that_they_touch() -> None:
    async with small_cluster(1, 1) as cluster:
        gateway = cluster.gateway()
        digest = (await gateway.put_stream(pieces(DATA))).digest
        for start, stop, chunks in [
            (0, 1, 1),
            (0, C, 1),
            (C - 1, C, 1),
            (C - 1, C + 1, 2),
            (C, 2 * C, 1),
            (2 * C, None, 1),
            (1, None, 3),
            (0, None, 3),
            (2 * C, 10 * C, 1),
            (5, 5, 0),
            (5, 3, 0),
        ]:
            before = cluster.network.count(GetRecord)
            reader = await gateway.open(digest, start, stop)
            read = b"".join([bytes(piece) async for piece in reader])
            await reader.close()
            assert read == DATA[start:stop]
            assert reader.stat.size_bytes == len(DATA)
            bulk = [asked for asked in cluster.network.asked if asked.bulk]
            assert cluster.network.count(GetRecord) - before == chunks + 1
            assert len(bulk) >= chunks
        await assert_calm(cluster, gateway)


@pytest.mark.parametrize("size", [0, 10, C + 1])
@in_virtual_time
async def test_a_range_that_begins_behind_the_end_cannot_be_satisfied(size: int) -> None:
    async with small_cluster(1, 1) as cluster:
        gateway = cluster.gateway()
        digest = (await gateway.put_stream(pieces(DATA[:size]))).digest
        for start in (size, size + 1, -1):
            if start == 0:
                continue
            with pytest.raises(RangeNotSatisfiable) as caught:
                await gateway.open(digest, start)
            assert caught.value.facts == {"size_bytes": size}
        reader = await gateway.open(digest, 0, 0)
        assert [bytes(piece) async for piece in reader] in ([], [b""])


# --- the order of a commit ------------------------------------------------------------------------


@pytest.mark.parametrize("promised", [True, False])
@in_virtual_time
async def test_the_recipe_follows_the_chunks_and_is_followed_by_a_confirmation(
    promised: bool,
) -> None:
    async with small_cluster(1, 1) as cluster:
        gateway, digest = cluster.gateway(), Digest.of(LARGE)
        before = len(cluster.network.asked)
        await gateway.put_stream(pieces(LARGE), digest=digest if promised else None)

        steps = []
        for asked in cluster.network.asked[before:]:
            match asked.request:
                case PutRecord(_, _, _, 0, claimant):
                    steps.append("chunk" if claimant is None else "claimed chunk")
                case PutRecord(_, RecordKind.RECIPE):
                    steps.append("recipe")
                case ConfirmChunks():
                    steps.append("confirm")
        expected = ["claimed chunk"] * 2 if promised else ["chunk", "chunk", "confirm"]
        assert steps == [*expected, "recipe", "confirm"]


@in_virtual_time
async def test_a_blob_that_was_deleted_is_put_again_with_its_chunks() -> None:
    async with small_cluster() as cluster:
        gateway, digest = cluster.gateway(), Digest.of(LARGE)
        for generation in (1, 2):
            assert (await gateway.put_stream(pieces(LARGE, 64 * KIB))).created
            assert (await gateway.stat(digest)).generation == generation
            await gateway.delete(digest)
        assert not await gateway.contains(digest)
