"""The receiving half of a connection: bytes in, requests out, with every buffer bounded.

aiohttp's parser (llhttp, in C) does the framing.  Around it stand the bounds that it does not have:

-   requests that were sent ahead (pipelining): PIPELINED_MAX are parsed, then reading pauses;
-   a head that comes in many small parts: counted as a whole (`head_bytes_max`);
-   chunked framing that costs more than the content it frames - endless extensions, one-byte
    chunks, a flood of trailers: counted against the content;
-   what arrives after the last request that counts: not read, or while lingering thrown away, up to
    `linger_bytes_max`.

Three things make a request the last of its connection: it is no HTTP (what follows could be
anybody's); it asks for an upgrade (what follows could be another protocol); its body is chunked.
The last because the parser (aiohttp 3.14) keeps the final line of a trailer and hands it to the
next request as a header: whoever shares a connection with others could speak in their name.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
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
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_SHOWN: Final = 120

# A parsed head and the body that belongs to it, which may still be on its way.
Incoming = tuple[RawRequestMessage, StreamReader]


class Inbound(BaseProtocol):
    """Queue of requests of one connection; an error in it stands for what could not be parsed.

    phase, step, request: what the sweep looks at (phase.py).
    """

    __slots__ = (
        "_body_bytes",
        "_config",
        "_had_last",
        "_head_bytes",
        "_is_ended",
        "_is_eof",
        "_payload",
        "_queue",
        "_thrown_bytes",
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
        self._payload: StreamReader = EMPTY_PAYLOAD  # of the request that was parsed last
        self._had_last = False  # no request is parsed any more
        self._is_ended = False  # no request is answered any more but those in the queue
        self._is_eof = False  # nothing arrives any more
        self._head_bytes = 0
        self._body_bytes = 0
        self._thrown_bytes = 0
        self.phase = Phase.FRESH
        self.step = 0
        self.request = 0

    def enter(self, phase: Phase) -> None:
        """Say who is being waited for from now on."""
        self.phase = phase
        self.step += 1

    def data_received(self, data: bytes) -> None:
        if self._parser is None or (self._had_last and self._payload.is_eof()):
            self._throw_away(data)
            return
        was_in_body = self._body_is_open()
        try:
            messages, _, _ = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self.refuse(_in_words(error, self._config))
            return
        if messages:
            self._take(messages, len(data))
        elif self._body_is_open():
            self._body_bytes += len(data)
            self._check_framing()
        elif data and not was_in_body:
            self._count_head(len(data))

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
        self._is_eof = self._is_ended = self._had_last = True
        self._parser = None
        if self._body_is_open():
            self._payload.set_exception(ConnectionResetError("the client went away"))
        self._wake()

    def cut(self) -> None:
        """End the connection with a reset: nobody can take what came for a whole answer.

        A close would leave what the kernel still holds to be taken, at the pace of the client.
        """
        if self.transport is not None:
            connected = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it may be closed already, and not lost yet
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.transport.abort()

    def refuse(self, error: HoldfastError) -> None:
        """Parse nothing more; whoever reads the open body gets the error, or it is answered."""
        self._had_last = True
        self._parser = None
        if self._body_is_open():
            self._payload.set_exception(error)
            return
        self._queue.append(error)
        self._wake()

    async def next_request(self) -> Incoming | HoldfastError | None:
        """The next in order; None when there will be none."""
        while not self._queue:
            if self._is_ended or self._had_last:
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

    def _take(self, messages: list[Incoming], size_bytes: int) -> None:
        """Queue what was parsed from so many bytes, up to a request that is the last."""
        for incoming in messages:
            message, self._payload = incoming
            self._queue.append(incoming)
            if message.chunked or message.upgrade:
                self._had_last = True
                break
        self._body_bytes = 0
        if message.chunked and len(messages) == 1:
            self._body_bytes = self._head_bytes + size_bytes - _head_bytes(message)
            self._check_framing()
        self._head_bytes = 0
        if len(self._queue) >= PIPELINED_MAX and not self._buffer_paused:
            self._pause_reading_for_buffer()
        self._wake()

    def _throw_away(self, data: bytes) -> None:
        """Nobody wants what arrives: before the answer it stays in the kernel, after it it goes."""
        if self.phase is not Phase.LINGER:
            self._pause_transport_reading()
        self._thrown_bytes += len(data)
        if self._thrown_bytes > self._config.linger_bytes_max:
            self.cut()

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

    def _count_head(self, size_bytes: int) -> None:
        """Bytes arrived and completed no head."""
        self._head_bytes += size_bytes
        if self._head_bytes > self._config.head_bytes_max:
            self.refuse(BadRequest(f"the head is longer than {self._config.head_bytes_max} bytes"))
        elif self.phase in (Phase.FRESH, Phase.IDLE):
            self.enter(Phase.HEAD)

    def _check_framing(self) -> None:
        """Refuse a body whose framing is out of proportion.

        A paused parser holds back bytes that were counted already; it is looked at when it goes on.
        """
        content_bytes = self._payload.total_bytes
        framing_bytes = self._body_bytes - content_bytes
        if framing_bytes > _FRAMING_BYTES_FREE + content_bytes and not self._reading_paused:
            self.refuse(BadRequest("the framing of the body is longer than its content"))


def _head_bytes(message: RawRequestMessage) -> int:
    """About how long the head was."""
    fields = sum(len(name) + len(value) for name, value in message.raw_headers)
    return len(message.method) + len(message.path) + fields + 4 * len(message.raw_headers)


def _in_words(error: HttpProcessingError, config: HttpConfig) -> BadRequest:
    """What the parser said, without the position and without what must not be in a header."""
    if isinstance(error, LineTooLong):
        return BadRequest(
            f"the request line or a header line is longer than {config.field_bytes_max} bytes"
        )
    first = error.message.strip().splitlines()[0] if error.message.strip() else "malformed"
    shown = "".join(character if character.isprintable() else "?" for character in first)
    return BadRequest(f"this is not an HTTP request: {shown[:_SHOWN].rstrip(':')}")
