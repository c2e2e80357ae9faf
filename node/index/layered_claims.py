"""The claims of a table that lies in layers: one or two overlays above an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from node.index.index_keys import claim_key, claims_end
from node.index.overlay import Overlay
from node.index.watched_reader import WatchedReader

_PAGE: Final = 512


class LayeredClaims:
    """Claimants (Digest.key) by chunk (RecordKey.raw).

    layers: newest first; may change between two calls.
    """

    def __init__(self, layers: Sequence[Overlay], reader: WatchedReader) -> None:
        self._layers = layers
        self._reader = reader

    def has(self, chunk: bytes, claimant: bytes) -> bool:
        """Whether the claim is there."""
        for layer in self._layers:
            known = layer.has_claim(chunk, claimant)
            if known is not None:
                return known
        return self._reader.payload(claim_key(chunk, claimant)) is not None

    def after(self, chunk: bytes, claimant: bytes | None, limit: int) -> list[bytes]:
        """The first `limit` claimants of a chunk after `claimant`, or the first of all."""
        known: dict[bytes, None] = {}
        for layer in self._layers:
            known.update(dict.fromkeys(layer.claims_after(chunk, claimant, limit)))
            if chunk in layer.unclaimed:
                break
        else:
            known.update(dict.fromkeys(self._stored(chunk, claimant, limit)))
        return sorted(known)[:limit]

    def every(self, chunk: bytes) -> list[bytes]:
        """All claimants of a chunk."""
        found: list[bytes] = []
        while page := self.after(chunk, found[-1] if found else None, _PAGE):
            found += page
        return found

    def _stored(self, chunk: bytes, after: bytes | None, limit: int) -> Iterator[bytes]:
        start, end = claim_key(chunk, after or b""), claims_end(chunk)
        for full_key, value in self._reader.after(start, limit, below=end):
            self._reader.unseal(full_key, value)
            yield full_key[1 + len(chunk) :]
