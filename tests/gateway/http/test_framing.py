"""Requests whose framing is wrong, double or endless: 4xx in words, and the connection ends.

Each row is raw bytes.  After a row the door must still serve, and nothing may have been stored:
what two parsers could read differently must not become a second request (request smuggling).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ring.digest import Digest
from tests.gateway.http.doors import PATIENT, Door, running_door
from tests.gateway.http.wire import request

DATA = b"data"
PATH = f"/v1/blobs/{Digest.of(DATA)}"
HOST = b"Host: localhost\r\n"
SMUGGLED = request("DELETE", PATH)


def put(*lines: bytes, body: bytes = DATA) -> bytes:
    return b"PUT " + PATH.encode() + b" HTTP/1.1\r\n" + b"".join((HOST, *lines)) + b"\r\n" + body


def get(*lines: bytes) -> bytes:
    return b"GET /healthz HTTP/1.1\r\n" + b"".join((HOST, *lines)) + b"\r\n"


def chunked(body: bytes, *lines: bytes) -> bytes:
    return put(b"Transfer-Encoding: chunked\r\n", *lines, body=body)


BAD = {
    "length and chunked": put(
        b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", body=b"4\r\ndata\r\n0\r\n\r\n"
    ),
    "two lengths": put(b"Content-Length: 4\r\n", b"Content-Length: 5\r\n"),
    "two equal lengths": put(b"Content-Length: 4\r\n", b"Content-Length: 4\r\n"),
    "length with a sign": put(b"Content-Length: +4\r\n"),
    "length below zero": put(b"Content-Length: -1\r\n"),
    "list of lengths": put(b"Content-Length: 4,4\r\n"),
    "length in hex": put(b"Content-Length: 0x4\r\n"),
    "length in arabic digits": put("Content-Length: \u0664\r\n".encode()),
    "length beyond 64 bits": put(b"Content-Length: 99999999999999999999\r\n"),
    "length of nothing": put(b"Content-Length:\r\n"),
    "unknown transfer coding": put(b"Transfer-Encoding: xchunked\r\n"),
    "chunked twice": put(b"Transfer-Encoding: chunked, chunked\r\n"),
    "chunked twice in two fields": put(
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n"
    ),
    "chunked not last": put(b"Transfer-Encoding: chunked, identity\r\n"),
    "chunked after a control": put(b"Transfer-Encoding: \x0bchunked\r\n"),
    "chunk size beyond 64 bits": chunked(b"ffffffffffffffffff\r\n"),
    "chunk size below zero": chunked(b"-1\r\ndata\r\n0\r\n\r\n"),
    "chunk size with prefix": chunked(b"0x4\r\ndata\r\n0\r\n\r\n"),
    "chunk size with blank": chunked(b"4 \r\ndata\r\n0\r\n\r\n"),
    "chunk longer than its size": chunked(b"3\r\ndata\r\n0\r\n\r\n"),
    "chunk ended by a bare LF": chunked(b"4\ndata\r\n0\r\n\r\n"),
    "lines ended by bare LF": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "continued line": get(b"X: a\r\n b\r\n"),
    "NUL in a value": get(b"X: a\x00b\r\n"),
    "CR in a value": get(b"X: a\rb\r\n"),
    "blank before the colon": get(b"X : a\r\n"),
    "blank before the name": get(b" X: a\r\n"),
    "name of nothing": get(b": a\r\n"),
    "line without colon": get(b"nonsense\r\n"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": get(b"Host: localhost\r\n"),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "HTTP/3.0": b"GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "http in lower case": b"GET /healthz http/1.1\r\nHost: localhost\r\n\r\n",
    "TLS on the plain port": bytes.fromhex("160301020001000201fc0303") + bytes(40),
    "unknown method": b"FETCH / HTTP/1.1\r\n" + HOST + b"\r\n",
    "method in lower case": b"get /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority form": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "long target": b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "long field": get(b"X: " + b"a" * 9_000 + b"\r\n"),
    "long field name": get(b"X" * 9_000 + b": a\r\n"),
    "many fields": get(b"X: a\r\n" * 200),
    "many long fields": get((b"X: " + b"a" * 8_000 + b"\r\n") * 90),
    "endless chunk extension": chunked((b"1;" + b"x" * 7_000 + b"\r\nd\r\n") * 20),
    "one-byte chunks": chunked(b"1\r\nd\r\n" * 2_000_000),
    "endless trailer": chunked(b"4\r\ndata\r\n0\r\n" + b"X: y\r\n" * 170_000),
    "trailer that must not count": chunked(b"4\r\ndata\r\n0\r\nContent-Length: 9\r\n\r\n"),
    "long trailer": chunked(b"4\r\ndata\r\n0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
    "leading zeros": chunked(b"0" * 1_000_000 + b"4\r\ndata\r\n0\r\n\r\n"),
    "garbage": bytes(range(256)),
    "nothing but blanks": b" " * 100_000,
    "nothing but line ends and garbage": b"\r\n" * 100 + b"\x00",
}


async def check_alive(door: Door) -> None:
    wire = await door.wire()
    await wire.send(request("GET", "/healthz"))
    assert (await wire.reply()).status == 200


@pytest.mark.parametrize("name", BAD)
async def test_bad_framing_is_refused_and_ends_the_connection(name: str) -> None:
    async with running_door() as door:
        await door.store.put(Digest.of(b"bystander"), b"bystander")
        wire = await door.wire()
        await wire.send(BAD[name])
        reply = await wire.reply()
        # What follows belongs to nobody, whatever it looks like.
        await wire.send(request("DELETE", f"/v1/blobs/{Digest.of(b'bystander')}"))

        assert 400 <= reply.status < 500, reply
        assert reply.problem()["detail"]
        assert reply.headers["connection"] == "close"
        assert not await wire.rest()
        assert list(door.store.blobs.values()) == [b"bystander"]
        await check_alive(door)


@pytest.mark.parametrize("name", [name for name, data in BAD.items() if len(data) < 2_000])
async def test_bad_framing_in_small_segments_is_refused_too(name: str) -> None:
    async with running_door() as door:
        wire = await door.wire()
        data = BAD[name]
        try:
            for at in range(0, len(data), 7):
                await wire.send(data[at : at + 7])
            reply = await wire.reply()
        except ConnectionError:
            pytest.fail("the door must be heard before it closes")

        assert 400 <= reply.status < 500
        assert not door.store.blobs
        await check_alive(door)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: evil/@x:99999\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: a b\r\n\r\n",
        b"GET http://other/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"Expect: junk\r\n\r\n",
    ],
)
async def test_a_head_that_contradicts_itself_is_refused(data: bytes) -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(data)

        assert (await wire.reply()).code in ("bad_request", "expectation_failed")


async def test_a_request_hidden_in_a_refused_body_is_no_request() -> None:
    async with running_door() as door:
        await door.store.put(Digest.of(DATA), DATA)
        wire = await door.wire()
        await wire.send(
            b"PUT /v1/blobs/bad HTTP/1.1\r\n" + HOST + b"Content-Length: 5000\r\n\r\n" + SMUGGLED
        )
        reply = await wire.reply()

        assert (reply.status, reply.headers["connection"]) == (400, "close")
        assert not await wire.rest()
        assert door.store.blobs


async def test_a_refused_body_that_has_arrived_leaves_the_connection_open() -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(request("PUT", "/v1/blobs/bad", body=DATA) + request("GET", "/healthz"))

        assert [(await wire.reply()).status for _ in range(2)] == [400, 200]


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"4\r\ndata\r\n0\r\n\r\n",
        b"2;x=y\r\nda\r\n2\r\nta\r\n0\r\n\r\n",
        b"00004\r\ndata\r\n000\r\nX: y\r\nIf-None-Match: *\r\nExpect: junk\r\n\r\n",
        b"1\r\nd\r\n1\r\na\r\n1\r\nt\r\n1\r\na\r\n0\r\n\r\n",
    ],
)
async def test_chunked_bodies_are_what_their_chunks_add_up_to(head: bytes, body: bytes) -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(head + body)

        assert (await wire.reply()).status == 201
        assert door.store.blobs == {Digest.of(DATA): DATA}


@pytest.mark.parametrize("together", [True, False])
async def test_a_trailer_never_becomes_a_header_of_the_next_request(together: bool) -> None:
    body = b'4\r\ndata\r\n0\r\nX: y\r\nIf-Match: "other"\r\n\r\n'
    async with running_door() as door:
        wire = await door.wire()
        if together:
            await wire.send(chunked(body) + request("GET", PATH))
            reply = await wire.reply()
        else:
            await wire.send(chunked(body))
            reply = await wire.reply()
            await wire.send(request("GET", PATH))

        assert (reply.status, reply.headers["connection"]) == (201, "close")
        assert not await wire.rest()


@pytest.mark.parametrize(
    "upgrade", [b"h2c", b"websocket", b"TLS/1.0", b"h2c, websocket", b"\xe2\x84\xaa"]
)
async def test_an_upgrade_is_ignored(upgrade: bytes) -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(
            b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: " + upgrade
            + b"\r\n\r\n" + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        )

        assert (await wire.reply()).status == 200
        assert b"101" not in await wire.rest()


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
@pytest.mark.parametrize("framing", [b"Content-Length: 4", b"Transfer-Encoding: chunked"])
async def test_an_upgrade_does_not_cut_a_body_short(protocol: bytes, framing: bytes) -> None:
    body = DATA if framing.startswith(b"Content") else b"4\r\ndata\r\n0\r\n\r\n"
    data = put(
        b"Connection: Upgrade\r\n", b"Upgrade: " + protocol + b"\r\n", framing + b"\r\n", body=body
    )
    async with running_door() as door:
        wire = await door.wire()
        for at in range(0, len(data), 5):
            await wire.send(data[at : at + 5])

        assert (await wire.reply()).status == 201
        assert door.store.blobs == {Digest.of(DATA): DATA}


async def test_http_1_0_is_answered_and_closed_unless_it_asks_otherwise() -> None:
    async with running_door() as door:
        closing, staying = await door.wire(), await door.wire()
        await closing.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        await staying.send(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

        assert (await closing.reply()).headers["connection"] == "close"
        assert not await closing.rest()
        assert (await staying.reply()).headers["connection"] == "keep-alive"
        await staying.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await staying.reply()).status == 200


async def test_a_connection_that_is_to_close_closes_after_the_answer() -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(request("GET", "/healthz", "Connection: close"))

        assert (await wire.reply()).headers["connection"] == "close"
        assert not await wire.rest()


async def test_a_client_that_closes_its_direction_is_answered() -> None:
    async with running_door() as door:
        await door.store.put(Digest.of(DATA), DATA)
        wire = await door.wire()
        await wire.send(request("GET", PATH) * 3, end=True)

        assert [(await wire.reply()).body for _ in range(3)] == [DATA] * 3
        assert not await wire.rest()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /heal",
        b"GET /healthz HTTP/1.1\r\nHost: loc",
        put(b"Content-Length: 100\r\n"),
        chunked(b"4\r\ndata\r\n"),
        chunked(b"4\r\nda"),
    ],
)
async def test_a_request_that_ends_in_the_middle_is_refused_at_once(data: bytes) -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(data, end=True)

        assert (await wire.reply()).status == 400
        assert not await wire.rest()
        assert not door.store.blobs


async def test_accept_headers_of_any_depth_are_ignored() -> None:
    nested = "Accept: " + ",".join(["a/b;q=0.1"] * 800)
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(request("GET", "/healthz", nested, nested.replace(":", "-Encoding:", 1)))

        assert (await wire.reply()).status == 200


async def test_pipelined_requests_without_a_reader_are_bounded() -> None:
    config = replace(PATIENT, answer_grace_s=0.2)
    async with running_door(config=config) as door:
        wire = await door.wire(receive_bytes=4_096)
        data = bytes(50_000)
        await door.store.put(Digest.of(data), data)
        wanted = request("GET", f"/v1/blobs/{Digest.of(data)}")
        sent = 0
        with pytest.raises((TimeoutError, ConnectionError)):
            while sent < 1 << 28:
                await wire.send(wanted * 1_000)
                sent += 1_000 * len(wanted)

        assert door.value("holdfast_http_errors_total", code="slow_reader") == 1
        await check_alive(door)
