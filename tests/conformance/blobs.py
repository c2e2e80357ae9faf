"""Blobs to put, and what to ask a store about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ring.digest import Buffer, Digest
from ring.errors import NotFound
from ring.limits import CHUNK_BYTES, MIB
from ring.seams import BlobStore

SIZES = [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 9 * MIB]
LARGE = CHUNK_BYTES + 1_000


def content(size_bytes: int, seed: int = 1) -> bytes:
    """Bytes without a period that a chunk boundary could hide."""
    word = (seed * 2_654_435_761).to_bytes(8, "little")
    block = b"".join((number * 7_919 + seed).to_bytes(4, "little") for number in range(4_099))
    return (word + block * (size_bytes // len(block) + 1))[:size_bytes]


async def pieces(*parts: Buffer) -> AsyncIterator[Buffer]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def read(store: BlobStore, digest: Digest, start: int = 0, stop: int | None = None) -> bytes:
    """What a reader gives, joined."""
    reader = await store.open(digest, start, stop)
    try:
        return b"".join([bytes(piece) async for piece in reader])
    finally:
        await reader.close()


async def listed(store: BlobStore, limit: int = 1_000) -> list[tuple[Digest, int]]:
    """All pages, one after the other."""
    found: list[tuple[Digest, int]] = []
    after = None
    while True:
        page, after = await store.list_page(after, limit)
        assert len(page) <= limit
        found.extend(page)
        if after is None:
            return found


async def is_absent(store: BlobStore, digest: Digest) -> bool:
    """Whether every way of asking says so."""
    for ask in (store.get, store.stat, store.open):
        with pytest.raises(NotFound, match=str(digest)):
            await ask(digest)
    return not await store.contains(digest)
