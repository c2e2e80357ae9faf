"""The keys of a table that lies in layers: one or two overlays above an index."""

from __future__ import annotations

from collections.abc import Sequence

from node.index.index import IndexReader
from node.index.index_keys import ROWS_END, row_key
from node.index.overlay import Overlay


class LayeredOrder:
    """node.table.Order.  What the newest layer that knows a key says of it holds.

    layers: newest first; may change between two calls.
    """

    def __init__(self, layers: Sequence[Overlay], index: IndexReader) -> None:
        self._layers = layers
        self._index = index

    def after(self, key: bytes | None, limit: int) -> list[bytes]:
        """See Order."""
        found: list[bytes] = []
        while len(found) < limit:
            pairs = self._index.after(row_key(key or b""), limit, below=ROWS_END)
            page = [full_key[1:] for full_key, _ in pairs]
            lives = dict.fromkeys(page, True)
            ends = page[limit - 1 :]  # beyond the end of a full page its layer may have more
            for layer in reversed(self._layers):
                page = layer.order.after(key, limit)
                lives.update((one, layer.rows[one] is not None) for one in page)
                ends += page[limit - 1 :]
            if not ends:
                found += sorted(one for one in lives if lives[one])
                break
            key = min(ends)
            found += sorted(one for one in lives if lives[one] and one <= key)
        return found[:limit]
