"""The BlobStore suite: streams in and out, and parts of blobs.

A stream is the same blob as its bytes in one piece, however it is cut; a span is a slice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from ring.digest import Algorithm, Digest
from ring.errors import BadRequest, RangeNotSatisfiable
from ring.limits import CHUNK_BYTES, KIB, MIB
from ring.seams import BlobStore, Stored
from tests.conformance.blobs import LARGE, SIZES, content, is_absent, listed, pieces, read

CUTS: list[Sequence[int]] = [
    [],
    [0],
    [1],
    [0, 0, 1, 1],
    [CHUNK_BYTES - 1],
    [CHUNK_BYTES],
    [CHUNK_BYTES + 1],
    [10, CHUNK_BYTES + 10, CHUNK_BYTES + 10],
    [CHUNK_BYTES, 2 * CHUNK_BYTES],
    range(0, 9 * MIB, 64 * KIB - 1),
]


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_a_stream_is_what_its_pieces_add_up_to(blobs: BlobStore, size_bytes: int) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)
    for turn, cuts in enumerate(CUTS):
        inside = [cut for cut in cuts if cut <= size_bytes]
        parts = [data[a:b] for a, b in zip([0, *inside], [*inside, size_bytes], strict=True)]

        stored = await blobs.put_stream(pieces(*parts), digest=digest if turn % 2 else None)

        assert stored == Stored(digest, size_bytes, created=True), inside
        assert await blobs.get(digest) == data
        await blobs.delete(digest)


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_a_stream_of_announced_length_is_what_its_pieces_add_up_to(
    blobs: BlobStore, size_bytes: int
) -> None:
    data = content(size_bytes)
    half = size_bytes // 2
    for digest in (Digest.of(data), None):
        parts = pieces(data[:half], b"", data[half:])

        stored = await blobs.put_stream(parts, digest=digest, size_bytes=size_bytes)

        assert stored == Stored(Digest.of(data), size_bytes, created=True)
        assert await blobs.get(stored.digest) == data
        await blobs.delete(stored.digest)


@pytest.mark.parametrize("size_bytes", [1, 10, CHUNK_BYTES, LARGE])
@pytest.mark.parametrize("missing_bytes", [1, -1])
async def test_a_stream_that_is_not_as_long_as_announced_is_refused(
    blobs: BlobStore, size_bytes: int, missing_bytes: int
) -> None:
    data = content(size_bytes)
    with pytest.raises(BadRequest):
        await blobs.put_stream(pieces(data), size_bytes=size_bytes + missing_bytes)

    assert await is_absent(blobs, Digest.of(data))
    assert await listed(blobs) == []


async def test_a_stream_of_single_bytes_is_a_blob(blobs: BlobStore) -> None:
    data = content(3_000)

    stored = await blobs.put_stream(pieces(*(data[at : at + 1] for at in range(len(data)))))

    assert stored.digest == Digest.of(data)
    assert await blobs.get(stored.digest) == data


async def test_a_stream_without_a_piece_is_the_empty_blob(blobs: BlobStore) -> None:
    stored = await blobs.put_stream(pieces())

    assert (stored.digest, stored.size_bytes) == (Digest.of(b""), 0)
    assert await blobs.get(stored.digest) == b""


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("size_bytes", [5, LARGE])
async def test_the_digest_of_a_stream_is_computed_as_asked(
    blobs: BlobStore, algorithm: Algorithm, size_bytes: int
) -> None:
    data = content(size_bytes)

    stored = await blobs.put_stream(pieces(data), algorithm=algorithm)

    assert stored.digest == Digest.of(data, algorithm)


class ClientGone(Exception):
    """What a source of pieces raises; not the store's business."""


@pytest.mark.parametrize(
    ("size_bytes", "named"),
    [(0, True), (10, True), (10, False), (CHUNK_BYTES, True), (LARGE, False), (9 * MIB, True)],
)
async def test_a_stream_that_breaks_off_leaves_nothing(
    blobs: BlobStore, size_bytes: int, named: bool
) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)

    async def breaking() -> AsyncIterator[bytes]:
        for at in range(0, size_bytes, MIB):
            yield data[at : at + MIB]
        raise ClientGone

    with pytest.raises(ClientGone):
        await blobs.put_stream(breaking(), digest=digest if named else None)

    assert await is_absent(blobs, digest)
    assert await listed(blobs) == []
    assert (await blobs.put(digest, data)).created
    assert await blobs.get(digest) == data


async def test_a_cancelled_stream_leaves_nothing(blobs: BlobStore) -> None:
    data = content(LARGE)
    asked = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield data
        asked.set()
        await asyncio.Event().wait()

    putting = asyncio.ensure_future(blobs.put_stream(stalling(), digest=Digest.of(data)))
    await asked.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert await is_absent(blobs, Digest.of(data))


SPANS = [
    (0, None),
    (0, 0),
    (0, 1),
    (1, None),
    (1, 2),
    (CHUNK_BYTES - 1, CHUNK_BYTES),
    (CHUNK_BYTES - 1, CHUNK_BYTES + 1),
    (CHUNK_BYTES, CHUNK_BYTES + 1),
    (CHUNK_BYTES, None),
    (CHUNK_BYTES + 7, 2 * CHUNK_BYTES + 7),
    (100, 8 * MIB),
    (9 * MIB - 1, None),
    (9 * MIB, None),
    (5, 1 << 50),
]


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_a_span_is_the_slice_of_the_whole(blobs: BlobStore, size_bytes: int) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)
    await blobs.put(digest, data)

    for start, stop in SPANS:
        if start and start >= size_bytes:
            with pytest.raises(RangeNotSatisfiable) as caught:
                await blobs.open(digest, start, stop)
            assert caught.value.facts["size_bytes"] == size_bytes
        else:
            assert await read(blobs, digest, start, stop) == data[start:stop], (start, stop)


async def test_a_reader_says_what_it_reads(blobs: BlobStore) -> None:
    data = content(LARGE)
    digest = Digest.of(data)
    await blobs.put(digest, data)

    reader = await blobs.open(digest, 10, 20)

    assert reader.stat == await blobs.stat(digest)
    await reader.close()


@pytest.mark.parametrize("taken", [0, 1])
async def test_a_reader_may_be_closed_at_any_time_and_twice(blobs: BlobStore, taken: int) -> None:
    data = content(9 * MIB)
    digest = Digest.of(data)
    await blobs.put(digest, data)

    reader = await blobs.open(digest)
    read_pieces = aiter(reader)
    for _ in range(taken):
        piece = await anext(read_pieces)
        assert 0 < len(piece) <= CHUNK_BYTES
    await reader.close()
    await reader.close()

    assert await blobs.get(digest) == data


async def test_readers_do_not_disturb_each_other(blobs: BlobStore) -> None:
    datas = [content(LARGE, seed) for seed in range(2, 6)]
    for data in datas:
        await blobs.put(Digest.of(data), data)

    both = await asyncio.gather(*(read(blobs, Digest.of(data)) for data in datas for _ in range(2)))

    assert both == [data for data in datas for _ in range(2)]
