"""Writes frames in order: what one turn of the loop produces leaves in one system call.

Rules:
1.  Small frames are joined; large payloads go out from where they lie, never copied; a span of a
    file goes from the page cache to the socket.
2.  A frame that nobody waits for any more is left out, unless it has begun to leave.  What has
    begun is copied once when its owner gives up, so that the owner may use its buffer again.
3.  Nothing here bounds the queue: `queued_bytes` tells the owner, who stops asking or reading.

Why the socket is written beside the transport that reads it: asyncio's transport copies what the
kernel does not take at once, and uvloop's cannot send a file between two buffered writes.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from node.file_span import FileSpan
from ring.digest import Buffer
from ring.errors import HoldfastError
from ring.limits import KIB, MIB, PAYLOAD_SMALL_BYTES_MAX

_BUFFERS: Final = (bytes, bytearray, memoryview)
_BATCH_BYTES: Final = 256 * KIB
_TURN_BYTES_MAX: Final = 8 * MIB  # then everybody else gets a turn of the loop


class Awaited(Protocol):
    """Who waits for what a frame asks."""

    def done(self) -> bool:
        """Whether nobody waits any more."""


Payload = Buffer | FileSpan
Sent = Callable[[], None]
_Outgoing = tuple[bytes, Payload | None, Awaited | None, Sent | None]


def payload_bytes(payload: Payload | None) -> int:
    """Length of what follows an envelope."""
    if payload is None:
        return 0
    return len(payload) if isinstance(payload, _BUFFERS) else payload.size_bytes


def span_of(payload: Payload | None) -> FileSpan | None:
    """What is not in memory."""
    return None if payload is None or isinstance(payload, _BUFFERS) else payload


class FrameSender:
    """A queue of frames and the batch that is leaving.  A subclass moves the batch.

    wrote: called after each attempt to write, whether or not anything is left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wrote: Callable[[], None]) -> None:
        self._loop = loop
        self._wrote = wrote
        self._queue: deque[_Outgoing] = deque()
        self._batch: list[Buffer] = []
        self._span: FileSpan | None = None
        self._span_offset = 0
        self._sent: list[Sent] = []
        self._scheduled = False
        self._closed = False
        self.queued_bytes = 0
        self.written_bytes = 0

    def send(
        self,
        head: bytes,
        payload: Payload | None = None,
        awaited: Awaited | None = None,
        sent: Sent | None = None,
    ) -> None:
        """Queue a frame: header and envelope, then the payload.

        awaited: the frame may be left out once this is done.  sent: called when the frame is out,
        or will never be: the moment to close a span.
        """
        if self._closed:
            if sent is not None:
                sent()
            return
        self._queue.append((head, payload, awaited, sent))
        self.queued_bytes += len(head) + payload_bytes(payload)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what can be written now."""
        raise NotImplementedError

    def drop_unwanted(self) -> None:
        """Let go of the buffers of frames that nobody waits for any more."""
        queue, self._queue = self._queue, deque()
        for outgoing in queue:
            if self._is_wanted(outgoing):
                self._queue.append(outgoing)
        self._batch = [part if isinstance(part, bytes) else bytes(part) for part in self._batch]

    def close(self) -> None:
        """Nothing leaves any more."""
        self._closed = True
        self._batch.clear()
        self._span = None
        sent = [*self._sent, *(outgoing[3] for outgoing in self._queue)]
        self._sent.clear()
        self._queue.clear()
        self.queued_bytes = 0
        for callback in sent:
            if callback is not None:
                callback()

    def _is_wanted(self, outgoing: _Outgoing) -> bool:
        head, payload, awaited, sent = outgoing
        if awaited is None or not awaited.done():
            return True
        self.queued_bytes -= len(head) + payload_bytes(payload)
        if sent is not None:
            sent()
        return False

    def _load(self) -> bool:
        """Move frames from the queue into the empty batch; false when there are none.

        A span ends the batch: it leaves after it.
        """
        queue, batch = self._queue, self._batch
        small: list[Buffer] = []
        size = 0
        while queue and size < _BATCH_BYTES and self._span is None:
            outgoing = queue.popleft()
            if not self._is_wanted(outgoing):
                continue
            head, payload, _, sent = outgoing
            small.append(head)
            size += len(head)
            if isinstance(payload, _BUFFERS):
                size += len(payload)
                if len(payload) <= PAYLOAD_SMALL_BYTES_MAX:
                    small.append(payload)
                else:
                    batch.append(b"".join(small))
                    batch.append(payload)
                    small.clear()
            elif payload is not None and payload.size_bytes > 0:
                self._span, self._span_offset = payload, 0
            if sent is not None:
                self._sent.append(sent)
        if small:
            batch.append(b"".join(small))
        return bool(batch)

    def _took(self, count: int) -> None:
        """The first `count` bytes of the batch, or of the span when that is empty, are out."""
        self.queued_bytes -= count
        self.written_bytes += count
        batch = self._batch
        if batch:
            gone = 0
            while count and count >= len(batch[gone]):
                count -= len(batch[gone])
                gone += 1
            del batch[:gone]
            if count:
                batch[0] = memoryview(batch[0])[count:]
        elif self._span is not None:
            self._span_offset += count
            if self._span_offset == self._span.size_bytes:
                self._span = None
        if self._sent and not batch and self._span is None:
            sent, self._sent = self._sent, []
            for callback in sent:
                callback()


class SocketSender(FrameSender):
    """Writes to a socket of its own that shares the connection with the reading transport.

    failed: called once when the connection broke under a write.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connected: socket.socket,
        wrote: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__(loop, wrote)
        self._socket = socket.fromfd(connected.fileno(), connected.family, connected.type)
        self._socket.setblocking(False)
        self._failed = failed
        self._waiting = False

    def flush(self) -> None:
        """See FrameSender."""
        if self._closed:
            return
        left = _TURN_BYTES_MAX
        try:
            while left > 0 and (self._batch or self._span is not None or self._load()):
                count = self._write()
                left -= count
                self._took(count)
        except (BlockingIOError, InterruptedError):
            self._wait()
            self._wrote()
            return
        except (OSError, HoldfastError) as error:
            self.close()
            self._failed(error)
            return
        if self._batch or self._span is not None or self._queue:
            if not self._waiting:
                self._loop.call_soon(self.flush)
        else:
            self._scheduled = False
            self._stop_waiting()
        self._wrote()

    def _write(self) -> int:
        """One system call; raises BlockingIOError when the socket is full."""
        if len(self._batch) > 1:
            return self._socket.sendmsg(self._batch)
        if self._batch:
            return self._socket.send(self._batch[0])
        span = self._span
        assert span is not None
        left = span.size_bytes - self._span_offset
        count = span.send(self._socket.fileno(), self._span_offset, left)
        if count == 0:
            raise BlockingIOError
        return count

    def close(self) -> None:
        """See FrameSender."""
        if not self._closed:
            super().close()
            self._stop_waiting()
            self._socket.close()

    def _wait(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._loop.add_writer(self._socket.fileno(), self.flush)

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting = False
            self._loop.remove_writer(self._socket.fileno())


class TransportSender(FrameSender):
    """Writes through the transport, because what leaves must be encrypted first."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.WriteTransport,
        wrote: Callable[[], None],
    ) -> None:
        super().__init__(loop, wrote)
        self._transport = transport
        self._paused = False

    def pause(self) -> None:
        """The transport holds enough."""
        self._paused = True

    def resume(self) -> None:
        """The transport takes more."""
        self._paused = False
        self.flush()

    def flush(self) -> None:
        """See FrameSender."""
        while not (self._paused or self._closed) and self._load():
            assert self._span is None, "a span cannot be encrypted"
            for part in list(self._batch):
                self._transport.write(bytes(part))
                self._took(len(part))
        if not (self._paused or self._closed):
            self._scheduled = False
        self._wrote()
