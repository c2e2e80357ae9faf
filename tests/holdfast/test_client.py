"""The Python client against a gateway that misbehaves on purpose."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast import Client, Digest, NotFound, RetryPolicy, Stored
from holdfast.upload import FileSource
from ring.digest import Algorithm
from ring.errors import (
    BadRequest,
    Busy,
    DigestMismatch,
    HoldfastError,
    LocalFault,
    PeerProtocol,
    StorageFault,
    Unavailable,
    Unreachable,
)
from ring.limits import CHUNK_BYTES, MIB
from tests.holdfast.scripted_gateway import (
    Handler,
    answer,
    hang_up,
    problem,
    scripted_gateway,
)

HELLO = Digest.of(b"hello")
QUICK = RetryPolicy(deadline_s=5.0, wait_first_s=0.001, wait_max_s=0.002)
ONCE = RetryPolicy(deadline_s=0.0)


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_bytes_are_put_under_their_digest_and_come_back() -> None:
    async with (
        scripted_gateway(answer(201, b"{}"), answer(200, b"hello")) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        digest = await client.put(b"hello")
        data = await client.get(digest)

    assert (digest, data) == (HELLO, b"hello")
    assert [(asked.method, asked.target, asked.body) for asked in gateway.asked] == [
        ("PUT", f"/v1/blobs/{HELLO}", b"hello"),
        ("GET", f"/v1/blobs/{HELLO}", b""),
    ]


async def test_a_put_says_whether_the_blob_was_new() -> None:
    async with (
        scripted_gateway(answer(201, b"{}"), answer(200, b"{}")) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        first = await client.put(HELLO, b"hello")
        second = await client.put(str(HELLO), b"hello")

    assert first == Stored(HELLO, 5, created=True)
    assert second == Stored(HELLO, 5, created=False)


async def test_the_token_goes_along() -> None:
    async with (
        scripted_gateway(answer(204)) as gateway,
        Client(gateway.url, token="open sesame", retries=QUICK) as client,
    ):
        await client.delete(HELLO)

    assert gateway.asked[0].headers["authorization"] == "Bearer open sesame"


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (problem(404, "not_found"), NotFound),
        (problem(422, "digest_mismatch"), DigestMismatch),
        (problem(503, "unavailable"), Unavailable),
        (problem(503, "storage_fault"), StorageFault),
        (problem(503, "from_the_future"), PeerProtocol),
        (answer(503, b"<h1>proxy</h1>"), Unavailable),
        (answer(404, b"nginx"), PeerProtocol),
        (answer(302, Location="/"), PeerProtocol),
        (answer(500, b"oops"), PeerProtocol),
        (hang_up, Unreachable),
    ],
)
async def test_an_error_becomes_the_class_that_it_was(
    handler: Handler, expected: type[HoldfastError]
) -> None:
    async with (
        # Twice: aiohttp itself repeats what is idempotent when a connection breaks at once.
        scripted_gateway(handler, handler) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        with pytest.raises(HoldfastError) as caught:
            await client.get(HELLO)

    assert type(caught.value) is expected


async def test_a_404_of_somebody_else_is_no_absence() -> None:
    async with (
        scripted_gateway(answer(404)) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        with pytest.raises(PeerProtocol):
            await client.contains(HELLO)


async def test_a_miss_is_false_and_doubt_is_an_error() -> None:
    absent = answer(404, Content_Type="application/problem+json", Content_Length="77")
    doubt = answer(503, Content_Type="application/problem+json", Content_Length="77")
    there = answer(200, Content_Length="5")
    async with (
        scripted_gateway(absent, doubt, there) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        assert await client.contains(HELLO) is False
        with pytest.raises(Unavailable):
            await client.contains(HELLO)
        assert await client.contains(HELLO) is True


async def test_a_503_is_tried_again() -> None:
    async with (
        scripted_gateway(
            problem(503, "busy"), problem(503, "unavailable"), hang_up, answer(200, b"hello")
        ) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        assert await client.get(HELLO) == b"hello"

    assert len(gateway.asked) == 4


async def test_what_cannot_help_is_not_tried_again() -> None:
    async with (
        scripted_gateway(problem(507, "disk_full"), answer(201)) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        with pytest.raises(HoldfastError, match="words"):
            await client.put(b"hello")

    assert len(gateway.asked) == 1


async def test_an_upload_is_sent_again_from_the_beginning(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096 * 5
    (tmp_path / "file").write_bytes(data)
    stored = json.dumps({"digest": str(Digest.of(data)), "size": len(data)}).encode()
    async with (
        scripted_gateway(problem(503, "busy"), answer(201, stored)) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        result = await client.put_file(str(tmp_path / "file"))

    assert result == Stored(Digest.of(data), len(data), created=True)
    assert [asked.body for asked in gateway.asked] == [data, data]


async def test_a_stream_that_was_begun_is_not_sent_again() -> None:
    piece = bytes(MIB)
    async with (
        scripted_gateway(problem(503, "busy"), answer(201)) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        with pytest.raises(Busy):
            await client.put_stream(_pieces(piece, piece, b"x"))

    assert len(gateway.asked) == 1


async def test_a_short_stream_can_be_sent_again() -> None:
    async with (
        scripted_gateway(problem(503, "busy"), answer(201)) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        stored = await client.put_stream(_pieces(b"hel", b"", b"lo"), algorithm=Algorithm.SHA256)

    assert stored.digest == Digest.of(b"hello", Algorithm.SHA256)
    assert [asked.body for asked in gateway.asked] == [b"hello", b"hello"]


async def test_a_gateway_that_stored_something_else_is_not_believed() -> None:
    data = bytes(CHUNK_BYTES + 1)
    other = json.dumps({"digest": str(HELLO), "size": len(data)}).encode()
    async with (
        scripted_gateway(answer(201, other)) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        with pytest.raises(PeerProtocol, match="stored"):
            await client.put_stream(_pieces(data))


async def test_the_fault_of_a_source_is_not_taken_for_one_of_the_connection() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 * MIB)
        raise LocalFault("the disk is gone")

    async with (
        scripted_gateway(answer(201)) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        with pytest.raises(LocalFault, match="the disk is gone"):
            await client.put_stream(broken())


async def test_a_list_is_read_page_by_page_even_when_one_is_empty() -> None:
    one, two = sorted([Digest.of(b"1"), Digest.of(b"2")])

    def page(entries: list[tuple[Digest, int]], following: Digest | None) -> Handler:
        blobs = [{"digest": str(digest), "size": size} for digest, size in entries]
        value = {"blobs": blobs, "next": None if following is None else str(following)}
        return answer(200, json.dumps(value).encode())

    async with (
        scripted_gateway(page([(one, 1)], one), page([], one), page([(two, 2)], None)) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        entries = [entry async for entry in client.iterate()]

    assert entries == [(one, 1), (two, 2)]
    assert [asked.target for asked in gateway.asked] == [
        "/v1/blobs?limit=1000",
        f"/v1/blobs?limit=1000&after={one}",
        f"/v1/blobs?limit=1000&after={one}",
    ]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"blobs": 1, "next": null}', b'{"blobs": [{"size": 1}], "next": null}']
)
async def test_an_answer_that_is_no_page_is_refused(body: bytes) -> None:
    async with (
        scripted_gateway(answer(200, body)) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        with pytest.raises(PeerProtocol):
            await client.list_page(None, 10)


async def test_nobody_at_the_address_is_said_in_words() -> None:
    async with scripted_gateway() as gateway:
        url = gateway.url

    async with Client(url, retries=QUICK) as client:
        with pytest.raises(Unreachable, match=r"no gateway answers at http://127\.0\.0\.1"):
            await client.get(HELLO)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:7070", "ftp://a", "http://", "http://a:b", "http://a/below", "http://a?b=c"],
)
def test_what_is_no_url_of_a_gateway_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="URL"):
        Client(url)


@pytest.mark.parametrize("token", ["", "line\nfeed", "ümlaut"])
def test_a_token_that_cannot_be_sent_is_refused(token: str) -> None:
    with pytest.raises(BadRequest, match="token"):
        Client(token=token)


async def test_the_arguments_of_put_cannot_be_mixed_up() -> None:
    async with Client() as client:
        with pytest.raises(BadRequest):
            await client.put(b"hello", b"hello")  # type: ignore[call-overload]  # that is the point
        with pytest.raises(BadRequest):
            await client.put(str(HELLO))  # type: ignore[call-overload]  # that is the point


async def test_a_file_that_shrinks_while_it_is_sent_is_not_stored(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(CHUNK_BYTES + 1))
    shrinking = FileSource(str(tmp_path / "file"), CHUNK_BYTES + 2)
    growing = FileSource(str(tmp_path / "file"), CHUNK_BYTES)

    for source in (shrinking, growing):
        with pytest.raises(LocalFault, match="changed while it was read"):
            async for _ in source.pieces():
                pass
