"""Large answers: right bytes or a broken connection, never a second answer inside a body."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator

import aiohttp
import pytest

from ring.digest import Digest
from ring.errors import Corrupt, HoldfastError, Unavailable
from ring.limits import CHUNK_BYTES, KIB, MIB
from tests.fakes.memory_blob_store import MemoryBlobStore, MemoryReader
from tests.gateway.http.doors import Door, running_door, until
from tests.gateway.http.wire import request

DATA = bytes(range(251)) * 20_000
DIGEST = Digest.of(DATA)
PATH = f"/v1/blobs/{DIGEST}"


@pytest.mark.parametrize(
    "failure", [Unavailable("a node died"), Corrupt("no good copy"), RuntimeError("a mistake")]
)
@pytest.mark.parametrize("after_bytes", [1 * KIB, 64 * KIB, 1 * MIB, len(DATA) - 500])
async def test_an_error_in_the_middle_of_a_body_ends_the_connection(
    failure: Exception, after_bytes: int
) -> None:
    async with running_door(MemoryBlobStore(piece_bytes=1 * KIB)) as door:
        await door.store.put(DIGEST, DATA)
        door.store.faults.reading = (after_bytes, failure)
        wire = await door.wire()
        await wire.send(request("GET", PATH))
        status, headers = await wire.head()
        body = await wire.rest()

        assert (status, headers["content-length"]) == (200, str(len(DATA)))
        assert len(body) < len(DATA)
        assert DATA.startswith(body)
        assert b"HTTP/1.1" not in body
        code = failure.code if isinstance(failure, HoldfastError) else "crash"
        await until(lambda: door.value("holdfast_http_errors_total", code=code) == 1)
        assert door.value(
            "holdfast_http_requests_total", route="blob", method="GET", status="0"
        ) == 1


def read_by_length(port: int) -> bytes:
    """The client that takes a second answer for body: it counts bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", PATH)
        return connection.getresponse().read()
    finally:
        connection.close()


async def test_clients_that_count_bytes_notice_a_broken_body() -> None:
    async with running_door(MemoryBlobStore(piece_bytes=1 * KIB)) as door:
        await door.store.put(DIGEST, DATA)
        door.store.faults.reading = (100 * KIB, Unavailable("a node died"))

        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await asyncio.to_thread(read_by_length, door.port)
        async with aiohttp.ClientSession() as session:
            response = await session.get(door.url + PATH)
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()


async def test_an_error_before_the_first_byte_is_an_answer() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)
        door.store.faults.reading = (0, Unavailable("two of three nodes are silent"))
        wire = await door.wire()
        await wire.send(request("GET", PATH) + request("GET", "/healthz"))

        assert (await wire.reply()).code == "unavailable"
        assert (await wire.reply()).status == 200


@pytest.mark.parametrize("piece_bytes", [1, 1_000, 64 * KIB, CHUNK_BYTES])
@pytest.mark.parametrize("size_bytes", [64 * KIB - 1, 64 * KIB, 64 * KIB + 1])
async def test_every_division_into_pieces_is_the_same_body(
    piece_bytes: int, size_bytes: int
) -> None:
    data = DATA[:size_bytes]
    if piece_bytes == 1:
        data = data[-3_000:]
    digest = Digest.of(data)
    async with running_door(MemoryBlobStore(piece_bytes=piece_bytes)) as door:
        await door.store.put(digest, data)
        wire = await door.wire()
        for _ in range(2):
            await wire.send(request("GET", f"/v1/blobs/{digest}"))
            assert (await wire.reply()).body == data


async def test_a_piece_is_sent_before_the_next_is_asked_for() -> None:
    # The store in memory writes every piece over the last one: a slow reader would notice.
    data = bytes(range(256)) * 4 * 40_000
    digest = Digest.of(data)
    async with running_door(MemoryBlobStore(piece_bytes=3 * MIB)) as door:
        await door.store.put(digest, data)
        wire = await door.wire(receive_bytes=16_384)
        await wire.send(request("GET", f"/v1/blobs/{digest}"))
        await wire.head()
        await asyncio.sleep(0.1)
        body = await wire.receive(len(data))

    assert Digest.of(body) == digest


class ShortStore(MemoryBlobStore):
    """A store whose readers say more than they have."""

    async def open(self, digest: Digest, start: int = 0, stop: int | None = None) -> MemoryReader:
        whole = await super().open(digest)
        short = await super().open(digest, 0, whole.stat.size_bytes - 1)
        await whole.close()
        return short


@pytest.mark.parametrize("size_bytes", [1, 2, 5_000, 500_000])
async def test_a_body_that_ends_too_early_is_never_a_whole_answer(size_bytes: int) -> None:
    data = DATA[:size_bytes]
    async with running_door(ShortStore()) as door:
        await door.store.put(Digest.of(data), data)
        wire = await door.wire()
        await wire.send(request("GET", f"/v1/blobs/{Digest.of(data)}", "Connection: close"))
        status, headers = await wire.head()
        body = await wire.rest()

    assert status == 503 or len(body) < int(headers["content-length"])


async def test_a_client_that_leaves_ends_the_reading() -> None:
    async with running_door(MemoryBlobStore(piece_bytes=64 * KIB)) as door:
        data = bytes(64 * MIB)
        digest = Digest.of(data)
        await door.store.put(digest, data)
        wire = await door.wire(receive_bytes=4_096)
        await wire.send(request("GET", f"/v1/blobs/{digest}"))
        await wire.head()
        assert door.store.readers_open == 1
        wire.abort()

        await until(lambda: door.store.readers_open == 0)
        gone = {"route": "blob", "method": "GET", "status": "499"}
        await until(lambda: door.value("holdfast_http_requests_total", **gone) == 1)
        assert door.value("holdfast_http_errors_total", code="crash") == 0


async def test_a_client_that_leaves_while_the_store_is_asked_ends_the_question() -> None:
    async with running_door() as door:
        door.store.faults.gate = asyncio.Event()
        wire = await door.wire()
        await wire.send(request("GET", PATH))
        await until(lambda: bool(door.store.calls))
        wire.abort()

        await until(lambda: door.value("holdfast_http_requests_in_flight") == 0)


async def slowly(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 100_000):
        await asyncio.sleep(0)
        yield data[at : at + 100_000]


async def test_many_transfers_at_once_do_not_mix() -> None:
    blobs = [bytes([number]) * (500_000 + number) for number in range(16)]

    async def there_and_back(door: Door, session: aiohttp.ClientSession, data: bytes) -> bytes:
        url = f"{door.url}/v1/blobs/{Digest.of(data)}"
        async with session.put(url, data=slowly(data)) as put:
            assert put.status == 201
        async with session.get(url) as got:
            return await got.read()

    async with running_door() as door, aiohttp.ClientSession() as session:
        returned = await asyncio.gather(
            *(there_and_back(door, session, data) for data in blobs)
        )

    assert returned == blobs
