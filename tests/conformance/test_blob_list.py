"""The BlobStore suite: the list comes in pages, in wire order, and misses nothing that stays."""

from __future__ import annotations

import pytest

from ring.digest import Algorithm, Digest
from ring.seams import BlobStore
from tests.conformance.blobs import SIZES, content, listed


async def some_blobs(blobs: BlobStore, count: int) -> list[Digest]:
    """Blobs under every algorithm, in wire order."""
    digests = []
    for number in range(count):
        data = b"listed %d" % number
        digests.append(Digest.of(data, list(Algorithm)[number % 3]))
        await blobs.put(digests[-1], data)
    return sorted(digests, key=str)


@pytest.mark.parametrize("limit", [1, 2, 7, 23, 24, 1_000])
async def test_the_pages_add_up_to_the_list_in_wire_order(blobs: BlobStore, limit: int) -> None:
    digests = await some_blobs(blobs, 23)

    assert [digest for digest, _ in await listed(blobs, limit)] == digests


async def test_a_page_begins_after_any_digest(blobs: BlobStore) -> None:
    digests = await some_blobs(blobs, 10)
    nowhere = Digest(digests[4].algorithm, digests[4].raw[:-1] + b"\x00")

    page, _ = await blobs.list_page(digests[4], 1_000)
    assert [digest for digest, _ in page] == digests[5:]
    page, _ = await blobs.list_page(nowhere, 1_000)
    assert [digest for digest, _ in page] == [one for one in digests if nowhere < one]
    page, following = await blobs.list_page(digests[-1], 1_000)
    assert (page, following) == ([], None)


async def test_sizes_in_the_list_are_those_of_the_blobs(blobs: BlobStore) -> None:
    datas = [content(size_bytes, seed) for seed, size_bytes in enumerate(SIZES, start=3)]
    for data in datas:
        await blobs.put(Digest.of(data), data)

    assert await listed(blobs) == sorted((Digest.of(data), len(data)) for data in datas)


@pytest.mark.parametrize("limit", [1, 3])
async def test_what_stays_is_listed_once_while_others_come_and_go(
    blobs: BlobStore, limit: int
) -> None:
    digests = await some_blobs(blobs, 24)
    leaving = set(digests[::3])
    found: list[Digest] = []
    after = None
    for turn in range(1_000):
        page, after = await blobs.list_page(after, limit)
        found.extend(digest for digest, _ in page)
        if after is None:
            break
        if leaving and turn % 2:
            await blobs.delete(leaving.pop())
        coming = b"coming %d" % turn
        await blobs.put(Digest.of(coming), coming)

    assert found == sorted(found)
    assert len(found) == len(set(found))
    assert set(found) >= set(digests) - set(digests[::3])
