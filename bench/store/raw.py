"""What the disk does without a store: the limits.

Every loop writes into a file whose room is there already, so that nobody pays for growing it.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.failure import RowFailed


class RawFile:
    """A file of `size_bytes`, filled with random bytes.  direct: past the page cache."""

    def __init__(self, path: Path, size_bytes: int, *, direct: bool) -> None:
        self.size_bytes = size_bytes
        flags = os.O_RDWR | os.O_CREAT | (os.O_DIRECT if direct else 0)
        try:
            self.number = os.open(path, flags, 0o600)
        except OSError as error:
            raise RowFailed(f"no direct I/O in {path.parent}: {error.strerror}") from error
        os.posix_fallocate(self.number, 0, size_bytes)
        step_bytes = min(1 << 20, size_bytes)
        piece = aligned(step_bytes)
        for offset in range(0, size_bytes, step_bytes):
            os.pwrite(self.number, piece[: min(step_bytes, size_bytes - offset)], offset)
        os.fsync(self.number)

    def close(self) -> None:
        """Let go; the folder is removed by others."""
        os.close(self.number)


def aligned(size_bytes: int) -> memoryview:
    """Random bytes in memory that direct I/O takes."""
    memory = mmap.mmap(-1, size_bytes)
    memory.write(os.urandom(size_bytes))
    return memoryview(memory)


def appends_per_s(file: RawFile, batch: bytes, records: int, seconds: float) -> float:
    """Records made durable per second: one write and one fdatasync for each batch."""
    began_s = time.perf_counter()
    done = offset = 0
    while (took_s := time.perf_counter() - began_s) < seconds:
        if offset + len(batch) > file.size_bytes:
            offset = 0
        os.pwrite(file.number, batch, offset)
        os.fdatasync(file.number)
        offset += len(batch)
        done += records
    return done / took_s


def writes_per_s(file: RawFile, page: memoryview, places: Sequence[int], sync_every: int) -> float:
    """Pages written per second; sync_every: pages for each fdatasync, 0 for none."""
    began_s = time.perf_counter()
    for count, place in enumerate(places, 1):
        os.pwrite(file.number, page, place * len(page))
        if sync_every and count % sync_every == 0:
            os.fdatasync(file.number)
    return len(places) / (time.perf_counter() - began_s)


def reads_per_s(file: RawFile, page: memoryview, places: Sequence[int], readers: int = 1) -> float:
    """Pages read per second, by threads that all read into the same memory."""

    def read(places: Sequence[int]) -> None:
        for place in places:
            if os.preadv(file.number, [page], place * len(page)) != len(page):
                raise RowFailed("a raw read came back short")

    with ThreadPoolExecutor(readers) as threads:
        began_s = time.perf_counter()
        for _ in threads.map(read, [places[first::readers] for first in range(readers)]):
            pass
        return len(places) / (time.perf_counter() - began_s)


def group_writes_per_s(file: RawFile, page: memoryview, count: int, writers: int) -> float:
    """Pages written per second, `writers` at a time, and one fdatasync for each such group."""
    with ThreadPoolExecutor(writers) as threads:
        began_s = time.perf_counter()
        for first in range(0, count, writers):
            places = range(first, min(count, first + writers))
            list(threads.map(lambda n: os.pwrite(file.number, page, n * len(page)), places))
            os.fdatasync(file.number)
        return count / (time.perf_counter() - began_s)


def cached_reads_per_s(file: RawFile, size_bytes: int, places: Sequence[int]) -> float:
    """Reads per second of what the kernel has in memory, asked for as a store asks."""
    os.pread(file.number, file.size_bytes, 0)
    began_s = time.perf_counter()
    for place in places:
        data = bytearray(size_bytes)
        os.preadv(file.number, [data], place * size_bytes, os.RWF_NOWAIT)
    return len(places) / (time.perf_counter() - began_s)
