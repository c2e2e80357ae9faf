"""Recipes that this gateway has seen to be right: a blob hashed to its digest chunk by chunk.

What a recipe's own checksum covers - the blob's digest and every chunk's - is the same for ever, so
one whole hash of the blob proves it for ever, and later reads of the blob hash its chunks only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_REMEMBERED: Final = 4_096


class ProvenRecipes:
    """The checksums of the recipes proven or used last; nothing else may be taken for right."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        assert limit > 0
        self._limit = limit
        self._checksums: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, checksum: bytes) -> bool:
        if checksum not in self._checksums:
            return False
        self._checksums.move_to_end(checksum)
        return True

    def add(self, checksum: bytes) -> None:
        """The bytes that this recipe's chunks make up were hashed, and are the blob."""
        self._checksums[checksum] = None
        self._checksums.move_to_end(checksum)
        if len(self._checksums) > self._limit:
            self._checksums.popitem(last=False)
