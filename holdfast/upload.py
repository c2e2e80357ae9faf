"""Where the bytes of an upload come from, and whether they can be sent a second time.

Each source hashes what it hands out, so that the gateway's answer can be compared with what was
really sent.  A fault of the source itself (a file that cannot be read) is kept, because the HTTP
library would report it as a broken connection.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from holdfast.local_fault import local_faults
from holdfast.tree import read_source
from ring.digest import Algorithm, Buffer, Digest, Hasher
from ring.errors import LocalFault
from ring.limits import KIB

PIECE_BYTES: Final = 256 * KIB


class Source(Protocol):
    """Bytes to send.

    size_bytes: None when it is not known before the end.
    repeatable: whether `pieces` may be called again after an attempt that failed.
    """

    @property
    def size_bytes(self) -> int | None:
        """Length, when it is known."""

    @property
    def repeatable(self) -> bool:
        """Whether another attempt is possible."""

    def pieces(self) -> AsyncIterator[Buffer]:
        """All bytes from the beginning."""


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B")

    @property
    def size_bytes(self) -> int:
        return len(self._view)

    @property
    def repeatable(self) -> bool:
        return True

    async def pieces(self) -> AsyncIterator[Buffer]:
        for at in range(0, len(self._view), PIECE_BYTES):
            yield self._view[at : at + PIECE_BYTES]


class FileSource:
    """A file, opened anew for each attempt; raises LocalFault.

    size_bytes: what it had; a file that grows or shrinks meanwhile is no source any more.
    """

    def __init__(self, path: str, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def repeatable(self) -> bool:
        return True

    async def pieces(self) -> AsyncIterator[Buffer]:
        rest_bytes = self._size_bytes
        async for piece in read_source(self._path):
            rest_bytes -= len(piece)
            if rest_bytes < 0:
                break
            yield piece
        if rest_bytes:
            raise LocalFault(f"{self._path!r} changed while it was read")


def file_bytes(path: str) -> int:
    """The size of a file; raises LocalFault."""
    with local_faults("read", path):
        return os.stat(path).st_size


class StreamSource:
    """Somebody else's iterator: it can be repeated as long as nothing was taken from it.

    size_bytes: how long it will be, None when that is not known.
    """

    def __init__(self, pieces: AsyncIterator[Buffer], size_bytes: int | None = None) -> None:
        self._pieces = pieces
        self._touched = False
        self.size_bytes = size_bytes

    @property
    def repeatable(self) -> bool:
        return not self._touched

    async def pieces(self) -> AsyncIterator[Buffer]:
        self._touched = True
        async for piece in self._pieces:
            yield piece


class Sending:
    """One attempt at sending a source: what was handed out so far, and what went wrong with it.

    on_bytes: told the bytes of this attempt so far, after each piece.
    """

    def __init__(
        self,
        source: Source,
        algorithm: Algorithm,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self._source = source
        self._algorithm = algorithm
        self._hasher: Hasher = algorithm.hasher()
        self._on_bytes = on_bytes
        self.sent_bytes = 0
        self.fault: Exception | None = None

    @property
    def size_bytes(self) -> int | None:
        """Length of the whole source, when it is known."""
        return self._source.size_bytes

    @property
    def digest(self) -> Digest:
        """Of everything handed out so far."""
        return Digest(self._algorithm, self._hasher.digest())

    async def pieces(self) -> AsyncIterator[Buffer]:
        """The source's pieces, none of them empty, cut so that no single write is large."""
        try:
            async for given in self._source.pieces():
                view = memoryview(given).cast("B")
                for at in range(0, len(view), PIECE_BYTES):
                    piece = view[at : at + PIECE_BYTES]
                    self._hasher.update(piece)
                    self.sent_bytes += len(piece)
                    yield piece
                    if self._on_bytes is not None:
                        self._on_bytes(self.sent_bytes)
        except Exception as error:
            self.fault = error
            raise
