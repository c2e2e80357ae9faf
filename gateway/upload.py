"""One large blob on its way in: chunks, recipe, commit.

The commit protocol (DESIGN's chunk lifetime; a model of it lost blobs for every step left out):

1.  every chunk is durable on an ack set, claimed by the blob where its digest was promised;
2.  where it was not, every chunk's claim is made durable on an ack set;
3.  the recipe is put with its root;
4.  every chunk's claim is confirmed on an ack set; a chunk that is gone is put again from any good
    copy, and if that fails the answer is Unavailable and everything stays as it is;
5.  only then is the upload acknowledged.

Nothing is spooled: memory is one chunk being filled and the chunks that nodes are still writing.
A body that does not hash to the promise leaves chunks behind that no live blob claims; they are
reclaimed after their grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.hashing import Hashing
from gateway.permits import Permits
from gateway.proven_recipes import ProvenRecipes
from gateway.records import Records
from ring.digest import Algorithm, Buffer, Digest, Hasher
from ring.errors import DigestMismatch, HoldfastError, TooLarge, Unavailable
from ring.limits import CHUNK_BYTES, RECIPE_CHUNKS_MAX
from ring.recipe import Recipe, recipe_checksum
from ring.record import RecordKind
from ring.seams import Stored

_PUTS_AT_ONCE = 3  # chunks of one upload that nodes may be writing while the next is filled
_CONFIRM_ROUNDS = 3


class Upload:
    """Takes full chunks in order, then `commit`; `abort` after any error."""

    def __init__(
        self,
        records: Records,
        hashing: Hashing,
        permits: Permits,
        proven: ProvenRecipes,
        *,
        digest: Digest | None,
        algorithm: Algorithm,
    ) -> None:
        self._records = records
        self._hashing = hashing
        self._permits = permits
        self._proven = proven
        self._promised = digest
        self._algorithm = digest.algorithm if digest is not None else algorithm
        self._whole: Hasher = self._algorithm.hasher()
        self._chunks: list[Digest] = []
        self._size_bytes = 0
        self._puts: list[asyncio.Task[None]] = []

    async def take(self, chunk: Buffer) -> None:
        """One more chunk, whose permit this upload now owns; only the last may be short.

        Raises what an earlier chunk's put raised.
        """
        assert len(chunk) <= CHUNK_BYTES
        handed_over = False
        try:
            if len(self._chunks) == RECIPE_CHUNKS_MAX:
                raise TooLarge(f"a blob has at most {RECIPE_CHUNKS_MAX * CHUNK_BYTES} bytes")
            name, _ = await asyncio.gather(
                self._hashing.digest(chunk), self._hashing.update(self._whole, chunk)
            )
            self._chunks.append(name)
            self._size_bytes += len(chunk)
            while len(self._puts) >= _PUTS_AT_ONCE:
                await self._puts.pop(0)
            self._start_put(name, chunk)
            handed_over = True
        finally:
            if not handed_over:
                self._permits.release()

    def _start_put(self, name: Digest, chunk: Buffer) -> None:
        """Begin a put that gives the chunk's permit back, also when it is ended unbegun."""
        is_free = False

        def free() -> None:
            nonlocal is_free
            if not is_free:
                is_free = True
                self._permits.release()

        put = self._records.put_chunk(name, self._promised, chunk, free)
        task = asyncio.get_running_loop().create_task(put)
        task.add_done_callback(lambda task: free() if task.cancelled() else None)
        self._puts.append(task)

    async def commit(self) -> Stored:
        """Steps 2 to 5; raises DigestMismatch, DiskFull or Unavailable."""
        while self._puts:
            await self._puts.pop(0)
        blob = Digest(self._algorithm, self._whole.digest())
        if self._promised is not None and blob != self._promised:
            raise DigestMismatch(
                f"digest mismatch on put: caller said {self._promised}, computed {blob}",
                expected=str(self._promised),
                computed=str(blob),
            )
        if self._promised is None:
            await confirm_chunks(self._records, blob, self._chunks)
        recipe = Recipe(self._size_bytes, tuple(self._chunks))
        value = recipe.encode(blob)
        created = await self._records.put_root(
            blob, RecordKind.RECIPE, self._size_bytes, value
        )
        await confirm_chunks(self._records, blob, self._chunks)
        self._proven.add(recipe_checksum(value))
        return Stored(blob, self._size_bytes, created)

    async def abort(self) -> None:
        """End what is under way; what was stored already is left to the collector."""
        puts, self._puts = self._puts, []
        for put in puts:
            put.cancel()
        await asyncio.gather(*puts, return_exceptions=True)


async def confirm_chunks(records: Records, blob: Digest, chunks: Sequence[Digest]) -> None:
    """Make sure that an ack set holds every chunk with its claim; raises Unavailable.

    A chunk that is gone from too many nodes is put again from any copy that is still good.
    """
    missing = await records.confirm(blob, chunks)
    for _ in range(_CONFIRM_ROUNDS):
        if not missing:
            return
        for chunk in missing:
            try:
                value = await records.read_chunk(chunk)
                await records.put_chunk(chunk, blob, value, lambda: None)
            except HoldfastError as error:
                raise Unavailable(f"{blob}: chunk {chunk} could not be kept: {error}") from error
        missing = await records.confirm(blob, missing)
    if missing:
        raise Unavailable(f"{blob}: {len(missing)} chunks could not be confirmed")
