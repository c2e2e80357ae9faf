"""What the page store needs of a disk: one flat directory of files, synchronous.

The real one is posix_directory.py; the simulated one records every call, so that tests can replay
what a power cut leaves.  Errors: DiskFull for no room, FileNotFoundError for what is absent,
StorageFault for all else.
"""

from __future__ import annotations

from typing import Protocol

from ring.digest import Buffer


class BlockFile(Protocol):
    """An open file.  Offsets and sizes in bytes.

    direct: reads and writes bypass the page cache, so memory, offsets and sizes must be multiples
    of BLOCK_BYTES, and a read says what the medium holds.
    """

    direct: bool

    def read(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer; how many bytes, fewer only at the end of the file."""

    def write(self, data: Buffer, offset: int) -> None:
        """All of it; not durable before `sync`."""

    def sync(self) -> None:
        """Make content and length durable.

        After a failure nothing written since the last good sync may be trusted, whatever a later
        call says.
        """

    def allocate(self, size_bytes: int) -> None:
        """Make the file at least this long, with room on the medium where that can be had."""

    def truncate(self, size_bytes: int) -> None:
        """Cut or extend."""

    def punch(self, offset: int, size_bytes: int) -> None:
        """Give the room of a range back where the file system can; it reads as zeros then."""

    def size_bytes(self) -> int:
        """Length now."""

    def reopen(self) -> None:
        """Go on through a new descriptor, which inherits no forgotten error."""

    def close(self) -> None:
        """Let go; idempotent."""


class BlockDirectory(Protocol):
    """The directory of one page store.  Names are plain."""

    def open(
        self, name: str, *, create: bool = False, read_only: bool = False, direct: bool = False
    ) -> BlockFile:
        """Open; `create` makes an absent file.  `direct` is a wish: see BlockFile."""

    def rename(self, source: str, target: str) -> None:
        """Replace `target`; durable after `sync`."""

    def unlink(self, name: str) -> None:
        """Remove a file; absent is fine.  Durable after `sync`."""

    def sync(self) -> None:
        """Make the entries of the directory durable."""

    def names(self) -> list[str]:
        """What is there, in order."""

    def lock(self, *, exclusive: bool) -> None:
        """Hold the store against other processes until `close`; raises Busy after a while.

        One holder when exclusive, any number otherwise.
        """

    def close(self) -> None:
        """Give up the lock; idempotent."""
