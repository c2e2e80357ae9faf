"""The receiving half of a connection: bytes in, requests out, with every buffer bounded.

aiohttp's parser (llhttp, in C) does the framing.  Around it stand the bounds that it does not have:

-   requests that were sent ahead (pipelining): PIPELINED_MAX are parsed, then reading pauses;
-   a head that comes in many small parts: counted as a whole (`head_bytes_max`);
-   chunked framing that costs more than the content it frames - endless extensions, one-byte
    chunks, a flood of trailers: counted against the content;
-   what arrives after the connection was given up on: thrown away, up to `linger_bytes_max`.

After the first byte that is not HTTP nothing more is parsed: what follows could be anybody's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from aiohttp import EMPTY_PAYLOAD, StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage

from gateway.http.config import HttpConfig
from gateway.http.phase import Phase
from ring.errors import BadRequest, HoldfastError
from ring.limits import KIB

PIPELINED_MAX: Final = 16
_READ_BUFFER_BYTES: Final = 256 * KIB
_FRAMING_BYTES_FREE: Final = 64 * KIB
_SHOWN: Final = 120


# A parsed head and the body that belongs to it, which may still be on its way.
Incoming = tuple[RawRequestMessage, StreamReader]


class Inbound(BaseProtocol):
    """Queue of requests of one connection; an error in it stands for what could not be parsed.

    phase, step, request, moved_bytes: what the sweep looks at (phase.py).
    """

    __slots__ = (
        "_body_bytes",
        "_config",
        "_head_bytes",
        "_ignored_bytes",
        "_is_deaf",
        "_is_ended",
        "_is_eof",
        "_payload",
        "_queue",
        "_waiter",
        "phase",
        "request",
        "step",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, config: HttpConfig) -> None:
        super().__init__(loop)
        self._parser = HttpRequestParser(
            self,
            loop,
            _READ_BUFFER_BYTES,
            max_line_size=config.target_bytes_max,
            max_field_size=config.field_bytes_max,
            max_headers=config.fields_max,
            auto_decompress=False,
            max_msg_queue_size=PIPELINED_MAX,
        )
        self._config = config
        self._queue: deque[Incoming | HoldfastError] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._payload: StreamReader = EMPTY_PAYLOAD
        self._is_deaf = False  # nothing that arrives is parsed any more
        self._is_eof = False  # nothing arrives any more
        self._is_ended = False  # no further request is wanted
        self._head_bytes = 0
        self._body_bytes = 0
        self._ignored_bytes = 0
        self.phase = Phase.FRESH
        self.step = 0
        self.request = 0

    def enter(self, phase: Phase) -> None:
        """Say who is being waited for from now on."""
        self.phase = phase
        self.step += 1

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._ignored_bytes += len(data)
            if self._ignored_bytes > self._config.linger_bytes_max and self.transport is not None:
                self.transport.abort()
            return
        if self._parser is None:
            return
        try:
            messages, is_upgraded, _ = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self.refuse(_in_words(error, self._config))
            return
        if messages:
            self._queue.extend(messages)
            last, self._payload = messages[-1]
            self._head_bytes = self._body_bytes = 0
            if is_upgraded or last.upgrade:
                self._is_deaf = True  # another protocol may follow, which is not spoken here
            if len(self._queue) >= PIPELINED_MAX and not self._buffer_paused:
                self._pause_reading_for_buffer()
            self._wake()
        elif data:
            self._count(len(data))

    def eof_received(self) -> bool:
        """The client will send no more; true keeps the other direction open for the answer."""
        self._is_eof = self._is_ended = True
        if self._body_is_open():
            self.refuse(BadRequest("the connection ended in the middle of the body"))
        elif self._head_bytes:
            self.refuse(BadRequest("the connection ended in the middle of a request's head"))
        self._wake()
        return self.phase not in (Phase.FRESH, Phase.IDLE, Phase.LINGER) or bool(self._queue)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._is_eof = self._is_ended = self._is_deaf = True
        self._parser = None
        if self._body_is_open():
            self._payload.set_exception(ConnectionResetError("the client went away"))
        self._wake()

    def refuse(self, error: HoldfastError) -> None:
        """Parse nothing more; whoever reads the open body gets the error, or it is answered."""
        self._is_deaf = True
        if self._body_is_open():
            self._payload.set_exception(error)
            return
        self._queue.append(error)
        self._wake()

    async def next_request(self) -> Incoming | HoldfastError | None:
        """The next in order; None when there will be none."""
        while not self._queue:
            if self._is_ended or self._is_deaf:
                return None
            if self._head_bytes:
                self.enter(Phase.HEAD)
            elif self.request:
                self.enter(Phase.IDLE)
            await self._sleep()
        incoming = self._queue.popleft()
        self.request += 1
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._queue) <= PIPELINED_MAX // 2:
            self.data_received(b"")  # parses what it held back, while still marked as paused
            if len(self._queue) < PIPELINED_MAX:
                self._resume_reading_for_buffer()
        return incoming

    def _sleep(self) -> asyncio.Future[None]:
        """Wait for `_wake`; only the connection's task does."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _body_is_open(self) -> bool:
        """Whether the body of the request that was parsed last is still arriving."""
        return not self._payload.is_eof()

    def _count(self, size_bytes: int) -> None:
        """Bytes arrived and completed no head."""
        if not self._body_is_open():
            self._head_bytes += size_bytes
            if self._head_bytes > self._config.head_bytes_max:
                self.refuse(
                    BadRequest(f"the head is longer than {self._config.head_bytes_max} bytes")
                )
            elif self.phase in (Phase.FRESH, Phase.IDLE):
                self.enter(Phase.HEAD)
            return
        self._body_bytes += size_bytes
        content_bytes = self._payload.total_bytes
        framing_bytes = self._body_bytes - content_bytes
        # While the parser is paused it holds back what was counted here already.
        if framing_bytes > _FRAMING_BYTES_FREE + content_bytes and not self._reading_paused:
            self.refuse(BadRequest("the framing of the body is longer than its content"))


def _in_words(error: HttpProcessingError, config: HttpConfig) -> BadRequest:
    """What the parser said, without the position and without what must not be in a header."""
    if isinstance(error, LineTooLong):
        return BadRequest(
            f"the request line or a header line is longer than {config.field_bytes_max} bytes"
        )
    first = error.message.strip().splitlines()[0] if error.message.strip() else "malformed"
    shown = "".join(character if character.isprintable() else "?" for character in first)
    return BadRequest(f"this is not an HTTP request: {shown[:_SHOWN].rstrip(':')}")
