"""Ranges: the header's grammar, and what is served for it (RFC 9110 14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.ranges import Span, parse_range
from ring.digest import Digest
from ring.limits import BLOB_BYTES_MAX
from tests.fakes.memory_blob_store import MemoryBlobStore
from tests.gateway.http.doors import Door, running_door
from tests.gateway.http.wire import Reply, request

DATA = bytes(range(200))
DIGEST = Digest.of(DATA)

SERVED = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-", 0, 200),
    ("bytes=0-199", 0, 200),
    ("bytes=0-200", 0, 200),
    ("bytes=5-9", 5, 10),
    ("bytes=199-", 199, 200),
    ("bytes=-1", 199, 200),
    ("bytes=-200", 0, 200),
    ("bytes=-201", 0, 200),
    ("bytes=-" + "9" * 40, 0, 200),
    ("bytes=10-" + "9" * 40, 10, 200),
    ("bytes=10-99999999999999999999", 10, 200),
    ("BYTES=3-4", 3, 5),
    ("bytes= 3-4 ", 3, 5),
    ("bytes=3-4,", 3, 5),
    ("bytes=003-4", 3, 5),
]
UNSATISFIABLE = [
    "bytes=200-",
    "bytes=200-300",
    "bytes=99999999999999999999-",
    f"bytes={BLOB_BYTES_MAX + 1}-",
    "bytes=-0",
]
IGNORED = [
    "bytes=",
    "bytes=-",
    "bytes=5",
    "bytes=9-5",
    "bytes=a-b",
    "bytes=1-2-3",
    "bytes=0x1-2",
    "bytes=+1-2",
    "bytes=1.0-2",
    "bytes=0-0,5-6",
    "bytes=" + ",".join(["0-"] * 1_000),
    "bytes=" + "9" * 5_000 + "-",
    "items=0-5",
    "0-5",
    "bytes 0-5",
    "bytes=\u0661-\u0662",
    "",
]


@pytest.mark.parametrize(("header", "start", "stop"), SERVED)
def test_a_span_is_what_the_header_says(header: str, start: int, stop: int) -> None:
    span = parse_range(header)

    assert span is not None
    assert span.within(len(DATA)) == (start, stop)


@pytest.mark.parametrize("header", UNSATISFIABLE)
def test_a_span_beyond_the_end_is_unsatisfiable(header: str) -> None:
    span = parse_range(header)

    assert span is not None
    assert span.within(len(DATA)) is None


@pytest.mark.parametrize("header", IGNORED)
def test_what_is_no_single_range_is_ignored(header: str) -> None:
    assert parse_range(header) is None


@given(st.text(max_size=60))
def test_no_header_is_a_crash(text: str) -> None:
    span = parse_range("bytes=" + text)

    assert span is None or span.first >= 0


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_every_span_stays_inside_the_blob(size: int, first: int, last: int) -> None:
    for span in (Span(first, last), Span(first, None), Span(0, None, suffix=first)):
        bounds = span.within(size)
        assert bounds is None or 0 <= bounds[0] < bounds[1] <= size


async def get(door: Door, *lines: str, method: str = "GET") -> Reply:
    wire = await door.wire()
    await wire.send(request(method, f"/v1/blobs/{DIGEST}", *lines))
    return await wire.reply(method)


@pytest.mark.parametrize(("header", "start", "stop"), SERVED)
async def test_a_range_is_served_with_its_place(header: str, start: int, stop: int) -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)

        reply = await get(door, f"Range: {header}")

    assert (reply.status, reply.body) == (206, DATA[start:stop])
    assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/200"
    assert reply.headers["etag"] == f'"{DIGEST}"'


@pytest.mark.parametrize("header", UNSATISFIABLE)
async def test_an_unsatisfiable_range_is_416_with_the_size(header: str) -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)

        reply = await get(door, f"Range: {header}")

    assert (reply.status, reply.code) == (416, "range_not_satisfiable")
    assert reply.headers["content-range"] == "bytes */200"


@pytest.mark.parametrize("header", [entry for entry in IGNORED if entry.isascii()])
async def test_an_ignored_range_gets_the_whole(header: str) -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)

        reply = await get(door, f"Range: {header}")

    assert (reply.status, reply.body) == (200, DATA)


async def test_two_range_headers_get_the_whole() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)

        reply = await get(door, "Range: bytes=0-1", "Range: bytes=2-3")

    assert (reply.status, reply.body) == (200, DATA)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5", "bytes=0-0"])
async def test_no_range_of_an_empty_blob_can_be_satisfied(header: str) -> None:
    empty = Digest.of(b"")
    async with running_door() as door:
        await door.store.put(empty, b"")
        wire = await door.wire()
        await wire.send(request("GET", f"/v1/blobs/{empty}", f"Range: {header}"))
        reply = await wire.reply()

    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */0")


async def test_a_range_of_head_does_not_apply() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)

        reply = await get(door, "Range: bytes=0-0", method="HEAD")

    assert (reply.status, reply.headers["content-length"]) == (200, "200")


async def test_a_range_of_an_absent_blob_is_404() -> None:
    async with running_door() as door:
        for header in ("bytes=0-", "bytes=-1", "bytes=500-"):
            assert (await get(door, f"Range: {header}")).status == 404


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"{DIGEST}"', 206),
        (f'W/"{DIGEST}"', 200),
        ('"something else"', 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
    ],
)
async def test_if_range_decides_between_the_part_and_the_whole(condition: str, status: int) -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)

        reply = await get(door, "Range: bytes=1-1", f"If-Range: {condition}")

    assert (reply.status, reply.body) == (status, DATA[1:2] if status == 206 else DATA)


async def test_a_large_range_comes_from_the_chunks_that_it_touches() -> None:
    data = bytes(range(256)) * 4_096 * 3
    digest = Digest.of(data)
    async with running_door(MemoryBlobStore(piece_bytes=100_000)) as door:
        await door.store.put(digest, data)
        wire = await door.wire()
        await wire.send(request("GET", f"/v1/blobs/{digest}", "Range: bytes=1000000-2999999"))
        reply = await wire.reply()

    assert (reply.status, reply.body) == (206, data[1_000_000:3_000_000])
