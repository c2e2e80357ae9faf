"""`BlobStore` over `Records`: small blobs as one record, large ones as chunks and a recipe."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from gateway.blob_reader import LargeBlobReader, SmallBlobReader
from gateway.calls import CallSettings
from gateway.hashing import Hashing
from gateway.permits import Lease, Permits
from gateway.proven_recipes import ProvenRecipes
from gateway.records import Found, Records
from gateway.upload import Upload, confirm_chunks
from ring.announced import AnnouncedPieces
from ring.digest import Algorithm, Buffer, Digest
from ring.errors import BadRequest, Corrupt, DigestMismatch, NotFound, RangeNotSatisfiable
from ring.limits import CHUNK_BYTES
from ring.recipe import Recipe, recipe_checksum
from ring.record import RecordKind, generation_of
from ring.seams import BlobReader, BlobStat, Stored


class Chunked:
    """See BlobStore."""

    def __init__(self, records: Records, hashing: Hashing, settings: CallSettings) -> None:
        self._records = records
        self._hashing = hashing
        self._settings = settings
        patience_s = settings.bulk_timeout_s
        self._upload_permits = Permits(settings.chunks_in_flight_max, patience_s)
        self._download_permits = Permits(settings.chunks_in_flight_max, patience_s)
        self._proven = ProvenRecipes()
        self._turns = Permits(settings.uploads_max, patience_s)

    async def put(self, digest: Digest, data: Buffer) -> Stored:
        """See BlobStore."""
        return await self._put_whole(data, digest, digest.algorithm)

    async def add(self, data: Buffer, algorithm: Algorithm = Algorithm.BLAKE3) -> Stored:
        """See BlobStore."""
        return await self._put_whole(data, None, algorithm)

    async def put_stream(
        self,
        pieces: AsyncIterator[Buffer],
        *,
        digest: Digest | None = None,
        algorithm: Algorithm = Algorithm.BLAKE3,
        size_bytes: int | None = None,
    ) -> Stored:
        """See BlobStore.  What may be large waits for its turn; raises Busy when none comes."""
        if size_bytes is not None and size_bytes <= CHUNK_BYTES:
            return await self._put_small(await _joined(pieces, size_bytes), digest, algorithm)
        await self._turns.acquire()
        try:
            if size_bytes is not None:
                pieces = AnnouncedPieces(pieces, size_bytes)
            return await self._put_large(pieces, digest, algorithm)
        finally:
            self._turns.release()

    async def _put_whole(
        self, data: Buffer, digest: Digest | None, algorithm: Algorithm
    ) -> Stored:
        if len(data) > CHUNK_BYTES:
            async with aclosing(_slices(data)) as slices:
                return await self.put_stream(slices, digest=digest, algorithm=algorithm)
        return await self._put_small(data, digest, algorithm)

    async def _put_large(
        self, pieces: AsyncIterator[Buffer], digest: Digest | None, algorithm: Algorithm
    ) -> Stored:
        filler = _ChunkFiller(self._upload_permits)
        upload = Upload(
            self._records,
            self._hashing,
            self._upload_permits,
            self._proven,
            digest=digest,
            algorithm=algorithm,
        )
        try:
            async for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    full, rest = await filler.add(rest)
                    if full is not None:
                        await upload.take(full)
            if not filler.flushed:
                return await self._put_small(filler.rest, digest, algorithm)
            if filler.rest:
                await upload.take(filler.hand_over())
            return await upload.commit()
        finally:
            filler.close()
            await upload.abort()

    async def _put_small(
        self, data: Buffer, digest: Digest | None, algorithm: Algorithm
    ) -> Stored:
        named = algorithm if digest is None else digest.algorithm
        computed = await self._hashing.digest(data, named)
        if digest is not None and computed != digest:
            raise _mismatch(digest, computed)
        created = await self._records.put_root(computed, RecordKind.DATA, len(data), data)
        return Stored(computed, len(data), created)

    async def get(self, digest: Digest) -> bytes:
        """See BlobStore."""
        reader = await self.open(digest)
        try:
            pieces = [bytes(piece) async for piece in reader]
        finally:
            await reader.close()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def open(self, digest: Digest, start: int = 0, stop: int | None = None) -> BlobReader:
        """See BlobStore.  A value that is no small one is held under a permit until the close."""
        lease = Lease(self._download_permits)
        try:
            found = await self._records.read(digest, lease.take)
            reader = self._opened(digest, found, start, stop, lease)
        except BaseException:
            lease.give_back()
            raise
        return reader

    def _opened(
        self, digest: Digest, found: Found, start: int, stop: int | None, lease: Lease
    ) -> BlobReader:
        assert found.value is not None
        recipe = self._recipe(digest, found)
        size_bytes = len(found.value) if recipe is None else recipe.size_bytes
        if not 0 <= start <= size_bytes or (start == size_bytes and start > 0):
            raise RangeNotSatisfiable(
                f"{digest} has {size_bytes} bytes, the range starts at {start}",
                size_bytes=size_bytes,
            )
        end = size_bytes if stop is None else max(start, min(stop, size_bytes))
        stat = BlobStat(size_bytes, generation_of(found.state.root), found.confirmed)
        if recipe is None:
            return SmallBlobReader(stat, found.value, (start, end), lease)
        lease.give_back()
        return LargeBlobReader(
            blob=digest,
            stat=stat,
            recipe=recipe,
            checksum=recipe_checksum(found.value),
            proven=self._proven,
            span=(start, end),
            records=self._records,
            hashing=self._hashing,
            permits=self._download_permits,
            read_ahead_chunks=self._settings.read_ahead_chunks,
        )

    async def stat(self, digest: Digest) -> BlobStat:
        """See BlobStore."""
        found = await self._records.head(digest)
        return BlobStat(
            found.state.size_bytes, generation_of(found.state.root), found.confirmed
        )

    async def contains(self, digest: Digest) -> bool:
        """See BlobStore."""
        try:
            await self._records.head(digest)
        except NotFound:
            return False
        return True

    async def delete(self, digest: Digest, *, skip_trash: bool = False) -> None:
        """See BlobStore."""
        await self._records.bury(digest, skip_trash=skip_trash)

    async def undelete(self, digest: Digest) -> Stored:
        """See BlobStore.  The chunks of a large blob are confirmed before it is seen, and after."""
        try:
            there = await self._records.head(digest)
        except NotFound:
            pass
        else:
            return Stored(digest, there.state.size_bytes, created=False)
        found = await self._records.deleted(digest)
        assert found.value is not None
        recipe = self._recipe(digest, found)
        if recipe is not None:
            await confirm_chunks(self._records, digest, recipe.chunks)
        size_bytes = found.state.size_bytes
        await self._records.put_root(digest, found.state.kind, size_bytes, found.value)
        if recipe is not None:
            await confirm_chunks(self._records, digest, recipe.chunks)
        return Stored(digest, size_bytes, created=True)

    async def list_page(
        self, after: Digest | None, limit: int
    ) -> tuple[list[tuple[Digest, int]], Digest | None]:
        """See BlobStore."""
        if limit < 1:
            raise BadRequest(f"limit must be at least 1, not {limit}")
        entries, following = await self._records.page(after, limit)
        return [(entry.key.digest, entry.state.size_bytes) for entry in entries], following

    async def confirm(self, digest: Digest) -> None:
        """Make sure that a large blob's chunks are all there, as a commit does; small ones are."""
        found = await self._records.read(digest)
        recipe = self._recipe(digest, found)
        if recipe is not None:
            await confirm_chunks(self._records, digest, recipe.chunks)

    def _recipe(self, digest: Digest, found: Found) -> Recipe | None:
        assert found.value is not None
        if found.state.kind is RecordKind.DATA:
            return None
        if found.state.kind is not RecordKind.RECIPE:
            raise Corrupt(f"{digest} has a value of no kind")
        return Recipe.decode(digest, found.value)


class _ChunkFiller:
    """Cuts a stream into chunks; each buffer is allocated under a memory permit.

    The first chunk is kept back until more follows, since a blob of one chunk is no large blob.
    """

    def __init__(self, permits: Permits) -> None:
        self._permits = permits
        self._buffer: bytearray | None = None
        self.flushed = False

    @property
    def rest(self) -> bytes:
        """What is in the chunk being filled."""
        return bytes(self._buffer) if self._buffer is not None else b""

    async def add(self, piece: memoryview) -> tuple[bytearray | None, memoryview]:
        """Take what fits of a piece, or hand over a full chunk that it follows; and the rest."""
        if self._buffer is not None and len(self._buffer) == CHUNK_BYTES:
            return self.hand_over(), piece
        if self._buffer is None:
            await self._permits.acquire()
            self._buffer = bytearray()
        room = CHUNK_BYTES - len(self._buffer)
        self._buffer += piece[:room]
        return None, piece[room:]

    def hand_over(self) -> bytearray:
        """The chunk being filled, with its permit."""
        assert self._buffer is not None
        full, self._buffer = self._buffer, None
        self.flushed = True
        return full

    def close(self) -> None:
        """Give back what was not handed over."""
        if self._buffer is not None:
            self._buffer = None
            self._permits.release()


def _mismatch(expected: Digest, computed: Digest) -> DigestMismatch:
    return DigestMismatch(
        f"digest mismatch on put: caller said {expected}, computed {computed}",
        expected=str(expected),
        computed=str(computed),
    )


async def _joined(pieces: AsyncIterator[Buffer], size_bytes: int) -> Buffer:
    parts = [bytes(piece) async for piece in AnnouncedPieces(pieces, size_bytes)]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _slices(data: Buffer) -> AsyncGenerator[Buffer, None]:
    view = memoryview(data)
    for start in range(0, len(view), CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]
