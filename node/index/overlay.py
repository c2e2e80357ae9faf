"""Changes of a table that are not in its index yet.

Memory: about 230 bytes for a row, 150 for a claim.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Final

from node.index.location import Position
from node.record_order import RecordOrder


class Missing:
    """What `Overlay.row` says of a record that the overlay knows nothing of."""


MISSING: Final = Missing()


class Overlay:
    """A layer above an index or above an older layer.

    rows: records as node/index/located_row.py has them by RecordKey.raw, None for a dropped one.
    order: the keys of `rows`, dropped ones too.  unclaimed: chunks of which all older claims are
    gone.  claims: claimants in order by chunk.  chunks: those in `claims` or `unclaimed`.
    position: the end of what is in here, None while that is nothing.
    """

    __slots__ = (
        "chunks",
        "claims",
        "claims_total",
        "floors",
        "order",
        "position",
        "rows",
        "unclaimed",
    )

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes | None] = {}
        self.order = RecordOrder()
        self.unclaimed: dict[bytes, None] = {}
        self.claims: dict[bytes, list[bytes]] = {}
        self.chunks = RecordOrder()
        self.claims_total = 0
        self.floors: dict[int, int] = {}
        self.position: Position | None = None

    def __len__(self) -> int:
        return len(self.rows) + self.claims_total + len(self.unclaimed)

    def set_row(self, key: bytes, payload: bytes | None) -> None:
        """Remember a record's row, or that it has none."""
        if key not in self.rows:
            self.order.add(key)
        self.rows[key] = payload

    def drop_claims(self, chunk: bytes) -> None:
        """Forget the claims on a chunk, those below this layer too."""
        self._know(chunk)
        self.claims_total -= len(self.claims.pop(chunk, ()))
        self.unclaimed[chunk] = None

    def add_claim(self, chunk: bytes, claimant: bytes) -> None:
        """Add a claim; one that is there already stays."""
        self._know(chunk)
        known = self.claims.setdefault(chunk, [])
        if not _holds(known, claimant):
            insort(known, claimant)
            self.claims_total += 1

    def has_claim(self, chunk: bytes, claimant: bytes) -> bool | None:
        """Whether the claim is there; None when that is for the layers below to say."""
        if _holds(self.claims.get(chunk, []), claimant):
            return True
        return False if chunk in self.unclaimed else None

    def claims_after(self, chunk: bytes, claimant: bytes | None, limit: int) -> list[bytes]:
        """The first `limit` claimants of this layer after `claimant`, or the first of all."""
        known = self.claims.get(chunk, [])
        start = 0 if claimant is None else bisect_right(known, claimant)
        return known[start : start + limit]

    def settle(self) -> Iterator[None]:
        """Sort everything, a little at a time: afterwards looking changes nothing any more."""
        for order in (self.order, self.chunks):
            for prefix in order.prefixes():
                order.bucket(prefix)
                yield

    def _know(self, chunk: bytes) -> None:
        if chunk not in self.claims and chunk not in self.unclaimed:
            self.chunks.add(chunk)


def _holds(claimants: list[bytes], claimant: bytes) -> bool:
    at = bisect_left(claimants, claimant)
    return at < len(claimants) and claimants[at] == claimant
