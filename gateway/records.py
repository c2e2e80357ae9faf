"""The operations on records that a blob's life consists of, as `Chunked` needs them.

Two implementations: one node's store (`LocalRecords`) and a quorum of nodes (`ReplicatedRecords`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from gateway.hashing import Hashing
from ring.admission import next_generation
from ring.digest import Buffer, Digest
from ring.errors import Corrupt, NotFound, Unavailable
from ring.limits import GENERATION_MAX, PAYLOAD_SMALL_BYTES_MAX
from ring.recipe import recipe_bytes
from ring.record import RecordEntry, RecordKey, RecordKind, RecordState, generation_of, live
from ring.seams import RecordStore

WhenLong = Callable[[], Awaitable[None]]


async def whatever() -> None:
    """Long values are no matter."""


class Found(Struct, frozen=True):
    """A live record.

    value: hashes to the digest (kind DATA) or is a recipe whose checksum covers it; None when only
    the state was asked for.  confirmed: W nodes, one an owner, answered.
    """

    state: RecordState
    value: Buffer | None
    confirmed: bool


class Records(Protocol):
    """Records, wherever they are kept.

    Every put is durable when it returns.  Reads raise NotFound only for what is known to be absent,
    and Unavailable for doubt.
    """

    async def put_root(
        self, digest: Digest, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> bool:
        """Put for a client; true unless verified copies were there already."""

    async def put_chunk(
        self,
        chunk: Digest,
        claimant: Digest | None,
        value: Buffer,
        when_over: Callable[[], None],
    ) -> None:
        """Keep a chunk, claimed when the blob's digest is known already.

        when_over: called exactly once, when nobody reads `value` any more; that may be later than
        the return, since slower nodes go on.
        """

    async def confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[Digest]:
        """Claim chunks durably; those that are not there (or are condemned), in order."""

    async def read(self, digest: Digest, when_long: WhenLong = whatever) -> Found:
        """A live record with its value.

        when_long: awaited before a value of more than PAYLOAD_SMALL_BYTES_MAX is fetched; may come
        more than once, and what it raises ends the read.
        """

    async def head(self, digest: Digest) -> Found:
        """A live record without its value."""

    async def read_chunk(self, chunk: Digest) -> Buffer:
        """A chunk's bytes, verified; raises Unavailable when no good copy answers."""

    async def bury(self, digest: Digest, *, skip_trash: bool = False) -> None:
        """Delete for a client; absent is fine.

        skip_trash: the bytes cannot be had back, and what is in the trash already goes too.
        """

    async def deleted(self, digest: Digest) -> Found:
        """The value of a deleted record from the trash, as `read` checks it.

        Raises NotFound, in words, when nobody has it any more, Unavailable when somebody may.
        """

    async def page(
        self, after: Digest | None, limit: int
    ) -> tuple[list[RecordEntry], Digest | None]:
        """At most `limit` live roots after `after`, and where to go on (None at the end)."""


class LocalRecords:
    """One record store as `Records`: N = W = 1."""

    def __init__(self, store: RecordStore, hashing: Hashing) -> None:
        self._store = store
        self._hashing = hashing

    async def put_root(
        self, digest: Digest, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> bool:
        """See Records."""
        key, generation = RecordKey(digest), 1
        while generation < GENERATION_MAX:
            answer = await self._store.put_root(key, kind, size_bytes, generation, value)
            if answer.root == live(generation):
                return not answer.had
            generation = next_generation(answer.root, answer.floor, generation)
        raise Unavailable(f"{digest} has no generation left")

    async def put_chunk(
        self,
        chunk: Digest,
        claimant: Digest | None,
        value: Buffer,
        when_over: Callable[[], None],
    ) -> None:
        """See Records."""
        try:
            await self._store.put_chunk(RecordKey(chunk), claimant, value)
        finally:
            when_over()

    async def confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[Digest]:
        """See Records."""
        confirmed = await self._store.confirm(claimant, chunks)
        return [chunk for chunk, yes in zip(chunks, confirmed, strict=True) if not yes]

    async def read(self, digest: Digest, when_long: WhenLong = whatever) -> Found:
        """See Records."""
        (state,) = await self._store.stat([RecordKey(digest)])
        if _value_bytes(state) > PAYLOAD_SMALL_BYTES_MAX:
            await when_long()
        state, value = await self._store.get(RecordKey(digest))
        if not state.visible:
            raise NotFound(f"blob not found: {digest}")
        if value is None or not await self._hashing.matches(digest, state.kind, value):
            await self._store.verify(RecordKey(digest))
            raise Corrupt(f"the only copy of {digest} is bad")
        return Found(state, value, confirmed=True)

    async def head(self, digest: Digest) -> Found:
        """See Records."""
        (state,) = await self._store.stat([RecordKey(digest)])
        if not state.visible:
            raise NotFound(f"blob not found: {digest}")
        if not state.held:
            raise Corrupt(f"the only copy of {digest} is bad")
        return Found(state, None, confirmed=True)

    async def read_chunk(self, chunk: Digest) -> Buffer:
        """See Records."""
        _, value = await self._store.get(RecordKey(chunk))
        if value is None or not await self._hashing.matches(chunk, RecordKind.DATA, value):
            await self._store.verify(RecordKey(chunk))
            raise Unavailable(f"no good copy of chunk {chunk}")
        return value

    async def bury(self, digest: Digest, *, skip_trash: bool = False) -> None:
        """See Records."""
        key = RecordKey(digest)
        (state,) = await self._store.stat([key])
        if state.root:
            generation = generation_of(state.root)
            await self._store.bury(key, generation, keep_value=not skip_trash)

    async def deleted(self, digest: Digest) -> Found:
        """See Records."""
        state, value = await self._store.get(RecordKey(digest))
        if not state.in_trash:
            raise nothing_left(digest)
        if value is None or not await self._hashing.matches(digest, state.kind, value):
            await self._store.verify(RecordKey(digest))
            raise nothing_left(digest)
        return Found(state, value, confirmed=True)

    async def page(
        self, after: Digest | None, limit: int
    ) -> tuple[list[RecordEntry], Digest | None]:
        """See Records."""
        start = None if after is None else RecordKey(after)
        entries, done = await self._store.page(start, limit, roots_only=True)
        following = None if done or not entries else entries[-1].key.digest
        return [entry for entry in entries if entry.state.visible], following


def nothing_left(digest: Digest) -> NotFound:
    """What is said when a deleted blob cannot be had back."""
    return NotFound(
        f"nothing of {digest} is left: it was never here, its time in the trash is over, or it was"
        " deleted past the trash"
    )


def _value_bytes(state: RecordState) -> int:
    """Length of the value, if one is held."""
    is_recipe = state.kind is RecordKind.RECIPE
    return recipe_bytes(state.size_bytes) if is_recipe else state.size_bytes
