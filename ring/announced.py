"""A stream of bytes whose length was announced."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ring.digest import Buffer
from ring.errors import BadRequest


class AnnouncedPieces:
    """Pieces that add up to `size_bytes`; iterating raises BadRequest when they do not."""

    def __init__(self, pieces: AsyncIterator[Buffer], size_bytes: int) -> None:
        self._pieces = pieces
        self._size_bytes = size_bytes
        self._came_bytes = 0

    def __aiter__(self) -> AnnouncedPieces:
        return self

    async def __anext__(self) -> Buffer:
        piece = await anext(self._pieces, None)
        if piece is not None:
            self._came_bytes += len(piece)
            if self._came_bytes <= self._size_bytes:
                return piece
        elif self._came_bytes == self._size_bytes:
            raise StopAsyncIteration
        raise BadRequest(f"{self._came_bytes} bytes came where {self._size_bytes} were announced")
