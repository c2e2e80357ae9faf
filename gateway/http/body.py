"""The body of a request, as the store takes it: whole when small, in pieces when large.

Nothing is decompressed: bytes are stored as they were sent, because it is them that the digest
names.  Memory is bounded by the parser's own buffer, which stops the transport when it is full.
"""

from __future__ import annotations

from typing import Final, Protocol

from aiohttp import EMPTY_PAYLOAD, StreamReader

from gateway.http.phase import Phase
from ring.errors import ExpectationFailed, TooLarge
from ring.limits import CHUNK_BYTES


class Flow(Protocol):
    """The connection, as far as a body needs it."""

    def enter(self, phase: Phase) -> None:
        """Say who is being waited for from now on."""

    def send_continue(self) -> None:
        """Ask the client for the body that it holds back (RFC 9110 10.1.1)."""


class Body:
    """Bytes that a client sends; iterating gives them in pieces as they arrive, once.

    size_bytes: as declared, 0 without a body, None when only its end will tell.
    Iterating raises TooLarge beyond the limit, RequestTimeout from a client that is too slow,
    BadRequest when the framing breaks or the connection ends in the middle, ConnectionError when
    the client went away.
    """

    __slots__ = ("_awaits_continue", "_flow", "_limit_bytes", "_stream", "received", "size_bytes")

    def __init__(
        self, flow: Flow, stream: StreamReader, size_bytes: int | None, limit_bytes: int
    ) -> None:
        self._flow: Final = flow
        self._stream: Final = stream
        self._limit_bytes: Final = limit_bytes
        self._awaits_continue = False
        self.size_bytes: Final = size_bytes
        self.received = 0

    def expect(self, value: str) -> None:
        """Heed an `Expect` header; raises ExpectationFailed for one that is unknown."""
        if value.lower() != "100-continue":
            raise ExpectationFailed(f"the expectation {value[:80]!r} is not understood")
        self._awaits_continue = True

    def check_size(self) -> None:
        """Raise TooLarge when the declared size says so already."""
        if self.size_bytes is not None and self.size_bytes > self._limit_bytes:
            raise TooLarge(
                f"{self.size_bytes} bytes are more than the {self._limit_bytes} that are taken",
                limit=self._limit_bytes,
            )

    @property
    def is_small(self) -> bool:
        """Whether it is declared to fit into one record, so that it may be taken whole."""
        return self.size_bytes is not None and self.size_bytes <= CHUNK_BYTES

    async def whole(self) -> bytes:
        """All of it; for bodies whose declared size is small."""
        first = await self._next()
        if len(first) == self.size_bytes:
            return first
        parts = [first]
        while part := await self._next():
            parts.append(part)
        return b"".join(parts)

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._next()
        if not piece:
            raise StopAsyncIteration
        if self.received > self._limit_bytes:
            raise TooLarge(
                f"the body has more than the {self._limit_bytes} bytes that are taken",
                limit=self._limit_bytes,
            )
        return piece

    @property
    def is_over(self) -> bool:
        """Whether all of it has arrived, read or not."""
        return self._stream.is_eof()

    async def _next(self) -> bytes:
        """What has arrived, at least a byte; empty at the end."""
        stream = self._stream
        if stream is EMPTY_PAYLOAD:
            return b""
        if stream.is_eof() and stream.exception() is None:
            piece = stream.read_nowait(-1)
        else:
            if self._awaits_continue and not stream.total_bytes:
                self._flow.send_continue()
            self._awaits_continue = False
            self._flow.enter(Phase.BODY)
            try:
                piece = await stream.readany()
            finally:
                self._flow.enter(Phase.STORE)
        self.received += len(piece)
        return piece
