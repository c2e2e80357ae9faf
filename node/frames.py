"""Finds frames in a stream of bytes: many small ones per wake-up, large payloads in one buffer.

Rules:
1.  What arrives lies in one window until a frame in it is whole.  An envelope is handed on as a
    view of the window that is valid only during `frame_received`.
2.  A payload of at most PAYLOAD_SMALL_BYTES_MAX is copied out of the window.  A larger one gets a
    buffer of its own as soon as its envelope is here, and the rest is received straight into it.
3.  A peer that breaks the framing, or claims more than the limits, is reported once; nothing is
    parsed after that.
4.  Memory is bounded by the limits, whatever the peer sends: the window never grows beyond the
    largest frame without a large payload.

No socket here: asyncio's buffered protocol calls `get_buffer` and `buffer_updated`.
"""

from __future__ import annotations

from typing import Final

from ring.codec import HEADER, NO_PAYLOAD
from ring.digest import Buffer
from ring.errors import PeerProtocol
from ring.limits import (
    ENVELOPE_BYTES_MAX,
    KIB,
    PAYLOAD_BYTES_MAX,
    PAYLOAD_SMALL_BYTES_MAX,
)

WINDOW_BYTES: Final = 128 * KIB
_TAIL_BYTES_MIN: Final = 16 * KIB  # a shorter rest of the window is not worth a read
_HEADER_BYTES: Final = HEADER.size
_read_header: Final = HEADER.unpack_from

assert PAYLOAD_SMALL_BYTES_MAX + _HEADER_BYTES < WINDOW_BYTES


class FrameReader:
    """Bytes in, frames out.  A subclass says what happens with them.

    envelope_bytes_max, payload_bytes_max: claims beyond them break the protocol; they may be raised
    later (a peer that proved nothing yet is allowed little).
    """

    def __init__(self, *, envelope_bytes_max: int, payload_bytes_max: int) -> None:
        assert envelope_bytes_max <= ENVELOPE_BYTES_MAX
        assert payload_bytes_max <= PAYLOAD_BYTES_MAX
        self.envelope_bytes_max = envelope_bytes_max
        self.payload_bytes_max = payload_bytes_max
        self._window = memoryview(bytearray(WINDOW_BYTES))
        self._start = 0
        self._end = 0
        self._held = False
        self._parsing = False
        self._broken = False
        self._large: memoryview | None = None
        self._large_got = 0
        self._large_envelope = b""
        self.received_bytes = 0

    def frame_received(self, envelope: memoryview, payload: Buffer | None) -> None:
        """A frame is here; the envelope is valid during this call only, the payload is yours."""
        raise NotImplementedError

    def payload_buffer(self, size_bytes: int) -> memoryview | None:
        """A writable buffer of that size; or None, after `hold_frames`, to be asked again later."""
        raise NotImplementedError

    def framing_broken(self, error: PeerProtocol) -> None:
        """The stream makes no sense any more."""
        raise NotImplementedError

    def bytes_expected(self, count: int) -> None:
        """So many bytes are still to come of a large payload; 0 when it is whole."""

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun to arrive and is not whole yet."""
        return self._large is not None or self._end > self._start

    @property
    def frames_held(self) -> bool:
        """Whether parsing rests."""
        return self._held

    def hold_frames(self) -> None:
        """Parse nothing more until `release_frames`; what is in the window stays there."""
        self._held = True

    def release_frames(self) -> None:
        """Go on with what is in the window."""
        self._held = False
        if not self._parsing:
            self._parse()

    def stop_frames(self) -> None:
        """Never parse anything again: the connection is over."""
        self._broken = True
        self._large = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._large is not None:
            return self._large[self._large_got :]
        if len(self._window) - self._end < _TAIL_BYTES_MIN:
            self._make_room()
        return self._window[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take `nbytes` that were written to the buffer of `get_buffer`."""
        self.received_bytes += nbytes
        if self._large is None:
            self._end += nbytes
            self._parse()
            return
        self._large_got += nbytes
        missing = len(self._large) - self._large_got
        self.bytes_expected(missing)
        if missing:
            return
        payload, envelope = self._large, self._large_envelope
        self._large, self._large_envelope = None, b""
        self._parse(envelope, payload)

    def _parse(self, envelope: bytes = b"", payload: memoryview | None = None) -> None:
        """Hand on the frame whose large payload is whole now, then every frame in the window."""
        self._parsing = True
        try:
            if payload is not None:
                self.frame_received(memoryview(envelope), payload)
            while not (self._held or self._broken) and self._next_frame():
                pass
        except PeerProtocol as error:
            self.stop_frames()
            self.framing_broken(error)
        finally:
            self._parsing = False
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._window) > WINDOW_BYTES:
                self._window = memoryview(bytearray(WINDOW_BYTES))

    def _next_frame(self) -> bool:
        """Hand on one frame; false when more bytes (or a buffer) are needed first."""
        body = self._start + _HEADER_BYTES
        if self._end < body:
            return False
        window = self._window
        envelope_bytes, payload_bytes = _read_header(window, self._start)
        if not 0 < envelope_bytes <= self.envelope_bytes_max:
            raise PeerProtocol(f"an envelope of {envelope_bytes} bytes is out of bounds")
        stop = body + envelope_bytes
        if payload_bytes == NO_PAYLOAD:
            if self._end < stop:
                return self._need(stop)
            self._start = stop
            self.frame_received(window[body:stop], None)
            return True
        if payload_bytes > self.payload_bytes_max:
            raise PeerProtocol(f"a payload of {payload_bytes} bytes is out of bounds")
        if payload_bytes > PAYLOAD_SMALL_BYTES_MAX:
            return self._need(stop) if self._end < stop else self._begin_large(stop, payload_bytes)
        end = stop + payload_bytes
        if self._end < end:
            return self._need(end)
        self._start = end
        self.frame_received(window[body:stop], bytes(window[stop:end]))
        return True

    def _begin_large(self, stop: int, payload_bytes: int) -> bool:
        large = self.payload_buffer(payload_bytes)
        if large is None:
            assert self._held, "hold the frames until there is a buffer"
            return False
        assert len(large) == payload_bytes, (len(large), payload_bytes)
        got = min(payload_bytes, self._end - stop)
        large[:got] = self._window[stop : stop + got]
        envelope = bytes(self._window[self._start + _HEADER_BYTES : stop])
        self._start = stop + got
        if got == payload_bytes:
            self.frame_received(memoryview(envelope), large)
            return True
        self._large, self._large_got, self._large_envelope = large, got, envelope
        self.bytes_expected(payload_bytes - got)
        return False

    def _need(self, end: int) -> bool:
        """Make sure that the frame that ends there fits into the window."""
        if end > len(self._window):
            self._make_room(end - self._start)
        return False

    def _make_room(self, frame_bytes: int = 0) -> None:
        """Move what is here to the front, of a larger window where this one is too small."""
        present = self._end - self._start
        old = self._window
        if frame_bytes > len(old) or present > len(old) - _TAIL_BYTES_MIN:
            self._window = memoryview(bytearray(max(frame_bytes, present) + WINDOW_BYTES))
        self._window[:present] = old[self._start : self._end]
        self._start, self._end = 0, present
