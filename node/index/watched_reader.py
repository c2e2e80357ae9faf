"""Reads of an index for whoever has to know when it is damaged.

Every error that says so is told before it is raised, whether the index itself found it or a seal.
"""

from __future__ import annotations

from collections.abc import Callable

from node.index.index import IndexReader
from node.index.sealed_value import unseal
from ring.errors import Corrupt


class WatchedReader:
    """node.index.index.IndexReader over another one.  found: told in words what is wrong."""

    def __init__(self, index: IndexReader, found: Callable[[str], None]) -> None:
        self._index = index
        self._found = found

    def get(self, key: bytes) -> bytes | None:
        """See IndexReader."""
        try:
            return self._index.get(key)
        except Corrupt as error:
            self._found(error.detail)
            raise

    def after(self, key: bytes, limit: int, *, below: bytes) -> list[tuple[bytes, bytes]]:
        """See IndexReader."""
        try:
            return self._index.after(key, limit, below=below)
        except Corrupt as error:
            self._found(error.detail)
            raise

    def payload(self, key: bytes) -> bytes | None:
        """What was sealed under the key, None when nothing was; errors as `get`."""
        value = self.get(key)
        return None if value is None else self.unseal(key, value)

    def unseal(self, key: bytes, value: bytes) -> bytes:
        """What was sealed; raises Corrupt."""
        try:
            return unseal(key, value)
        except Corrupt as error:
            self._found(error.detail)
            raise
