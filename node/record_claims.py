"""Which blobs claim which chunks.

A chunk mostly has one claimant, and the chunks of a blob come in a row: one claimant is kept as
itself, several as a sorted list, and equal claimants in a row share one object.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator


class RecordClaims:
    """Claimants (Digest.key) by chunk (RecordKey.raw)."""

    __slots__ = ("_claimants", "_latest")

    def __init__(self) -> None:
        self._claimants: dict[bytes, bytes | list[bytes]] = {}
        self._latest = b""

    def add(self, chunk: bytes, claimant: bytes) -> bool:
        """Add a claim; false for one that is there already."""
        if claimant == self._latest:
            claimant = self._latest
        else:
            self._latest = claimant
        known = self._claimants.get(chunk)
        if known is None:
            self._claimants[chunk] = claimant
            return True
        if isinstance(known, bytes):
            if known == claimant:
                return False
            self._claimants[chunk] = sorted((known, claimant))
            return True
        if _holds(known, claimant):
            return False
        insort(known, claimant)
        return True

    def has(self, chunk: bytes, claimant: bytes) -> bool:
        """Whether the claim is there."""
        return _holds(self._of(chunk), claimant)

    def after(self, chunk: bytes, claimant: bytes | None, limit: int) -> list[bytes]:
        """The first `limit` claimants of a chunk after `claimant`, or the first of all."""
        known = self._of(chunk)
        start = 0 if claimant is None else bisect_right(known, claimant)
        return known[start : start + limit]

    def drop(self, chunk: bytes) -> None:
        """Forget all claims on a chunk."""
        self._claimants.pop(chunk, None)

    def rows(self, chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of chunk and claimant."""
        return ((chunk, claimant) for claimant in self._of(chunk))

    def _of(self, chunk: bytes) -> list[bytes]:
        known = self._claimants.get(chunk, [])
        return [known] if isinstance(known, bytes) else known


def _holds(claimants: list[bytes], claimant: bytes) -> bool:
    at = bisect_left(claimants, claimant)
    return at < len(claimants) and claimants[at] == claimant
