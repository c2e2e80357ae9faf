"""What was done to a block device, in order: writes with their bytes, and flushes.

An entry: type, offset (of a flush: how many writes it covers), length, then the bytes.
Beside the log lies a counter of its entries that other processes map.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

from msgspec import Struct

_ENTRY: Final = struct.Struct("=BQI")
_COUNTER_BYTES: Final = 16
_WRITE: Final = 1
_FLUSH: Final = 2


class Write(Struct, frozen=True):
    """Bytes at `offset` of the device; at: where they begin in the log."""

    offset: int
    at: int
    size_bytes: int


class Flush(Struct, frozen=True):
    """covers: the first so many writes of the log are durable."""

    covers: int


Entry = Write | Flush


class Counter:
    """What goes on at the moment: two aligned words, so that nobody reads half a number."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), _COUNTER_BYTES)).cast("Q")

    def now(self) -> int:
        """How many entries there are."""
        return self._words[0]

    def count(self, entries: int) -> None:
        """Only the device does that."""
        self._words[0] = entries

    def fail(self, requests: int) -> None:
        """Have the device refuse the next so many writes and flushes."""
        self._words[1] = requests

    def take_failure(self) -> bool:
        """Whether the next one is refused; only the device does that."""
        left = self._words[1]
        if left:
            self._words[1] = left - 1
        return left > 0

    @property
    def has_failed(self) -> bool:
        """Whether all of them were refused."""
        return self._words[1] == 0


def make_counter(path: str) -> None:
    """An empty one."""
    with open(path, "xb") as file:
        file.write(bytes(_COUNTER_BYTES))


class LogWriter:
    """Appends; the file goes to memory, so nothing is synced."""

    def __init__(self, path: str, counter_path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._counter = Counter(counter_path)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def take_failure(self) -> bool:
        """See Counter."""
        return self._counter.take_failure()

    def wrote(self, offset: int, data: memoryview) -> None:
        self._append(_WRITE, offset, data)

    def flushed(self, covers: int) -> None:
        self._append(_FLUSH, covers, memoryview(b""))

    def _append(self, kind: int, number: int, data: memoryview) -> None:
        head = _ENTRY.pack(kind, number, len(data))
        written = os.writev(self._file, (head, data))
        assert written == len(head) + len(data), "the memory for the log is full"
        self._count += 1
        self._counter.count(self._count)


class WriteLog:
    """A finished log."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data = memoryview(data)
        self.entries = list(self._read())

    def bytes_of(self, write: Write) -> memoryview:
        """What was written."""
        return self._data[write.at : write.at + write.size_bytes]

    def close(self) -> None:
        """Let go of the file."""
        self._data.release()

    def _read(self) -> Iterator[Entry]:
        at, end = 0, len(self._data)
        while at < end:
            kind, number, size = _ENTRY.unpack_from(self._data, at)
            at += _ENTRY.size
            yield Flush(number) if kind == _FLUSH else Write(number, at, size)
            at += size


@contextmanager
def opened_log(path: str) -> Iterator[WriteLog]:
    """Map a finished log."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        log = WriteLog(data)
        try:
            yield log
        finally:
            log.close()
