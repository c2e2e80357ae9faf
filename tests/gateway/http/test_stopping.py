"""The way out: no new work, what is in flight is finished, and then there is nothing left."""

from __future__ import annotations

import asyncio

import pytest

from ring.digest import Digest
from tests.gateway.http.doors import HOST, STOP_S, Door, running_door, until
from tests.gateway.http.wire import Wire, request

DATA = b"to the end" * 1_000
DIGEST = Digest.of(DATA)
PATH = f"/v1/blobs/{DIGEST}"


async def stopping(door: Door, deadline_s: float = STOP_S) -> asyncio.Future[None]:
    """Begin to stop, and wait until the port is closed."""
    stopped = asyncio.ensure_future(door.door.stop(deadline_s))
    await asyncio.sleep(0)
    with pytest.raises(ConnectionError):
        await Wire.connect(HOST, door.port)
    return stopped


async def test_idle_connections_are_closed_at_once() -> None:
    async with running_door() as door:
        fresh, idle = await door.wire(), await door.wire()
        await idle.send(request("GET", "/healthz"))
        assert (await idle.reply()).status == 200
        stopped = await stopping(door)

        assert await fresh.is_closed()
        assert await idle.is_closed()
        await stopped


async def test_a_request_in_flight_is_answered_and_then_its_connection_closed() -> None:
    async with running_door() as door:
        door.store.faults.gate = asyncio.Event()
        wire = await door.wire()
        await wire.send(request("PUT", PATH, body=DATA))
        await until(lambda: "put" in door.store.calls)
        stopped = await stopping(door)
        assert not stopped.done()
        door.store.faults.gate.set()
        reply = await wire.reply()

        assert (reply.status, reply.headers["connection"]) == (201, "close")
        assert not await wire.rest()
        await stopped


async def test_an_upload_on_its_way_is_taken_to_its_end() -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(request("PUT", PATH, f"Content-Length: {len(DATA)}") + DATA[:10])
        await until(lambda: door.value("holdfast_http_body_bytes_in_flight") > 0)
        stopped = await stopping(door)
        await wire.send(DATA[10:])

        assert (await wire.reply()).status == 201
        await stopped


async def test_a_download_on_its_way_is_taken_to_its_end() -> None:
    data = bytes(range(256)) * 40_000
    async with running_door() as door:
        await door.store.put(Digest.of(data), data)
        wire = await door.wire(receive_bytes=4_096)
        await wire.send(request("GET", f"/v1/blobs/{Digest.of(data)}"))
        await wire.head()
        stopped = await stopping(door)

        assert await wire.receive(len(data)) == data
        await stopped


async def test_what_is_not_done_at_the_deadline_is_aborted() -> None:
    async with running_door() as door:
        door.store.faults.gate = asyncio.Event()
        wires = [await door.wire() for _ in range(4)]
        await wires[0].send(request("PUT", PATH, body=DATA))
        await wires[1].send(request("GET", PATH))
        await wires[2].send(request("PUT", PATH, "Content-Length: 100"))
        await wires[3].send(b"GET /hea")
        await until(lambda: len(door.store.calls) == 2)
        await until(lambda: door.value("holdfast_http_body_bytes_in_flight") > 0)
        stopped = await stopping(door, deadline_s=0.1)
        await stopped

        assert [await wire.rest() for wire in wires] == [b""] * 4
        assert not door.store.blobs


async def test_a_gateway_that_stops_is_not_ready() -> None:
    async with running_door() as door:
        door.store.faults.gate = asyncio.Event()
        wire = await door.wire()
        await wire.send(request("GET", PATH) + request("GET", "/readyz"))
        await until(lambda: bool(door.store.calls))
        stopped = await stopping(door)
        door.store.faults.gate.set()

        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (404, "close")
        assert not await wire.rest()
        await stopped


async def test_stopping_twice_is_stopping_once() -> None:
    async with running_door() as door:
        await asyncio.gather(door.door.stop(STOP_S), door.door.stop(STOP_S))
        await door.door.stop(STOP_S)


async def test_a_door_may_listen_on_several_addresses() -> None:
    async with running_door() as door:
        _, other = await door.door.start(HOST, 0)
        wire = await Wire.connect(HOST, other)
        await wire.send(request("GET", "/healthz"))
        assert (await wire.reply()).status == 200
        wire.close()


async def test_two_doors_may_share_a_port() -> None:
    async with running_door() as one, running_door() as two:
        _, port = await one.door.start(HOST, 0, reuse_port=True)
        assert await two.door.start(HOST, port, reuse_port=True) == (HOST, port)


async def test_an_address_that_is_taken_is_an_error() -> None:
    async with running_door() as one, running_door() as two:
        with pytest.raises(OSError, match="ddress"):
            await two.door.start(HOST, one.port)
