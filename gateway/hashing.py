"""Hashing that does not stop the loop: small values inline, large ones where the process says.

blake3 and hashlib let other threads run while they hash, so production hands large values to a
thread; the simulator, which has no threads, hashes everything inline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from ring.digest import Algorithm, Buffer, Digest, Hasher
from ring.errors import Corrupt
from ring.limits import KIB
from ring.recipe import Recipe
from ring.record import RecordKind

T = TypeVar("T")
INLINE_BYTES_MAX: Final = 64 * KIB


class Offload(Protocol):
    """Runs a function somewhere else and waits for it."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """The function's result."""


async def inline(function: Callable[[], T]) -> T:
    """An Offload for where there are no threads."""
    return function()


class Hashing:
    """Digests of buffers, whatever their size."""

    def __init__(self, offload: Offload = inline) -> None:
        self._offload = offload

    async def digest(self, data: Buffer, algorithm: Algorithm = Algorithm.BLAKE3) -> Digest:
        """The digest of `data`."""
        if len(data) <= INLINE_BYTES_MAX:
            return Digest.of(data, algorithm)
        return await self._offload(lambda: Digest.of(data, algorithm))

    async def update(self, hasher: Hasher, data: Buffer) -> None:
        """Feed a running hash."""
        if len(data) <= INLINE_BYTES_MAX:
            hasher.update(data)
        else:
            await self._offload(lambda: hasher.update(data))

    async def matches(self, digest: Digest, kind: RecordKind, value: Buffer) -> bool:
        """Whether a record's value is what its digest names."""
        if kind is RecordKind.RECIPE:
            return is_recipe_of(digest, value)
        if len(value) <= INLINE_BYTES_MAX:
            return digest.matches(value)
        return await self._offload(lambda: digest.matches(value))


def is_recipe_of(digest: Digest, value: Buffer) -> bool:
    """Whether the value is an undamaged recipe filed under this digest."""
    try:
        Recipe.decode(digest, value)
    except Corrupt:
        return False
    return True
