"""Bodies that lie, break off, are too large, wait to be asked for, or hide others inside."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace

import pytest

from ring.digest import Digest
from ring.limits import CHUNK_BYTES, KIB, MIB
from tests.gateway.http.doors import PATIENT, Door, running_door, until
from tests.gateway.http.wire import Wire, request

DATA = b"a body" * 1_000
DIGEST = Digest.of(DATA)
PATH = f"/v1/blobs/{DIGEST}"
LIMIT = 1 * MIB
LIMITED = replace(PATIENT, blob_bytes_max=LIMIT)


def chunked(method: str, target: str, *lines: str) -> bytes:
    return request(method, target, "Transfer-Encoding: chunked", *lines)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("size_bytes", [LIMIT + 1, 1 << 40, (1 << 63) - 1])
async def test_a_body_that_says_it_is_too_large_is_413_before_it_is_read(
    method: str, size_bytes: int
) -> None:
    async with running_door(config=LIMITED) as door:
        wire = await door.wire()
        target = PATH if method == "PUT" else "/v1/blobs"
        await wire.send(
            request(method, target, f"Content-Length: {size_bytes}", "Expect: 100-continue")
        )
        reply = await wire.reply()

        assert (reply.status, reply.code) == (413, "too_large")
        assert str(LIMIT) in reply.problem()["detail"]
        assert not door.store.calls


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_body_that_turns_out_too_large_is_413_on_the_way(method: str) -> None:
    async with running_door(config=LIMITED) as door:
        wire = await door.wire()
        await wire.send(chunked(method, PATH if method == "PUT" else "/v1/blobs"))
        await wire.send(chunk(bytes(LIMIT)) + chunk(b"x"))
        reply = await wire.reply()

        assert (reply.status, reply.code, reply.headers["connection"]) == (
            413,
            "too_large",
            "close",
        )
        assert not door.store.blobs


async def test_a_body_at_the_limit_is_stored() -> None:
    data = bytes(LIMIT)
    async with running_door(config=LIMITED) as door:
        wire = await door.wire()
        await wire.send(request("PUT", f"/v1/blobs/{Digest.of(data)}", body=data))
        assert (await wire.reply()).status == 201
        await wire.send(chunked("POST", "/v1/blobs") + chunk(data) + chunk(b""))
        assert (await wire.reply()).status == 201


@pytest.mark.parametrize("size_bytes", [10, CHUNK_BYTES, CHUNK_BYTES + 1])
async def test_a_client_that_waits_to_be_asked_is_asked(size_bytes: int) -> None:
    data = bytes(size_bytes)
    async with running_door() as door:
        wire = await door.wire()
        lines = (f"Content-Length: {size_bytes}", "expect: 100-Continue")
        await wire.send(request("PUT", f"/v1/blobs/{Digest.of(data)}", *lines))
        assert await wire.interim() == 100
        await wire.send(data)

        assert (await wire.reply()).status == 201
        await wire.send(request("GET", "/healthz"))
        assert (await wire.reply()).status == 200


@pytest.mark.parametrize("target", ["/v1/blobs/bad", "/v1/nothing", f"{PATH}?x=1"])
async def test_a_client_that_waits_to_be_asked_is_refused_without_its_body(target: str) -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(request("PUT", target, "Content-Length: 100", "Expect: 100-continue"))
        status, headers = await wire.head()

        assert status in (400, 404)
        assert headers["connection"] == "close"


async def test_a_condition_that_fails_is_told_before_the_body_is_asked_for() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)
        wire = await door.wire()
        lines = ("Content-Length: 6000", "Expect: 100-continue", "If-None-Match: *")
        await wire.send(request("PUT", PATH, *lines))

        assert (await wire.reply()).status == 412


async def test_a_get_that_expects_to_continue_is_simply_answered() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)
        wire = await door.wire()
        await wire.send(request("GET", PATH, "Expect: 100-continue"))
        status, _ = await wire.head()

        assert status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
async def test_a_body_is_stored_as_it_was_sent_whatever_it_is_encoded_in(encoding: str) -> None:
    bomb = gzip.compress(bytes(16 * MIB))
    digest = Digest.of(bomb)
    async with running_door() as door:
        wire = await door.wire()
        put = request("PUT", f"/v1/blobs/{digest}", f"Content-Encoding: {encoding}", body=bomb)
        await wire.send(put)

        assert (await wire.reply()).status == 201
        assert door.store.blobs == {digest: bomb}


async def test_a_form_is_bytes_like_any_other_body() -> None:
    form = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" * 1_000
    async with running_door() as door:
        wire = await door.wire()
        lines = ("Content-Type: multipart/form-data; boundary=x",)
        await wire.send(request("POST", "/v1/blobs", *lines, body=form))

        assert (await wire.reply()).status == 201
        assert list(door.store.blobs.values()) == [form]


async def upload_part(door: Door, how: str, size_bytes: int) -> Wire:
    """Begin an upload and leave it open."""
    wire = await door.wire()
    if how == "chunked":
        await wire.send(chunked("PUT", PATH) + chunk(DATA[:size_bytes]))
    else:
        await wire.send(request("PUT", PATH, f"Content-Length: {how}") + DATA[:size_bytes])
    await until(lambda: door.value("holdfast_http_body_bytes_in_flight") > 0)
    return wire


@pytest.mark.parametrize("how", [str(len(DATA)), "9000000", "chunked"])
@pytest.mark.parametrize("size_bytes", [0, len(DATA) - 1])
async def test_a_client_that_leaves_in_the_middle_stores_nothing(how: str, size_bytes: int) -> None:
    """And what it took is free at once, not when the patience with its body is over."""
    async with running_door(config=replace(PATIENT, body_grace_s=3600)) as door:
        if how == "chunked" and not size_bytes:
            size_bytes = 1
        wire = await upload_part(door, how, size_bytes)
        wire.abort()

        gone = {"route": "blob", "method": "PUT", "status": "499"}
        await until(lambda: door.value("holdfast_http_requests_total", **gone) == 1)
        assert not door.store.blobs
        assert door.value("holdfast_http_errors_total", code="crash") == 0
        assert door.value("holdfast_http_body_bytes_in_flight") == 0


async def test_a_write_whose_body_has_arrived_is_finished_without_its_client() -> None:
    async with running_door() as door:
        door.store.faults.gate = asyncio.Event()
        wire = await door.wire()
        await wire.send(request("PUT", PATH, body=DATA))
        await until(lambda: "put" in door.store.calls)
        wire.abort()
        await until(lambda: door.value("holdfast_http_connections_open") == 0)
        door.store.faults.gate.set()

        await until(lambda: bool(door.store.blobs))


async def test_bodies_beyond_the_memory_for_them_are_503() -> None:
    config = replace(PATIENT, body_bytes_in_flight_max=2 * CHUNK_BYTES)
    async with running_door(config=config) as door:
        first = await upload_part(door, "chunked", 1)
        second = await upload_part(door, "9000000", 1)
        await until(lambda: door.value("holdfast_http_body_bytes_in_flight") == 2 * CHUNK_BYTES)

        wire = await door.wire()
        await wire.send(request("PUT", PATH, body=DATA))
        reply = await wire.reply()
        assert (reply.status, reply.code) == (503, "busy")

        first.abort()
        second.abort()
        await until(lambda: door.value("holdfast_http_body_bytes_in_flight") == 0)
        await wire.send(request("PUT", PATH, body=DATA))
        assert (await wire.reply()).status == 201


async def test_a_slow_store_stops_the_upload_and_not_the_memory() -> None:
    async with running_door() as door:
        door.store.faults.gate = asyncio.Event()
        wire = await door.wire()
        await wire.send(chunked("POST", "/v1/blobs"))
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 256 * MIB:
                async with asyncio.timeout(0.5):
                    await wire.send(chunk(bytes(256 * KIB)))
                sent += 256 * KIB
        door.store.faults.gate.set()
        wire.abort()

    assert sent < 64 * MIB


async def test_a_delete_with_a_body_is_a_delete() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)
        wire = await door.wire()
        await wire.send(request("DELETE", PATH, body=b"why") + request("GET", PATH))

        assert (await wire.reply()).status == 204
        assert (await wire.reply()).status == 404
