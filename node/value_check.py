"""Whether bytes are what their key says: asked before they are stored and when a copy is verified.

Hashing large values is handed to an `Offload`, so that a node's event loop does not stand still;
where there are no threads (memory, simulation) everything is done in place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from ring.digest import Buffer, Digest
from ring.errors import BadRequest, Corrupt, DigestMismatch, TooLarge
from ring.limits import CHUNK_BYTES, KIB
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind

T = TypeVar("T")

# BLAKE3 and SHA-256 take about 50 microseconds for this much, a hop to a thread about as long.
INLINE_BYTES_MAX: Final = 64 * KIB

_RECIPE_BYTES: Final = 20 + 32  # header and checksum, see ring/recipe.py
_RECIPE_CHUNK_BYTES: Final = 32


class Offload(Protocol):
    """Do something that only computes, elsewhere if there is an elsewhere."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What `work` returns or raises."""


async def in_place(work: Callable[[], T]) -> T:
    """The Offload that has no elsewhere."""
    return work()


def value_bytes(kind: RecordKind, size_bytes: int) -> int:
    """Length of the value of a record whose blob has `size_bytes`; 0 for kind NONE."""
    if kind is RecordKind.RECIPE:
        return _RECIPE_BYTES + _RECIPE_CHUNK_BYTES * -(-size_bytes // CHUNK_BYTES)
    return size_bytes


class ValueCheck:
    """Checks values, the large ones elsewhere."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload

    async def require(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> None:
        """Raise unless `value` is what a record of `key` with this kind and blob size holds.

        DigestMismatch for data, Corrupt for a recipe, TooLarge beyond CHUNK_BYTES, BadRequest for a
        size that is not the value's.
        """
        self._require_room(key, value)
        if kind is RecordKind.RECIPE:
            recipe = Recipe.decode(key.digest, value)
            if recipe.size_bytes != size_bytes:
                raise Corrupt(
                    f"recipe of {key.digest} is for {recipe.size_bytes} bytes, not {size_bytes}"
                )
            return
        self._require_data(key, kind, size_bytes, value)
        if not await self._matches(key.digest, value):
            computed = await self._run(lambda: Digest.of(value, key.digest.algorithm), len(value))
            raise _mismatch(key.digest, computed)

    def require_now(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> bool:
        """As `require` when that is quick; false when it is not, and nothing was checked."""
        if kind is RecordKind.RECIPE or len(value) >= INLINE_BYTES_MAX:
            return False
        self._require_room(key, value)
        self._require_data(key, kind, size_bytes, value)
        if not key.digest.matches(value):
            raise _mismatch(key.digest, Digest.of(value, key.digest.algorithm))
        return True

    def _require_room(self, key: RecordKey, value: Buffer) -> None:
        if len(value) > CHUNK_BYTES:
            raise TooLarge(f"{key.digest}: {len(value)} bytes, a record holds {CHUNK_BYTES}")

    def _require_data(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> None:
        if kind is not RecordKind.DATA:
            raise BadRequest(f"{key.digest}: a record of kind {kind.name} has no value")
        if len(value) != size_bytes:
            raise BadRequest(f"{key.digest}: {len(value)} bytes came, {size_bytes} were announced")

    async def is_good(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> bool:
        """Whether a stored copy is still right."""
        if len(value) != value_bytes(kind, size_bytes):
            return False
        if kind is RecordKind.DATA:
            return await self._matches(key.digest, value)
        try:
            return Recipe.decode(key.digest, value).size_bytes == size_bytes
        except Corrupt:
            return False

    async def are_equal(self, one: Buffer, other: Buffer) -> bool:
        """Whether two values are the same bytes."""
        if len(one) != len(other):
            return False
        # As bytes objects, because views are compared item by item.
        return await self._run(lambda: bytes(one) == bytes(other), len(one))

    async def _matches(self, digest: Digest, value: Buffer) -> bool:
        return await self._run(lambda: digest.matches(value), len(value))

    async def _run(self, work: Callable[[], T], size_bytes: int) -> T:
        if size_bytes < INLINE_BYTES_MAX:
            return work()
        return await self._offload(work)


def _mismatch(promised: Digest, computed: Digest) -> DigestMismatch:
    return DigestMismatch(
        f"promised {promised}, the bytes are {computed}",
        promised=str(promised),
        computed=str(computed),
    )
