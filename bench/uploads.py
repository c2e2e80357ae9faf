"""Many concurrent uploads by one cheap client: sendfile from memory, one process, no threads.

The sender must not be what limits, nor may its own memory be mistaken for the server's: the bytes
go from a memfd to the sockets inside the kernel. Upload number i sends the payload from byte
i * 4,096 on, so that no chunk of one upload equals a chunk of another.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.payload import Payload

STRIDE_BYTES: Final = 4_096
_SLICE_BYTES: Final = 256 << 10  # one connection's turn
_RECEIVE_BYTES: Final = 64 << 10


def payload_bytes(count: int, size_bytes: int) -> int:
    """How large the payload must be for `count` uploads of `size_bytes`."""
    return size_bytes + (count - 1) * STRIDE_BYTES


@dataclass(slots=True)
class Upload:
    """One connection: a POST on its way. `answer` is the whole response once `finished`."""

    connection: socket.socket
    header: bytes
    offset: int
    end: int
    answer: bytearray = field(default_factory=bytearray)
    finished: bool = False

    @property
    def sent(self) -> bool:
        return not self.header and self.offset == self.end

    def advance(self, events: int, descriptor: int) -> None:
        """Do what the socket is ready for.

        A connection that breaks is finished: what was answered before says why.
        """
        try:
            if events & selectors.EVENT_READ:
                self._receive()
            elif events & selectors.EVENT_WRITE:
                self._send(descriptor)
        except (BrokenPipeError, ConnectionResetError):
            self.finished = True

    def _send(self, descriptor: int) -> None:
        """Send what the socket takes now, at most a slice."""
        if self.header:
            self.header = self.header[self.connection.send(self.header) :]
        else:
            count = min(_SLICE_BYTES, self.end - self.offset)
            self.offset += os.sendfile(
                self.connection.fileno(), descriptor, self.offset, count
            )

    def _receive(self) -> None:
        """Take what has come; the server closes after its answer."""
        received = self.connection.recv(_RECEIVE_BYTES)
        self.answer += received
        self.finished = not received


def run_uploads(
    port: int,
    payload: Payload,
    count: int,
    size_bytes: int,
    deadline: Deadline,
    *,
    watch: Callable[[], None],
    interval_s: float,
) -> list[bytes]:
    """POST `count` blobs at once; returns the raw responses in order of upload.

    watch is called every `interval_s` seconds while at least one upload runs. A connection that
    broke has an incomplete or empty response. RowFailed when the time is over.
    """
    assert payload.size_bytes >= payload_bytes(count, size_bytes)
    uploads = [_begin(port, number * STRIDE_BYTES, size_bytes) for number in range(count)]
    try:
        with selectors.DefaultSelector() as selector:
            for upload in uploads:
                events = selectors.EVENT_READ | selectors.EVENT_WRITE
                selector.register(upload.connection, events, upload)
            _drive(selector, payload.descriptor, deadline, watch, interval_s)
    finally:
        for upload in uploads:
            upload.connection.close()
    return [bytes(upload.answer) for upload in uploads]


def _begin(port: int, offset: int, size_bytes: int) -> Upload:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setblocking(False)
    header = (
        "POST /v1/blobs?algo=blake3 HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Content-Length: {size_bytes}\r\n"
        "Connection: close\r\n\r\n"
    )
    return Upload(connection, header.encode(), offset, offset + size_bytes)


def _drive(
    selector: selectors.BaseSelector,
    descriptor: int,
    deadline: Deadline,
    watch: Callable[[], None],
    interval_s: float,
) -> None:
    next_s = time.perf_counter()
    while selector.get_map():
        if deadline.remaining_s() == 0:
            raise RowFailed("no time left for the uploads")
        if time.perf_counter() >= next_s:
            watch()
            next_s = time.perf_counter() + interval_s
        for key, events in selector.select(interval_s):
            upload: Upload = key.data
            upload.advance(events, descriptor)
            if upload.finished:
                selector.unregister(upload.connection)
            elif upload.sent and key.events & selectors.EVENT_WRITE:
                selector.modify(upload.connection, selectors.EVENT_READ, upload)


def stored_digest(response: bytes) -> str:
    """The digest in a 200 or 201 answer to POST; RowFailed for any other answer."""
    head, _, body = response.partition(b"\r\n\r\n")
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    if status_line.split(" ")[1:2] not in (["200"], ["201"]):
        said = body[:200].decode(errors="replace") or "nothing more"
        raise RowFailed(f"an upload was answered {status_line!r}: {said}")
    digest = json.loads(body)["digest"]
    assert isinstance(digest, str)
    return digest
