"""Opened blobs: verified pieces of a span, in order.

Rules:
1.  A small blob was verified whole before it was opened; a span of it is a slice.
2.  A large blob is read chunk by chunk, each verified before any of its bytes is handed on, a few
    chunks ahead of the client; any node that holds a good copy will do for each chunk.
3.  A whole read of a large blob also runs the blob's own digest, and holds the last chunk back
    until that matches: recipe and chunks may be intact and still not be the blob.  It does so until
    the recipe is proven (proven_recipes.py); chunks are verified in every read.
"""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.hashing import Hashing
from gateway.permits import Lease, Permits
from gateway.proven_recipes import ProvenRecipes
from gateway.records import Records
from ring.digest import Buffer, Digest
from ring.errors import Corrupt
from ring.limits import CHUNK_BYTES
from ring.recipe import Recipe
from ring.seams import BlobStat


class SmallBlobReader:
    """Bytes [start, stop) of a verified value; `lease` stands for its memory."""

    def __init__(
        self, stat: BlobStat, value: Buffer, span: tuple[int, int], lease: Lease
    ) -> None:
        self.stat = stat
        start, stop = span
        self._pieces: list[Buffer] = [value]
        if span != (0, len(value)):
            self._pieces = [memoryview(value)[start:stop]] if start < stop else []
        self._lease = lease

    def __aiter__(self) -> SmallBlobReader:
        """See BlobReader."""
        return self

    async def __anext__(self) -> Buffer:
        """All there is, once."""
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()

    async def close(self) -> None:
        """See BlobReader."""
        self._pieces.clear()
        self._lease.give_back()


class LargeBlobReader:
    """Bytes [start, stop) of a blob that a recipe describes."""

    def __init__(
        self,
        *,
        blob: Digest,
        stat: BlobStat,
        recipe: Recipe,
        checksum: bytes,
        proven: ProvenRecipes,
        span: tuple[int, int],
        records: Records,
        hashing: Hashing,
        permits: Permits,
        read_ahead_chunks: int,
    ) -> None:
        self.stat = stat
        self._blob = blob
        self._recipe = recipe
        self._checksum = checksum
        self._proven = proven
        self._start, self._stop = span
        self._records = records
        self._hashing = hashing
        self._permits = permits
        self._ahead = read_ahead_chunks
        is_whole = span == (0, recipe.size_bytes)
        to_prove = is_whole and checksum not in proven
        self._hasher = blob.algorithm.hasher() if to_prove else None
        self._next = self._start // CHUNK_BYTES  # chunk to hand on
        self._following = self._next  # chunk to fetch
        self._last = (self._stop - 1) // CHUNK_BYTES if self._start < self._stop else -1
        self._fetches: deque[asyncio.Task[Buffer]] = deque()
        self._in_hand = False  # the client has a chunk, under a permit

    def __aiter__(self) -> LargeBlobReader:
        """See BlobReader."""
        return self

    async def __anext__(self) -> Buffer:
        """The next piece; the one before is given up."""
        self._let_go()
        if self._next > self._last:
            raise StopAsyncIteration
        try:
            return await self._next_piece()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See BlobReader."""
        self._let_go()
        self._next = self._last + 1
        fetches, self._fetches = list(self._fetches), deque()
        for fetch in fetches:
            fetch.cancel()
            self._permits.release()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _next_piece(self) -> Buffer:
        index = self._next
        await self._fetch_ahead()
        fetch = self._fetches.popleft()
        self._in_hand = True
        self._next += 1
        chunk = await fetch
        if self._hasher is not None:
            await self._hashing.update(self._hasher, chunk)
            if index == self._last:
                self._check_whole(self._hasher.digest())
        return self._cut(chunk, index)

    def _let_go(self) -> None:
        if self._in_hand:
            self._in_hand = False
            self._permits.release()

    async def _fetch_ahead(self) -> None:
        """Start fetches up to the read-ahead; the first waits for memory, others only use spare.

        So slow clients keep what is read ahead for them, and not what others need to begin.
        """
        while self._following <= self._last and len(self._fetches) < self._ahead:
            if not self._fetches:
                await self._permits.acquire()
            elif not self._permits.try_spare():
                break
            fetch = self._fetch(self._following)
            self._fetches.append(asyncio.get_running_loop().create_task(fetch))
            self._following += 1

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
        self._proven.add(self._checksum)
