"""A BlobStore in memory that passes the BlobStore suite, and can be told to misbehave.

Pieces are views of one buffer that is used again for the next piece, as a store may do that reads
into buffers of its own: whoever keeps a piece beyond asking for the next one gets caught.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ring.digest import Algorithm, Buffer, Digest
from ring.errors import BadRequest, DigestMismatch, HoldfastError, NotFound, RangeNotSatisfiable
from ring.limits import KIB
from ring.seams import BlobStat, Stored


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on.

    error: every call raises it.  reading: a reader raises it after so many bytes.  gate: every
    call waits for it.  confirmed: what stats say.
    """

    error: HoldfastError | None = None
    reading: tuple[int, BaseException] | None = None
    gate: asyncio.Event | None = None
    confirmed: bool = True


class MemoryBlobStore:
    """Handles share blobs and faults through `MemoryBlobStore(other)`."""

    def __init__(
        self, other: MemoryBlobStore | None = None, *, piece_bytes: int = 64 * KIB
    ) -> None:
        self.blobs: dict[Digest, bytes] = {} if other is None else other.blobs
        self.generations: dict[Digest, int] = {} if other is None else other.generations
        self.trash: dict[Digest, bytes] = {} if other is None else other.trash
        self.faults: Faults = Faults() if other is None else other.faults
        self.calls: list[str] = [] if other is None else other.calls
        self.readers_open = 0
        self._piece_bytes = piece_bytes

    async def put(self, digest: Digest, data: Buffer) -> Stored:
        await self._called("put")
        return self._keep(digest, bytes(data))

    async def add(self, data: Buffer, algorithm: Algorithm = Algorithm.BLAKE3) -> Stored:
        await self._called("add")
        return self._keep(Digest.of(data, algorithm), bytes(data))

    async def put_stream(
        self,
        pieces: AsyncIterator[Buffer],
        *,
        digest: Digest | None = None,
        algorithm: Algorithm = Algorithm.BLAKE3,
        size_bytes: int | None = None,
    ) -> Stored:
        await self._called("put_stream")
        data = b"".join([bytes(piece) async for piece in pieces])
        if size_bytes is not None and len(data) != size_bytes:
            raise BadRequest(f"{len(data)} bytes came where {size_bytes} were announced")
        return self._keep(Digest.of(data, algorithm) if digest is None else digest, data)

    async def get(self, digest: Digest) -> bytes:
        await self._called("get")
        return self._there(digest)

    async def open(self, digest: Digest, start: int = 0, stop: int | None = None) -> MemoryReader:
        await self._called("open")
        data = self._there(digest)
        if start and start >= len(data):
            raise RangeNotSatisfiable(
                f"{digest} has {len(data)} bytes, fewer than {start}", size_bytes=len(data)
            )
        self.readers_open += 1
        return MemoryReader(self, self._stat(digest), data[start:stop], self._piece_bytes)

    async def stat(self, digest: Digest) -> BlobStat:
        await self._called("stat")
        self._there(digest)
        return self._stat(digest)

    async def contains(self, digest: Digest) -> bool:
        await self._called("contains")
        return digest in self.blobs

    async def delete(self, digest: Digest, *, skip_trash: bool = False) -> None:
        await self._called("delete")
        data = self.blobs.pop(digest, None)
        if data is not None:
            self.generations[digest] += 1
            self.trash[digest] = data
        if skip_trash:
            self.trash.pop(digest, None)

    async def undelete(self, digest: Digest) -> Stored:
        await self._called("undelete")
        data = self.blobs.get(digest, self.trash.get(digest))
        if data is None:
            raise NotFound(f"nothing of {digest} is left")
        return self._keep(digest, data)

    async def list_page(
        self, after: Digest | None, limit: int
    ) -> tuple[list[tuple[Digest, int]], Digest | None]:
        await self._called("list_page")
        digests = sorted(digest for digest in self.blobs if after is None or after < digest)
        page = [(digest, len(self.blobs[digest])) for digest in digests[:limit]]
        return page, page[-1][0] if len(digests) > limit else None

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.faults.gate is not None:
            await self.faults.gate.wait()
        if self.faults.error is not None:
            raise self.faults.error

    def _keep(self, digest: Digest, data: bytes) -> Stored:
        if not digest.matches(data):
            computed = Digest.of(data, digest.algorithm)
            raise DigestMismatch(
                f"digest mismatch on put: caller said {digest}, computed {computed}"
            )
        created = digest not in self.blobs
        self.blobs[digest] = data
        self.generations.setdefault(digest, 1)
        return Stored(digest, len(data), created)

    def _there(self, digest: Digest) -> bytes:
        if digest not in self.blobs:
            raise NotFound(f"blob not found: {digest}")
        return self.blobs[digest]

    def _stat(self, digest: Digest) -> BlobStat:
        return BlobStat(
            len(self.blobs[digest]), self.generations[digest], confirmed=self.faults.confirmed
        )


class MemoryReader:
    """Pieces in order, each in the same buffer as the one before."""

    def __init__(
        self, store: MemoryBlobStore, stat: BlobStat, data: bytes, piece_bytes: int
    ) -> None:
        self.stat = stat
        self._store = store
        self._data = data
        self._buffer = bytearray(min(piece_bytes, len(data)))
        self._position = 0
        self._is_open = True

    def __aiter__(self) -> MemoryReader:
        return self

    async def __anext__(self) -> memoryview:
        assert self._is_open, "a closed reader was asked for more"
        reading = self._store.faults.reading
        if reading is not None and self._position >= reading[0]:
            raise reading[1]
        piece = self._data[self._position : self._position + len(self._buffer)]
        if not piece:
            raise StopAsyncIteration
        self._position += len(piece)
        self._buffer[: len(piece)] = piece
        return memoryview(self._buffer)[: len(piece)]

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._buffer[:] = bytes(len(self._buffer))
            self._store.readers_open -= 1
