"""The BlobStore suite: what whoever keeps blobs behind that protocol must do.

The checks are those of the ferro-blob-store contract: a blob is found under the hash of its content
or not at all.  What its users asked for on top is in test_blob_streams.py and test_blob_list.py.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from ring.digest import Algorithm, Digest
from ring.errors import DigestMismatch, HoldfastError, NotFound
from ring.limits import KIB, MIB
from ring.seams import BlobStore
from tests.conformance.blob_stores import BlobBackend
from tests.conformance.blobs import LARGE, SIZES, content, is_absent, listed, pieces, read


async def test_an_empty_store_has_nothing(blobs: BlobStore) -> None:
    digest = Digest.of(b"")

    assert await is_absent(blobs, digest)
    await blobs.delete(digest)
    assert await listed(blobs) == []


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("size_bytes", SIZES)
async def test_what_was_put_is_there(
    blobs: BlobStore, algorithm: Algorithm, size_bytes: int
) -> None:
    data = content(size_bytes)
    digest = Digest.of(data, algorithm)

    stored = await blobs.put(digest, data)

    assert (stored.digest, stored.size_bytes, stored.created) == (digest, size_bytes, True)
    assert await blobs.contains(digest)
    assert await blobs.get(digest) == data
    assert await read(blobs, digest) == data
    stat = await blobs.stat(digest)
    assert (stat.size_bytes, stat.confirmed) == (size_bytes, True)
    assert await listed(blobs) == [(digest, size_bytes)]


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("size_bytes", [0, 10, LARGE])
async def test_what_was_added_is_there_under_the_digest_that_it_has(
    blobs: BlobStore, algorithm: Algorithm, size_bytes: int
) -> None:
    data = content(size_bytes)

    stored = await blobs.add(data, algorithm)
    again = await blobs.add(data, algorithm)

    assert stored.digest == again.digest == Digest.of(data, algorithm)
    assert (stored.size_bytes, stored.created, again.created) == (size_bytes, True, False)
    assert await blobs.get(stored.digest) == data


@pytest.mark.parametrize("of", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size_bytes", [10, LARGE])
async def test_every_kind_of_buffer_is_taken(
    blobs: BlobStore, of: type[bytes | bytearray | memoryview], size_bytes: int
) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)

    await blobs.put(digest, of(data))
    await blobs.put_stream(pieces(of(data)), digest=digest)

    assert await blobs.get(digest) == data


@pytest.mark.parametrize("size_bytes", [0, 10, LARGE])
async def test_bytes_under_another_digest_are_refused_and_kept_nowhere(
    blobs: BlobStore, size_bytes: int
) -> None:
    data, wrong = content(size_bytes), Digest.of(b"something else")
    computed = Digest.of(data)

    for put in (blobs.put(wrong, data), blobs.put_stream(pieces(data), digest=wrong)):
        with pytest.raises(DigestMismatch) as caught:
            await put
        assert str(wrong) in caught.value.detail
        assert str(computed) in caught.value.detail

    assert await is_absent(blobs, wrong)
    assert await is_absent(blobs, computed)
    assert await listed(blobs) == []


@pytest.mark.parametrize("size_bytes", [10, LARGE])
async def test_a_refused_put_leaves_the_blob_of_that_digest_as_it_was(
    blobs: BlobStore, size_bytes: int
) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)
    await blobs.put(digest, data)

    for bad in (content(size_bytes, seed=2), data[:-1], data + b"x"):
        with pytest.raises(DigestMismatch):
            await blobs.put(digest, bad)
        with pytest.raises(DigestMismatch):
            await blobs.put_stream(pieces(bad), digest=digest)

    assert await blobs.get(digest) == data


@pytest.mark.parametrize("size_bytes", [0, 10, LARGE])
async def test_putting_again_is_no_error_and_says_that_it_was_there(
    blobs: BlobStore, size_bytes: int
) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)
    first = await blobs.put(digest, data)
    generation = (await blobs.stat(digest)).generation

    again = await blobs.put(digest, data)
    streamed = await blobs.put_stream(pieces(data), digest=digest)
    unnamed = await blobs.put_stream(pieces(data))

    assert [one.created for one in (first, again, streamed, unnamed)] == [True, False, False, False]
    assert await listed(blobs) == [(digest, size_bytes)]
    assert (await blobs.stat(digest)).generation == generation


@pytest.mark.parametrize("size_bytes", [10, LARGE])
async def test_puts_of_one_blob_at_once_all_succeed(blobs: BlobStore, size_bytes: int) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)

    stored = await asyncio.gather(*(blobs.put(digest, data) for _ in range(8)))

    assert {one.digest for one in stored} == {digest}
    assert await blobs.get(digest) == data
    assert await listed(blobs) == [(digest, size_bytes)]


async def test_a_reader_during_a_large_put_sees_all_of_it_or_nothing(blobs: BlobStore) -> None:
    data = content(9 * MIB)
    digest = Digest.of(data)
    parts = [data[at : at + 256 * KIB] for at in range(0, len(data), 256 * KIB)]
    putting = asyncio.ensure_future(blobs.put_stream(pieces(*parts), digest=digest))
    seen = 0
    while not putting.done():
        try:
            seen += await blobs.get(digest) == data
        except NotFound:
            await asyncio.sleep(0)
        else:
            assert seen, "a part of it"
    await putting

    assert await blobs.get(digest) == data


@pytest.mark.parametrize("size_bytes", [0, 10, LARGE])
async def test_a_deleted_blob_is_gone_and_may_come_back(blobs: BlobStore, size_bytes: int) -> None:
    data = content(size_bytes)
    digest, other = Digest.of(data), Digest.of(b"other")
    await blobs.put(other, b"other")
    for _ in range(3):
        assert (await blobs.put(digest, data)).created
        generation = (await blobs.stat(digest)).generation

        await blobs.delete(digest)
        assert await is_absent(blobs, digest)
        await blobs.delete(digest)
        assert await listed(blobs) == [(other, 5)]

    await blobs.put(digest, data)
    assert await blobs.get(digest) == data
    assert (await blobs.stat(digest)).generation > generation
    assert await blobs.get(other) == b"other"


@pytest.mark.parametrize("size_bytes", [10, LARGE])
@pytest.mark.parametrize("gone", list(Algorithm))
async def test_one_content_under_several_digests_is_several_blobs(
    blobs: BlobStore, size_bytes: int, gone: Algorithm
) -> None:
    # The large ones share every chunk.
    data = content(size_bytes)
    digests = {algorithm: Digest.of(data, algorithm) for algorithm in Algorithm}
    for digest in digests.values():
        assert (await blobs.put(digest, data)).created

    await blobs.delete(digests.pop(gone))

    assert await is_absent(blobs, Digest.of(data, gone))
    for digest in digests.values():
        assert await blobs.get(digest) == data
    assert await listed(blobs) == [(digest, size_bytes) for digest in sorted(digests.values())]


async def test_a_broken_backend_is_an_error_and_never_an_absence(backend: BlobBackend) -> None:
    blobs, there, absent = backend.store, Digest.of(b"there"), Digest.of(b"absent")
    await blobs.put(there, b"there")
    backend.breaks()

    for digest in (there, absent):
        for asked in (blobs.get, blobs.stat, blobs.open, blobs.contains, blobs.delete):
            with pytest.raises(HoldfastError) as caught:
                await asked(digest)
            assert caught.value.retryable, asked
            assert not isinstance(caught.value, NotFound), asked
    for put in (blobs.put(absent, b"absent"), blobs.put_stream(pieces(b"absent"))):
        with pytest.raises(HoldfastError) as caught:
            await put
        assert caught.value.retryable
    with pytest.raises(HoldfastError):
        await blobs.list_page(None, 10)


async def test_two_handles_see_each_others_writes(backend: BlobBackend) -> None:
    one, other = backend.store, backend.other
    data = content(LARGE)
    digest = Digest.of(data)

    assert (await one.put(digest, data)).created
    assert not (await other.put(digest, data)).created
    assert await other.get(digest) == data
    assert await listed(other) == [(digest, LARGE)]
    await other.delete(digest)
    assert await is_absent(one, digest)


async def test_a_digest_survives_json_as_text(blobs: BlobStore) -> None:
    stored = await blobs.put_stream(pieces(b"json"))

    assert Digest.parse(json.loads(json.dumps(str(stored.digest)))) == stored.digest


@pytest.mark.parametrize("size_bytes", [0, 10, LARGE])
async def test_what_was_deleted_comes_back_from_the_trash(
    blobs: BlobStore, size_bytes: int
) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)
    await blobs.put(digest, data)
    generation = (await blobs.stat(digest)).generation
    await blobs.delete(digest)
    assert await is_absent(blobs, digest)

    stored = await blobs.undelete(digest)
    again = await blobs.undelete(digest)

    assert (stored.digest, stored.size_bytes, stored.created) == (digest, size_bytes, True)
    assert (again.size_bytes, again.created) == (size_bytes, False)
    assert await blobs.get(digest) == data
    assert (await blobs.stat(digest)).generation == generation + 1
    assert await listed(blobs) == [(digest, size_bytes)]


@pytest.mark.parametrize("size_bytes", [10, LARGE])
async def test_what_was_deleted_past_the_trash_is_gone(blobs: BlobStore, size_bytes: int) -> None:
    data = content(size_bytes)
    digest = Digest.of(data)
    with pytest.raises(NotFound):
        await blobs.undelete(digest)
    await blobs.put(digest, data)
    await blobs.delete(digest)
    await blobs.delete(digest, skip_trash=True)

    with pytest.raises(NotFound):
        await blobs.undelete(digest)
    assert await is_absent(blobs, digest)
