"""What both ends of a connection of the node protocol have in common: a transport to read from, a
sender to write to, and the settings of the socket.

Rules:
1.  Holding frames stops the reading too, so that the peer feels it: back-pressure is TCP's.
2.  While a large payload arrives, the kernel is asked to wake us once per 256 KiB instead of once
    per segment.
3.  A peer that vanished without a word is noticed by the kernel: keep-alive probes while nothing is
    said, a bound on unacknowledged bytes while something is.
4.  Nothing is written after `abort`; what was queued is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final, cast

from node.frame_sender import FrameSender, SocketSender, TransportSender
from node.frames import FrameReader
from ring.limits import KIB

_WAKE_BYTES: Final = 256 * KIB
_SILENCE_S: Final = 10  # before the first keep-alive probe
_PROBES: Final = 4
_PROBE_S: Final = 5
_UNACKNOWLEDGED_MS_MAX: Final = 30_000


class Connection(FrameReader, asyncio.BufferedProtocol):
    """One connection.  A subclass says what frames mean and what its end means."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        envelope_bytes_max: int,
        payload_bytes_max: int,
    ) -> None:
        super().__init__(
            envelope_bytes_max=envelope_bytes_max, payload_bytes_max=payload_bytes_max
        )
        self.loop = loop
        self.sender: FrameSender
        self.over = False
        self._closing = False
        self._transport: asyncio.Transport
        self._encrypted = False
        self._wake_bytes = 1

    def ended(self, error: Exception | None) -> None:
        """The connection is over; called exactly once if it was ever made."""
        raise NotImplementedError

    def wrote(self) -> None:
        """Something that was queued may have left."""
        if self._closing:
            self._close_when_empty()

    @property
    def encrypted(self) -> bool:
        """Whether it is under TLS, where no file can go straight to the socket."""
        return self._encrypted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        self._transport = transport
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        connected: socket.socket = transport.get_extra_info("socket")
        _tune(connected)
        self._socket = connected
        if self._encrypted:
            self.sender = TransportSender(self.loop, transport, self.wrote)
        else:
            self.sender = SocketSender(self.loop, connected, self.wrote, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        self.stop_frames()
        self.sender.close()
        self.ended(exc)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if isinstance(self.sender, TransportSender):
            self.sender.pause()

    def resume_writing(self) -> None:
        if isinstance(self.sender, TransportSender):
            self.sender.resume()

    def hold_frames(self) -> None:
        """See FrameReader; the transport rests too."""
        super().hold_frames()
        if not self.over:
            self._transport.pause_reading()

    def release_frames(self) -> None:
        """See FrameReader."""
        super().release_frames()
        if not (self.over or self.frames_held):
            self._transport.resume_reading()

    def bytes_expected(self, count: int) -> None:
        """See FrameReader; asks the kernel to wake us for more than a little."""
        if self._encrypted:
            return  # the kernel counts encrypted bytes
        wake_bytes = min(max(count, 1), _WAKE_BYTES)
        if wake_bytes != self._wake_bytes:
            self._wake_bytes = wake_bytes
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wake_bytes)

    def abort(self, error: Exception | None = None) -> None:
        """End it now."""
        if not self.over:
            self.over = True
            self.stop_frames()
            self.sender.close()
            self._transport.abort()

    def close(self) -> None:
        """End it once what is queued has left; the owner bounds how long that may take."""
        if not self.over:
            self._closing = True
            self.hold_frames()
            self._close_when_empty()

    def _close_when_empty(self) -> None:
        if not self.over and self.sender.queued_bytes == 0:
            self.over = True
            self.stop_frames()
            self.sender.close()
            self._transport.close()


def _tune(connected: socket.socket) -> None:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENCE_S),
        ("TCP_KEEPINTVL", _PROBE_S),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_MS_MAX),
    ):
        with contextlib.suppress(OSError):
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
