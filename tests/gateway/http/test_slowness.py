"""Clients that are slow, silent or many: each costs a bound and harms nobody else.

The deadlines are made short; what is tested is that there is an end, not when it comes.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.http.config import HttpConfig
from ring.digest import Digest
from ring.limits import MIB
from tests.fakes.memory_blob_store import MemoryBlobStore
from tests.gateway.http.doors import PATIENT, Door, running_door, until
from tests.gateway.http.wire import Wire, request

DATA = b"slow and steady"
PATH = f"/v1/blobs/{Digest.of(DATA)}"
HURRIED = replace(
    PATIENT, first_request_s=0.1, idle_s=0.1, body_grace_s=0.1, answer_grace_s=0.1, store_s=0.1
)


async def healthy(door: Door) -> None:
    wire = await door.wire()
    await wire.send(request("GET", "/healthz"))
    assert (await wire.reply()).status == 200


async def drip(wire: Wire, data: bytes, pause_s: float) -> None:
    """A byte at a time until the server has had enough."""
    with pytest.raises(ConnectionError):
        for at in range(len(data)):
            await wire.send(data[at : at + 1])
            await asyncio.sleep(pause_s)


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with running_door(config=replace(HURRIED, idle_s=60)) as door:
        assert await (await door.wire()).is_closed()


@pytest.mark.parametrize("data", [b"G", b"GET /healthz HTTP/1.1\r\nHost: local", b"\r\n\r\n"])
async def test_half_a_head_and_silence_is_408(data: bytes) -> None:
    async with running_door(config=replace(HURRIED, idle_s=60)) as door:
        wire = await door.wire()
        await wire.send(data)
        reply = await wire.reply()

        assert (reply.status, reply.code) == (408, "request_timeout")
        assert not await wire.rest()


async def test_a_head_that_drips_is_408_too() -> None:
    async with running_door(config=replace(HURRIED, idle_s=60)) as door:
        wire = await door.wire()
        dripping = asyncio.ensure_future(drip(wire, b"GET /" + b"a" * 8_000, 0.01))
        reply = await wire.reply()
        await dripping

        assert reply.code == "request_timeout"


async def test_half_a_second_head_is_408() -> None:
    async with running_door(config=replace(HURRIED, idle_s=60)) as door:
        wire = await door.wire()
        await wire.send(request("GET", "/healthz"))
        assert (await wire.reply()).status == 200
        await wire.send(b"GET /healthz")

        assert (await wire.reply()).code == "request_timeout"


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with running_door(config=replace(HURRIED, first_request_s=60)) as door:
        wire = await door.wire()
        await wire.send(request("GET", "/healthz"))
        assert (await wire.reply()).status == 200

        assert await wire.is_closed()


@pytest.mark.parametrize(
    "head", ["Content-Length: 1000", "Content-Length: 9000000", "Transfer-Encoding: chunked"]
)
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
async def test_a_body_that_never_comes_is_408(head: str, expect: tuple[str, ...]) -> None:
    async with running_door(config=HURRIED) as door:
        wire = await door.wire()
        await wire.send(request("PUT", PATH, head, *expect))
        if expect:
            assert await wire.interim() == 100
        reply = await wire.reply()

        assert (reply.status, reply.code) == (408, "request_timeout")
        assert not await wire.rest()
        assert not door.store.blobs


async def test_a_body_that_drips_is_408() -> None:
    async with running_door(config=HURRIED) as door:
        wire = await door.wire()
        await wire.send(request("PUT", PATH, "Content-Length: 9000000"))
        dripping = asyncio.ensure_future(drip(wire, b"a" * 8_000, 0.01))

        assert (await wire.reply()).code == "request_timeout"
        await dripping


async def test_a_body_at_a_decent_rate_is_stored_however_long_it_takes() -> None:
    async with running_door(config=HURRIED) as door:
        data = bytes(20_000)
        wire = await door.wire()
        await wire.send(request("PUT", f"/v1/blobs/{Digest.of(data)}", "Content-Length: 20000"))
        for at in range(0, len(data), 500):
            await wire.send(data[at : at + 500])
            await asyncio.sleep(0.01)

        assert (await wire.reply()).status == 201


async def test_a_store_that_never_answers_is_503_in_the_end() -> None:
    async with running_door(config=HURRIED) as door:
        door.store.faults.gate = asyncio.Event()
        wire = await door.wire()
        await wire.send(request("GET", PATH))
        reply = await wire.reply()

        assert (reply.status, reply.code) == (503, "deadline_exceeded")
        assert not await wire.rest()


@pytest.mark.parametrize("size_bytes", [16 * MIB, 64 * MIB])
async def test_a_reader_that_stops_reading_is_thrown_out(size_bytes: int) -> None:
    data = bytes(size_bytes)
    digest = Digest.of(data)
    async with running_door(MemoryBlobStore(piece_bytes=4 * MIB), HURRIED) as door:
        await door.store.put(digest, data)
        wire = await door.wire(receive_bytes=4_096)
        await wire.send(request("GET", f"/v1/blobs/{digest}"))
        await until(lambda: door.value("holdfast_http_errors_total", code="slow_reader") == 1)

        assert len(await wire.rest()) < size_bytes
        await healthy(door)


async def test_a_reader_that_drips_is_thrown_out() -> None:
    data = bytes(64 * MIB)
    digest = Digest.of(data)
    config = replace(HURRIED, rate_min=100 * MIB)
    async with running_door(MemoryBlobStore(piece_bytes=4 * MIB), config) as door:
        await door.store.put(digest, data)
        wire = await door.wire(receive_bytes=4_096)
        await wire.send(request("GET", f"/v1/blobs/{digest}"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            while True:
                await wire.receive(1_000)
                await asyncio.sleep(0.001)

        assert door.value("holdfast_http_errors_total", code="slow_reader") == 1


async def test_a_reader_at_a_decent_rate_gets_everything() -> None:
    data = bytes(range(256)) * 4_096
    digest = Digest.of(data)
    async with running_door(MemoryBlobStore(piece_bytes=100_000), HURRIED) as door:
        await door.store.put(digest, data)
        wire = await door.wire(receive_bytes=65_536)
        await wire.send(request("GET", f"/v1/blobs/{digest}"))
        status, _ = await wire.head()
        body = b""
        while len(body) < len(data):
            body += await wire.receive(32_768)
            await asyncio.sleep(0.01)

        assert (status, body) == (200, data)


async def test_a_reader_that_takes_long_for_one_piece_gets_it() -> None:
    """What counts is what it takes, not how often the store is asked.

    The kernel takes 4 MB at once and then a megabyte at a time, 0.15 s at this client's pace.
    """
    data = bytes(range(256)) * 65_536
    digest = Digest.of(data)
    config = replace(HURRIED, answer_grace_s=0.5)
    async with running_door(MemoryBlobStore(piece_bytes=len(data)), config) as door:
        await door.store.put(digest, data)
        wire = await door.wire(receive_bytes=65_536)
        await wire.send(request("GET", f"/v1/blobs/{digest}"))
        status, _ = await wire.head()
        body = bytearray()
        while len(body) < len(data):
            body += await wire.receive(262_144)
            await asyncio.sleep(0.03)

        assert (status, bytes(body)) == (200, data)


async def test_a_client_that_ignores_its_refusal_is_cut_off() -> None:
    config = HttpConfig(sweep_s=0.02, linger_s=60, linger_bytes_max=1 * MIB)
    async with running_door(config=config) as door:
        wire = await door.wire()
        await wire.send(request("PUT", "/v1/blobs/bad", "Content-Length: 1000000000"))
        assert (await wire.reply()).status == 400

        with pytest.raises(ConnectionError):
            for _ in range(1_000):
                await wire.send(bytes(1 * MIB))


async def test_connections_beyond_the_cap_are_turned_away_in_words() -> None:
    async with running_door(config=replace(PATIENT, connections_max=20)) as door:
        idle = [await door.wire() for _ in range(20)]
        await idle[0].send(request("GET", "/healthz"))
        assert (await idle[0].reply()).status == 200

        turned_away = [await door.wire() for _ in range(5)]
        for wire in turned_away:
            reply = await wire.reply()
            assert (reply.status, reply.code) == (503, "busy")
            assert not await wire.rest()

        await idle[0].send(request("GET", "/healthz"))
        assert (await idle[0].reply()).status == 200
        idle[1].close()
        await until(lambda: door.value("holdfast_http_connections_open") == 19)
        await healthy(door)
        assert door.value("holdfast_http_connections_refused_total") == 5


async def test_many_idle_connections_cost_nobody_else_anything() -> None:
    async with running_door() as door:
        for _ in range(300):
            await door.wire()
        for _ in range(50):
            await healthy(door)
