"""A span whose value is in memory, sent piece by piece into the socket like a file's pages."""

from __future__ import annotations

import socket

from ring.errors import StorageFault


class MemorySpan:
    """See node.file_span.  fails_at: the disk fails when it gets there."""

    def __init__(self, value: bytes, *, fails_at: int | None = None) -> None:
        self._value = memoryview(value)
        self._fails_at = fails_at
        self.closed = 0

    @property
    def size_bytes(self) -> int:
        return len(self._value)

    def send(self, socket_descriptor: int, offset: int, size_bytes: int) -> int:
        assert not self.closed
        if self._fails_at is not None and offset >= self._fails_at:
            raise StorageFault("the disk failed")
        end = min(offset + size_bytes, offset + 100_000)
        with socket.socket(fileno=socket.dup(socket_descriptor)) as connected:
            try:
                return connected.send(self._value[offset:end])
            except BlockingIOError:
                return 0

    def close(self) -> None:
        self.closed += 1
