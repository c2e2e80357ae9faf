"""Large blobs in and out: sizes around the chunk limits, ranges, memory, and ends in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from gateway.calls import CallSettings
from gateway.chunked import Chunked
from gateway.coordinator import Coordinator
from gateway.memory_permits import MemoryPermits
from ring.digest import Algorithm, Buffer, Digest
from ring.errors import BadRequest, Busy, DigestMismatch, RangeNotSatisfiable, Unavailable
from ring.limits import CHUNK_BYTES, KIB, MIB
from ring.messages import ConfirmChunks, GetRecord, PutRecord
from ring.record import RecordKind
from tests.fakes.small_cluster import SmallCluster, small_cluster
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


async def pieces(data: bytes, size: int = CHUNK_BYTES) -> AsyncIterator[Buffer]:
    """As a client sends it; each piece is overwritten when the next one is asked for."""
    for start in range(0, len(data), size):
        piece = bytearray(data[start : start + size])
        yield memoryview(piece)
        piece[:] = bytes(len(piece))


def permits_of(gateway: Chunked) -> tuple[MemoryPermits, MemoryPermits]:
    return gateway._upload_permits, gateway._download_permits  # noqa: SLF001 - what must not leak


def free_permits(gateway: Chunked) -> list[int]:
    """How many permits are free: for uploads, for downloads."""
    counts = []
    for permits in permits_of(gateway):
        taken = 0
        while permits.try_acquire():
            taken += 1
        for _ in range(taken):
            permits.release()
        counts.append(taken)
    return counts


async def assert_calm(cluster: SmallCluster, gateway: Coordinator) -> None:
    """Nothing is under way, and every permit is back."""
    await cluster.calm()
    await asyncio.sleep(0.1)
    assert gateway.records.stragglers.under_way == 0
    assert free_permits(gateway) == [CallSettings().chunks_in_flight_max] * 2


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


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [0, 1, 2])
@in_virtual_time
async def test_a_reader_that_is_closed_early_gives_everything_back(read: int) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        digest = (await gateway.put_stream(pieces(DATA))).digest
        await cluster.calm()
        reader = await gateway.open(digest)
        iterator = aiter(reader)
        kept = [bytes(await anext(iterator)) for _ in range(read)]
        if read:
            assert free_permits(gateway)[1] < CallSettings().chunks_in_flight_max
        await reader.close()
        await reader.close()

        assert free_permits(gateway)[1] == CallSettings().chunks_in_flight_max
        assert b"".join(kept) == DATA[: read * C]
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)
        await assert_calm(cluster, gateway)


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.05, 0.2])
@in_virtual_time
async def test_a_download_that_is_cancelled_gives_everything_back(delay_s: float) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        digest = (await gateway.put_stream(pieces(DATA))).digest
        for node in cluster.nodes:
            cluster.network.faults.delay_s[node] = 0.04
        get = asyncio.ensure_future(gateway.get(digest))
        await asyncio.sleep(delay_s)
        get.cancel()
        await asyncio.gather(get, return_exceptions=True)
        await assert_calm(cluster, gateway)


@pytest.mark.parametrize("turns", range(12))
@in_virtual_time
async def test_an_upload_that_is_cancelled_gives_everything_back(turns: int) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        put = asyncio.ensure_future(gateway.put_stream(pieces(DATA)))
        for _ in range(turns):
            await asyncio.sleep(0)
        put.cancel()
        await asyncio.gather(put, return_exceptions=True)
        assert put.cancelled()
        await assert_calm(cluster, gateway)


@in_virtual_time
async def test_a_client_that_breaks_off_before_a_put_has_begun_costs_no_permit() -> None:
    async def broken() -> AsyncIterator[Buffer]:
        yield LARGE  # the first chunk is handed over, and nothing waits in between
        raise ConnectionResetError("gone")

    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        with pytest.raises(ConnectionResetError):
            await gateway.put_stream(broken())
        await assert_calm(cluster, gateway)


@in_virtual_time
async def test_uploads_beyond_the_bound_are_refused_and_then_taken_again() -> None:
    gate = asyncio.Event()

    async def slow(number: int) -> AsyncIterator[Buffer]:
        yield b"%d" % number
        await gate.wait()

    async with small_cluster(1, 1) as cluster:
        gateway = cluster.gateway(settings=CallSettings(uploads_max=3, chunks_in_flight_max=4))
        uploads = [asyncio.ensure_future(gateway.put_stream(slow(number))) for number in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(Busy):
            await gateway.put_stream(pieces(b"one more"))
        gate.set()
        await asyncio.gather(*uploads)
        await gateway.put_stream(pieces(b"one more"))


@in_virtual_time
async def test_memory_for_uploads_is_waited_for_and_then_refused() -> None:
    async with small_cluster() as cluster:
        settings = CallSettings(uploads_max=2, chunks_in_flight_max=3)
        gateway = cluster.gateway(settings=settings)
        cluster.network.faults.frozen |= set(cluster.nodes)
        uploads = [
            asyncio.ensure_future(gateway.put_stream(pieces(DATA + b"%d" % number, C)))
            for number in range(2)
        ]
        outcomes = await asyncio.gather(*uploads, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {Busy, Unavailable}
        cluster.network.faults.frozen.clear()
        await cluster.calm()
        await asyncio.sleep(0.1)
        assert free_permits(gateway) == [3, 3]
        assert (await gateway.put_stream(pieces(DATA))).created


@in_virtual_time
async def test_memory_for_downloads_is_waited_for_and_then_refused() -> None:
    async with small_cluster() as cluster:
        settings = CallSettings(uploads_max=1, chunks_in_flight_max=2, read_ahead_chunks=2)
        gateway = cluster.gateway(settings=settings)
        digest = (await gateway.put_stream(pieces(DATA))).digest
        await cluster.calm()
        slow = [await gateway.open(digest) for _ in range(2)]
        first = [bytes(await anext(aiter(reader))) for reader in slow[:1]]
        with pytest.raises(Busy):  # the first has a chunk in hand and one ahead
            await gateway.get(digest)
        await slow[0].close()
        assert first == [DATA[:C]]
        assert await gateway.get(digest) == DATA
        await slow[1].close()
        assert free_permits(gateway) == [2, 2]


@in_virtual_time
async def test_many_at_once_stay_within_their_permits() -> None:
    async with small_cluster() as cluster:
        settings = CallSettings(uploads_max=4, chunks_in_flight_max=5)
        gateway = cluster.gateway(settings=settings)
        blobs = [DATA + bytes([number]) for number in range(4)]
        stored = await asyncio.gather(*(gateway.put_stream(pieces(blob, MIB)) for blob in blobs))
        assert await asyncio.gather(*(gateway.get(one.digest) for one in stored)) == blobs
        await cluster.calm()
        await asyncio.sleep(0.1)
        assert free_permits(gateway) == [5, 5]


def test_settings_that_could_lock_each_other_out_are_refused() -> None:
    with pytest.raises(BadRequest):
        CallSettings(uploads_max=5, chunks_in_flight_max=5)


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
