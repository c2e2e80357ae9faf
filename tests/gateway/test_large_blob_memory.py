"""Memory for large blobs: bounded, waited for, and given back however things end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from gateway.calls import CallSettings
from ring.digest import Buffer, Digest
from ring.errors import BadRequest, Busy, RangeNotSatisfiable, Unavailable
from ring.limits import CHUNK_BYTES, MIB, PAYLOAD_SMALL_BYTES_MAX
from tests.fakes.large_blobs import assert_calm, free_in, permits_of, pieces
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
            assert free_in(permits_of(gateway)[1]) < CallSettings().chunks_in_flight_max
        await reader.close()
        await reader.close()

        assert free_in(permits_of(gateway)[1]) == CallSettings().chunks_in_flight_max
        assert b"".join(kept) == DATA[: read * CHUNK_BYTES]
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
        await gateway.put_stream(pieces(b"known to be small"), size_bytes=17)
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
            asyncio.ensure_future(gateway.put_stream(pieces(DATA + b"%d" % number)))
            for number in range(2)
        ]
        outcomes = await asyncio.gather(*uploads, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {Busy, Unavailable}
        cluster.network.faults.frozen.clear()
        await cluster.calm()
        await asyncio.sleep(0.1)
        await assert_calm(cluster, gateway, 3)
        assert (await gateway.put_stream(pieces(DATA))).created


@in_virtual_time
async def test_memory_for_downloads_is_waited_for_and_then_refused() -> None:
    async with small_cluster() as cluster:
        settings = CallSettings(uploads_max=1, chunks_in_flight_max=2, read_ahead_chunks=2)
        gateway = cluster.gateway(settings=settings)
        digest = (await gateway.put_stream(pieces(DATA))).digest
        await cluster.calm()
        slow = [await gateway.open(digest) for _ in range(2)]
        first = [bytes(await anext(aiter(reader))) for reader in slow]
        with pytest.raises(Busy):
            await gateway.get(digest)
        await slow[0].close()
        assert first == [DATA[:CHUNK_BYTES]] * 2
        assert await gateway.get(digest) == DATA
        await slow[1].close()
        await assert_calm(cluster, gateway, 2)


@in_virtual_time
async def test_what_is_read_ahead_for_slow_clients_leaves_room_for_others_to_begin() -> None:
    async with small_cluster(1, 1) as cluster:
        settings = CallSettings(uploads_max=1, chunks_in_flight_max=12, read_ahead_chunks=4)
        gateway = cluster.gateway(settings=settings)
        data = bytes(6 * CHUNK_BYTES)
        await gateway.put(Digest.of(data), data)
        slow = [await gateway.open(Digest.of(data)) for _ in range(6)]
        for reader in slow:
            await anext(aiter(reader))
        assert await gateway.get(Digest.of(data)) == data
        for reader in slow:
            await reader.close()
        await assert_calm(cluster, gateway, 12)


@in_virtual_time
async def test_values_of_one_chunk_count_as_long_as_a_client_takes_them() -> None:
    async with small_cluster(1, 1) as cluster:
        settings = CallSettings(uploads_max=1, chunks_in_flight_max=2)
        gateway = cluster.gateway(settings=settings)
        small, long = bytes(PAYLOAD_SMALL_BYTES_MAX), bytes(PAYLOAD_SMALL_BYTES_MAX + 1)
        for data in (small, long):
            await cluster.store(data)
        readers = [await gateway.open(Digest.of(long)) for _ in range(2)]
        with pytest.raises(Busy):
            await gateway.open(Digest.of(long))
        assert await gateway.get(Digest.of(small)) == small
        assert [bytes(piece) async for piece in readers[0]] == [long]
        await readers[0].close()
        await readers[0].close()
        assert await gateway.get(Digest.of(long)) == long
        with pytest.raises(RangeNotSatisfiable):
            await gateway.open(Digest.of(long), len(long))
        await readers[1].close()
        await assert_calm(cluster, gateway, 2)


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
        await assert_calm(cluster, gateway, 5)


def test_settings_that_could_lock_each_other_out_are_refused() -> None:
    with pytest.raises(BadRequest):
        CallSettings(uploads_max=5, chunks_in_flight_max=5)
