"""A stored value that can reach a socket without passing through Python.

Measured on two cores, a node that answers 4 MiB values with sendfile(2) from the page cache needs
less than half the processor time of one that reads them into memory first.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class FileSpan(Protocol):
    """An open, complete value; it stays readable until `close`, whatever happens to its record.

    Its pages were in memory when it was opened, so that sending it does not wait for the disk.
    """

    @property
    def size_bytes(self) -> int:
        """Length of the value."""

    def send(self, socket_descriptor: int, offset: int, size_bytes: int) -> int:
        """Move up to `size_bytes` from `offset` into a non-blocking socket; how many went.

        0 means that the socket is full: wait until it is writable.  Raises StorageFault when the
        disk fails or the file has become shorter, and ConnectionError when the socket is broken.
        """

    def close(self) -> None:
        """Let go; idempotent.  Whoever got the span must call it."""


@runtime_checkable
class SpanDisk(Protocol):
    """What a disk may offer beyond `ring.seams.Disk`."""

    async def span(self, path: str) -> FileSpan:
        """Open a file for sending; raises FileNotFoundError or StorageFault."""


@runtime_checkable
class SpanFile(Protocol):
    """What an open file may offer beyond `ring.seams.File`."""

    async def span(self, offset: int, size_bytes: int) -> FileSpan:
        """A part of it ready for sending, open for as long as that takes; raises StorageFault."""
