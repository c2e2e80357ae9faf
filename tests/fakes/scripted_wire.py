"""A connection without a socket: what one end writes is heard here, what is said here it reads."""

from __future__ import annotations

import asyncio
from typing import Any

from ring.codec import HEADER, NO_PAYLOAD

_PIECE_BYTES = 64 * 1024


class _Options:
    """Takes the settings of a socket."""

    def setsockopt(self, *setting: int) -> None:
        """See socket.socket."""


class ScriptedWire(asyncio.Transport):
    """The transport of a node's connection, for virtual time.

    It calls itself encrypted, because then everything that leaves passes through it.
    """

    def __init__(self, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._options = _Options()
        self._written = bytearray()
        self._frames: asyncio.Queue[tuple[bytes, bytes | None]] = asyncio.Queue()
        self._unread = bytearray()
        self._is_over = False
        self.is_read = True
        protocol.connection_made(self)

    async def hear(self) -> tuple[bytes, bytes | None]:
        """The next frame that was written: envelope and payload."""
        return await self._frames.get()

    def say(self, data: bytes) -> None:
        """Bytes that arrive; they wait while nobody reads."""
        self._unread += data
        self._deliver()

    def drop(self) -> None:
        """The connection breaks, also when nobody reads."""
        self.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self._options, "sslcontext": self}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._written += data
        while len(self._written) >= HEADER.size:
            envelope_bytes, payload_bytes = HEADER.unpack_from(self._written)
            start = HEADER.size + envelope_bytes
            end = start + (0 if payload_bytes == NO_PAYLOAD else payload_bytes)
            if len(self._written) < end:
                return
            payload = None if payload_bytes == NO_PAYLOAD else bytes(self._written[start:end])
            self._frames.put_nowait((bytes(self._written[HEADER.size : start]), payload))
            del self._written[:end]

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True
        self._loop.call_soon(self._deliver)

    def abort(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def close(self) -> None:
        self.abort()

    def is_closing(self) -> bool:
        return self._is_over

    def _deliver(self) -> None:
        while self._unread and self.is_read and not self._is_over:
            buffer = memoryview(self._protocol.get_buffer(-1))
            count = min(len(buffer), len(self._unread), _PIECE_BYTES)
            buffer[:count] = self._unread[:count]
            del self._unread[:count]
            self._protocol.buffer_updated(count)
