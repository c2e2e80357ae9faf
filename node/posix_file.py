"""An open file of the real disk, and a file on its way to a socket.

The system's errors become ours here and in posix_disk.py, and nowhere else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from node.aligned_blocks import AlignedBlocks
from node.posix_descriptors import Descriptor
from node.posix_threads import Threads
from ring.digest import Buffer
from ring.errors import DiskFull, StorageFault
from ring.limits import KIB

T = TypeVar("T")

_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
_PROBE_BYTES: Final = 256 * KIB


def fault(doing: str, path: str, error: OSError) -> DiskFull | StorageFault:
    """What the system's error is here: DiskFull, or StorageFault with words."""
    words = f"{doing} {path}: {os.strerror(error.errno) if error.errno else error}"
    if error.errno in _FULL:
        return DiskFull(words)
    return StorageFault(words)


def write_all(number: int, data: Buffer, offset: int) -> None:
    """Every byte of `data`, from `offset` on; blocks, so only for a thread."""
    written = os.pwrite(number, data, offset)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(data):
        written += os.pwrite(number, view[written:], offset + written)


def write_pieces(number: int, pieces: Sequence[Buffer], offset: int) -> None:
    """`write_all` of several buffers in a row, in one call where the system takes them all."""
    written = os.pwritev(number, pieces, offset)
    for piece in pieces:
        if written < len(piece):
            write_all(number, memoryview(piece)[max(0, written) :], offset + max(0, written))
        offset += len(piece)
        written -= len(piece)


class PosixFile:
    """ring.seams.File over a descriptor, which it closes when the last call on it is over.

    blocks: the file was opened with O_DIRECT, and what is written has to be aligned by this.
    """

    def __init__(
        self,
        path: str,
        descriptor: Descriptor,
        threads: Threads,
        blocks: AlignedBlocks | None = None,
    ) -> None:
        self._blocks = blocks
        self._path = path
        self._descriptor = descriptor
        self._threads = threads
        self._closed = False
        self._distrusted = False

    async def read(self, offset: int, size_bytes: int) -> bytes:
        return await self._run("read", partial(read_at, self._number, offset, size_bytes))

    def read_now(self, offset: int, size_bytes: int) -> bytes | None:
        number = self._number
        data = bytearray(size_bytes)
        try:
            count = os.preadv(number, [data], offset, os.RWF_NOWAIT)
            if count < size_bytes and offset + count < os.fstat(number).st_size:
                return None
        except OSError:  # not in memory, or a fault that the read which waits will report
            return None
        return bytes(data[:count])

    async def write(self, offset: int, *pieces: Buffer) -> None:
        if self._blocks is not None:
            pieces = self._blocks.aligned(offset, pieces)
        await self._run("write", partial(write_pieces, self._number, pieces, offset))

    async def write_durably(self, offset: int, *pieces: Buffer) -> None:
        self._require_trust()
        if self._blocks is not None:
            pieces = self._blocks.aligned(offset, pieces)
        number = self._number

        def work() -> None:
            write_pieces(number, pieces, offset)
            self._sync(number)

        await self._run("write", work)

    async def sync(self) -> None:
        self._require_trust()
        await self._run("sync", partial(self._sync, self._number))

    async def size_bytes(self) -> int:
        return (await self._run("stat", partial(os.fstat, self._number))).st_size

    async def truncate(self, size_bytes: int) -> None:
        await self._run("truncate", partial(os.ftruncate, self._number, size_bytes))

    async def allocate(self, size_bytes: int) -> None:
        await self._run("allocate", partial(os.posix_fallocate, self._number, 0, size_bytes))

    async def span(self, offset: int, size_bytes: int) -> PosixSpan:
        """See node.file_span.SpanFile."""
        descriptor = self._descriptor
        number = self._number
        descriptor.hold()
        span = PosixSpan(self._path, descriptor, offset, size_bytes)
        try:
            if not span.is_resident():
                await self._run("read", partial(read_at, number, offset, size_bytes))
        except BaseException:
            span.close()
            raise
        return span

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._descriptor.release()

    def _require_trust(self) -> None:
        if self._distrusted:
            raise StorageFault(f"sync {self._path}: it failed before and is not tried again")

    def _sync(self, number: int) -> None:
        try:
            os.fdatasync(number)
        except OSError as error:
            # The kernel reports a lost write once and then calls the pages clean ("fsyncgate").
            self._distrusted = True
            raise StorageFault(f"sync {self._path}: {error.strerror}") from error

    @property
    def _number(self) -> int:
        if self._closed:
            raise StorageFault(f"{self._path}: the file was closed")
        return self._descriptor.number

    async def _run(self, doing: str, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except OSError as error:
                raise fault(doing, self._path, error) from error

        descriptor = self._descriptor
        descriptor.hold()
        try:
            future = self._threads.run(guarded, lambda _result, _future: descriptor.release())
        except StorageFault:
            descriptor.release()
            raise
        return await future


class PosixSpan:
    """node.file_span.FileSpan over a descriptor that is held for it: all of the file, or a part."""

    def __init__(
        self, path: str, descriptor: Descriptor, start: int = 0, size_bytes: int | None = None
    ) -> None:
        self.size_bytes = descriptor.size_bytes if size_bytes is None else size_bytes
        self._start = start
        self._path = path
        self._descriptor: Descriptor | None = descriptor

    def send(self, socket_descriptor: int, offset: int, size_bytes: int) -> int:
        descriptor = self._descriptor
        if descriptor is None:
            raise StorageFault(f"send {self._path}: the span was closed")
        try:
            wanted = min(size_bytes, self.size_bytes - offset)
            sent = os.sendfile(socket_descriptor, descriptor.number, self._start + offset, wanted)
        except BlockingIOError:
            return 0
        except ConnectionError:
            raise
        except OSError as error:
            if error.errno == errno.EIO:
                raise fault("send", self._path, error) from error
            raise ConnectionError(error.errno, f"send {self._path}: {error.strerror}") from error
        if not sent and size_bytes:
            raise StorageFault(f"send {self._path}: it has become shorter")
        return sent

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            descriptor.release()

    def is_resident(self) -> bool:
        """Whether samples of the file are in memory, so that sending it will hardly wait."""
        assert self._descriptor is not None
        last = max(0, self.size_bytes - 1)
        probe = bytearray(1)
        try:
            for offset in (*range(0, last, _PROBE_BYTES), last):
                os.preadv(self._descriptor.number, [probe], self._start + offset, os.RWF_NOWAIT)
        except OSError:
            return False
        return True


def read_at(number: int, offset: int, size_bytes: int) -> bytes:
    """Up to `size_bytes`, shorter only at the end of the file; blocks, so only for a thread."""
    data = os.pread(number, size_bytes, offset)
    while len(data) < size_bytes:
        piece = os.pread(number, size_bytes - len(data), offset + len(data))
        if not piece:
            break
        data += piece
    return data
