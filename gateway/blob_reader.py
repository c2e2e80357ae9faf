"""Opened blobs: verified pieces of a span, in order.

Rules:
1.  A small blob was verified whole before it was opened; a span of it is a slice.
2.  A large blob is read chunk by chunk, each verified before any of its bytes is handed on, a few
    chunks ahead of the client; any node that holds a good copy will do for each chunk.
3.  A whole read of a large blob also runs the blob's own digest, and holds the last chunk back
    until that matches: recipe and chunks may be intact and still not be the blob.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from gateway.hashing import Hashing
from gateway.memory_permits import MemoryPermits
from gateway.records import Records
from ring.digest import Buffer, Digest
from ring.errors import Corrupt
from ring.limits import CHUNK_BYTES
from ring.recipe import Recipe
from ring.seams import BlobStat


class SmallBlobReader:
    """Bytes [start, stop) of a verified value."""

    def __init__(self, stat: BlobStat, value: Buffer, start: int, stop: int) -> None:
        self.stat = stat
        self._value = value
        self._start, self._stop = start, stop

    async def __aiter__(self) -> AsyncIterator[Buffer]:
        """See BlobReader."""
        if self._start == 0 and self._stop == len(self._value):
            yield self._value
        elif self._start < self._stop:
            yield memoryview(self._value)[self._start : self._stop]

    async def close(self) -> None:
        """See BlobReader."""


class LargeBlobReader:
    """Bytes [start, stop) of a blob that a recipe describes."""

    def __init__(
        self,
        *,
        blob: Digest,
        stat: BlobStat,
        recipe: Recipe,
        span: tuple[int, int],
        records: Records,
        hashing: Hashing,
        permits: MemoryPermits,
        read_ahead_chunks: int,
    ) -> None:
        self.stat = stat
        self._blob = blob
        self._recipe = recipe
        self._start, self._stop = span
        self._records = records
        self._hashing = hashing
        self._permits = permits
        self._ahead = read_ahead_chunks
        self._fetches: deque[asyncio.Task[Buffer]] = deque()

    async def __aiter__(self) -> AsyncIterator[Buffer]:
        """See BlobReader."""
        if self._start >= self._stop:
            return
        whole = (self._start, self._stop) == (0, self._recipe.size_bytes)
        hasher = self._blob.algorithm.hasher() if whole else None
        first, last = self._start // CHUNK_BYTES, (self._stop - 1) // CHUNK_BYTES
        following = first
        try:
            for index in range(first, last + 1):
                following = await self._fetch_ahead(following, last)
                fetch = self._fetches.popleft()
                try:
                    chunk = await fetch
                    if hasher is not None:
                        await self._hashing.update(hasher, chunk)
                    if index == last and hasher is not None:
                        self._check_whole(hasher.digest())
                    yield self._cut(chunk, index)
                    del chunk, fetch
                finally:
                    self._permits.release()
        finally:
            await self.close()

    async def close(self) -> None:
        """See BlobReader."""
        fetches, self._fetches = list(self._fetches), deque()
        for fetch in fetches:
            fetch.cancel()
            self._permits.release()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _fetch_ahead(self, following: int, last: int) -> int:
        """Start fetches up to the read-ahead; the first waits for memory, others only use spare."""
        while following <= last and len(self._fetches) < self._ahead:
            if not self._fetches:
                await self._permits.acquire()
            elif not self._permits.try_acquire():
                break
            fetch = self._fetch(following)
            self._fetches.append(asyncio.get_running_loop().create_task(fetch))
            following += 1
        return following

    async def _fetch(self, index: int) -> Buffer:
        chunk = await self._records.read_chunk(self._recipe.chunks[index])
        if len(chunk) != self._recipe.chunk_bytes(index):
            raise Corrupt(f"chunk {index} of {self._blob} has {len(chunk)} bytes")
        return chunk

    def _cut(self, chunk: Buffer, index: int) -> Buffer:
        begin = max(0, self._start - index * CHUNK_BYTES)
        end = min(len(chunk), self._stop - index * CHUNK_BYTES)
        return chunk if end - begin == len(chunk) else memoryview(chunk)[begin:end]

    def _check_whole(self, raw: bytes) -> None:
        if raw != self._blob.raw:
            raise Corrupt(f"the recipe of {self._blob} does not describe it")
