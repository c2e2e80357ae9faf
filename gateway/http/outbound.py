"""The sending half of a connection.

Once a byte of an answer is written, nothing but the rest of that answer follows: whatever goes
wrong in `send` resets the connection, so that the client sees a broken body.  A second answer
inside an open body would be read as a part of it by a client that counts bytes: a complete wrong
body.

A piece is in the kernel before the next one is asked for, so a slow reader costs one piece.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.http.answer import Answer, Stream, head
from gateway.http.config import HttpConfig
from gateway.http.inbound import Inbound
from gateway.http.phase import Phase
from ring.digest import Buffer
from ring.errors import Unavailable

_BODYLESS: Final = (204, 304)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Outbound(Inbound):
    """Adds writing to the queue of requests."""

    __slots__ = ("sent_bytes",)

    def __init__(self, loop: asyncio.AbstractEventLoop, config: HttpConfig) -> None:
        super().__init__(loop, config)
        self.sent_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.set_write_buffer_limits(high=0)

    def send_continue(self) -> None:
        """Ask the client for the body that it holds back."""
        self._write(_CONTINUE)

    def taken_bytes(self) -> int:
        """How much of what was written the kernel has taken."""
        left_bytes = 0 if self.transport is None else self.transport.get_write_buffer_size()
        return self.sent_bytes - left_bytes

    async def send(
        self, answer: Answer | Stream, generic: bytes, connection: bytes, method: str
    ) -> None:
        """Write an answer to a request with that method, and wait until the kernel has taken it.

        Raises ConnectionError when the client is gone, and whatever the pieces raise; the
        connection is cut then.
        """
        try:
            if isinstance(answer, Stream):
                await self._stream(answer, generic, connection)
                return
            size_bytes = answer.size_bytes
            if size_bytes is None and answer.status not in _BODYLESS:
                size_bytes = len(answer.body)
            data = head(answer.status, generic, answer.fields, size_bytes, connection)
            self._write(data if method == "HEAD" else data + answer.body)
            if self._paused:
                await self._drained()
        except BaseException:
            self.cut()
            raise

    async def _stream(self, answer: Stream, generic: bytes, connection: bytes) -> None:
        try:
            data = head(answer.status, generic, answer.fields, answer.size_bytes, connection)
            left_bytes = answer.size_bytes - len(answer.first)
            self._write_both(data, answer.first)
            await self._drained()
            while left_bytes > 0:
                await asyncio.sleep(0)  # a source and a client that never wait leave others a turn
                piece = await anext(answer.pieces, None)
                if piece is None:
                    raise Unavailable(f"the blob ended {left_bytes} bytes too early")
                left_bytes -= len(piece)
                assert left_bytes >= 0, "a reader gave more bytes than it said"
                self._write(piece)
                await self._drained()
        finally:
            await answer.source.close()

    def _write(self, data: Buffer) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away")
        transport.write(data)
        self.sent_bytes += len(data)

    def _write_both(self, data: bytes, piece: Buffer) -> None:
        """A head and a piece in one call to the kernel, not joined."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away")
        transport.writelines((data, piece))
        self.sent_bytes += len(data) + len(piece)

    async def _drained(self) -> None:
        """Wait until the transport holds no byte, so that buffers may be used again."""
        if self._paused:
            self.enter(Phase.ANSWER)
            await self._drain_helper()
            self.enter(Phase.STORE)
