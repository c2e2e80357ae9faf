"""Reading blobs and spans of them over connections that break and gateways that lie."""


from __future__ import annotations

import pytest

from holdfast import Client, Digest, RetryPolicy
from ring.errors import (
    Corrupt,
    PeerProtocol,
    RangeNotSatisfiable,
)
from ring.limits import MIB
from tests.holdfast.scripted_gateway import (
    Handler,
    answer,
    problem,
    scripted_gateway,
)

HELLO = Digest.of(b"hello")
QUICK = RetryPolicy(deadline_s=5.0, wait_first_s=0.001, wait_max_s=0.002)
ONCE = RetryPolicy(deadline_s=0.0)


async def test_wrong_bytes_are_never_returned() -> None:
    async with (
        scripted_gateway(answer(200, b"hallo"), answer(200, b"hello")) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        assert await client.get(HELLO) == b"hello"

    async with (
        scripted_gateway(answer(200, b"hallo")) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        with pytest.raises(Corrupt, match="discarded"):
            await client.get(HELLO)


async def test_a_wrong_blob_never_comes_out_complete() -> None:
    good = bytes(MIB)
    bad = good[:-1] + b"\x01"
    async with (
        scripted_gateway(answer(200, bad)) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        reader = await client.open(Digest.of(good))
        received = 0
        with pytest.raises(Corrupt):
            async for piece in reader:
                received += len(piece)
        await reader.close()

    assert received < len(bad)


async def test_a_download_that_was_cut_is_taken_up_where_it_broke() -> None:
    data = bytes(range(256)) * 4096
    size = len(data)

    def rest(start: int, cut: int | None) -> Handler:
        spec = f"bytes {start}-{size - 1}/{size}"
        return answer(206, data[start:], cut=cut, Content_Range=spec)

    async with (
        scripted_gateway(
            answer(200, data, cut=1000),
            problem(503, "unavailable"),
            rest(1000, cut=500),
            rest(1500, cut=None),
        ) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        assert await client.get(Digest.of(data)) == data

    assert [asked.headers.get("range") for asked in gateway.asked] == [
        None,
        f"bytes=1000-{size - 1}",
        f"bytes=1000-{size - 1}",
        f"bytes=1500-{size - 1}",
    ]


async def test_a_download_is_not_taken_up_with_other_bytes() -> None:
    data = bytes(4096)
    async with (
        scripted_gateway(
            answer(200, data, cut=1000),
            answer(206, data[1000:], Content_Range="bytes 1000-4095/9999"),
        ) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        with pytest.raises(PeerProtocol):
            await client.get(Digest.of(data))


async def test_a_span_is_asked_for_as_a_range() -> None:
    async with (
        scripted_gateway(answer(206, b"ell", Content_Range="bytes 1-3/5")) as gateway,
        Client(gateway.url, retries=QUICK) as client,
    ):
        reader = await client.open(HELLO, 1, 4)
        data = b"".join([bytes(piece) async for piece in reader])

    assert (data, reader.stat.size_bytes) == (b"ell", 5)
    assert gateway.asked[0].headers["range"] == "bytes=1-3"


@pytest.mark.parametrize(
    "handler",
    [
        answer(206, b"hel", Content_Range="bytes 0-2/5"),
        answer(206, b"ello", Content_Range="bytes 1-3/5"),
        answer(206, b"ell"),
        answer(200, b"hello"),
    ],
)
async def test_a_range_that_was_not_asked_for_is_refused(handler: Handler) -> None:
    async with (
        scripted_gateway(handler) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        with pytest.raises(PeerProtocol):
            await client.open(HELLO, 1, 4)


async def test_an_empty_span_needs_no_bytes() -> None:
    async with (
        scripted_gateway(answer(200, Content_Length="5")) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        reader = await client.open(HELLO, 2, 2)

        assert [piece async for piece in reader] == []
        with pytest.raises(RangeNotSatisfiable):
            await client.open(HELLO, 3, 2)

    assert gateway.asked[0].method == "HEAD"


async def test_an_empty_blob_is_a_blob() -> None:
    async with (
        scripted_gateway(answer(200), answer(200)) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        assert await client.get(Digest.of(b"")) == b""
        with pytest.raises(Corrupt):
            await client.get(HELLO)


async def test_doubt_about_a_delete_is_passed_on() -> None:
    async with (
        scripted_gateway(answer(200, b"hello", Holdfast_Quorum="no")) as gateway,
        Client(gateway.url, retries=ONCE) as client,
    ):
        reader = await client.open(HELLO)
        await reader.close()

    assert reader.stat.confirmed is False
