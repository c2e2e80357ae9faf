"""The seam of the index: ordered bytes by bytes, changed in transactions that a crash cannot split.

What an implementation may lose in a crash: the last transaction, when `write` had not returned, is
whole or absent.  Nothing that a finished `write` did is ever lost.  Keys have 1 to 511 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from msgspec import Struct

T = TypeVar("T")


class IndexReader(Protocol):
    """Everything committed, or everything that a transaction sees."""

    def get(self, key: bytes) -> bytes | None:
        """The value, None when there is none.  Raises Corrupt or StorageFault."""

    def after(self, key: bytes, limit: int, *, below: bytes) -> list[tuple[bytes, bytes]]:
        """The first `limit` pairs with `key` < their key < `below`, in order; errors as `get`."""


class IndexWriter(IndexReader, Protocol):
    """A transaction; it sees what it has changed."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""

    def delete(self, key: bytes) -> None:
        """Forget a key; absent is fine."""


class Index(IndexReader, Protocol):
    """An open index.  Its own `get` and `after` answer at once, also while a transaction runs."""

    async def write(self, work: Callable[[IndexWriter], T]) -> T:
        """Do `work` in one transaction and make it durable; one after the other.

        `work` runs in a thread, perhaps more than once, and changes nothing but the index.  Raises
        what `work` does, DiskFull, StorageFault or Corrupt: it may have happened, wholly.
        """

    async def read(self, work: Callable[[IndexReader], T]) -> T:
        """Do `work` off the event loop over one state of the index."""

    async def warm(self) -> None:
        """Have in memory what `get` will ask for, as far as is worth it; raises StorageFault."""

    def condemn(self) -> None:
        """What is in here is wrong: the next `open` of its home discards it.

        That holds whatever becomes of this process, a power cut apart.  Does no I/O, never fails.
        """

    async def close(self) -> bool:
        """Finish what was begun; idempotent.  Afterwards everything is StorageFault.

        False when it could not be finished in time: then this process must not open it again.
        """


class OpenedIndex(Struct, frozen=True):
    """An index, and why the one that was there was moved away, None when it was not."""

    index: Index
    discarded: str | None


class IndexHome(Protocol):
    """Where one index lives."""

    async def open(self) -> OpenedIndex:
        """Open it; an absent or unusable one begins empty.  Raises StorageFault or DiskFull."""

    async def discard(self) -> None:
        """Move away what is there, after it was closed: the next `open` begins empty."""
