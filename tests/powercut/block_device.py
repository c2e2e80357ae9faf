"""A block device that writes down everything that is done to it.

One regular file, served by this process over the kernel's FUSE protocol (no library is needed) and
mounted onto a file; a loop device stands on it.  Every write and every flush is appended to a log
in the order in which it arrives, with what the flush covers.

Rules:
1.  A write is answered when it is in the log and in the image; a flush likewise.
2.  A flush covers the writes that had been answered when it arrived, no others: a disk owes nothing
    to a write that is still under way.
3.  The number of entries is in a shared file before the answer goes out: whoever had an answer
    finds it counted.
4.  As many writes and flushes as the same file says are refused with EIO and not logged.

Source of the messages: include/uapi/linux/fuse.h of the kernel, protocol 7.31.

    python -m tests.powercut.block_device IMAGE MOUNTPOINT LOG COUNTER
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import stat
import struct
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tests.powercut.kernel import MS_NODEV, MS_NOSUID, die_with_parent, mount
from tests.powercut.write_log import LogWriter

_FORGET: Final = 2
_GETATTR: Final = 3
_SETATTR: Final = 4
_OPEN: Final = 14
_READ: Final = 15
_WRITE: Final = 16
_STATFS: Final = 17
_RELEASE: Final = 18
_FSYNC: Final = 20
_FLUSH: Final = 25
_INIT: Final = 26
_INTERRUPT: Final = 36
_DESTROY: Final = 38
_BATCH_FORGET: Final = 42
_FALLOCATE: Final = 43

_IN_HEADER: Final = struct.Struct("=IIQQIIIHH")
_OUT_HEADER: Final = struct.Struct("=IiQ")
_INIT_IN: Final = struct.Struct("=IIII")
_INIT_OUT: Final = struct.Struct("=IIIIHHIIHHI28x")
_ATTRIBUTES: Final = struct.Struct("=QII QQQQQQ IIIIIIIIII")
_OPEN_OUT: Final = struct.Struct("=QII")
_IO_IN: Final = struct.Struct("=QQIIQII")  # handle, offset, size, flags, owner, flags, padding
_FALLOCATE_IN: Final = struct.Struct("=QQQII")
_WRITTEN: Final = struct.Struct("=II")
_STATFS_OUT: Final = struct.Struct("=QQQQQIIII24x")

_MINOR: Final = 31
_ASYNC_READ: Final = 1 << 0
_BIG_WRITES: Final = 1 << 5
_ASYNC_DIO: Final = 1 << 15
_MAX_PAGES: Final = 1 << 22
_FOPEN_DIRECT_IO: Final = 1 << 0
_PAGES_MAX: Final = 256
_WRITE_BYTES_MAX: Final = _PAGES_MAX * 4096
_ANSWERS_NOTHING: Final = (_FORGET, _BATCH_FORGET, _INTERRUPT)
_ZEROING: Final = 0x02 | 0x10  # FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE


Answer = bytes | memoryview | int


class Request:
    """One message of the kernel; answered_writes: how many had been answered when it came."""

    __slots__ = ("answered_writes", "body", "opcode", "unique")

    def __init__(self, message: bytes, answered_writes: int) -> None:
        _, self.opcode, self.unique, *_ = _IN_HEADER.unpack_from(message)
        self.body = memoryview(message)[_IN_HEADER.size :]
        self.answered_writes = answered_writes


class BlockDevice:
    """See the module.  Ends when the file system is unmounted."""

    def __init__(self, image: mmap.mmap, connection: int, log: LogWriter) -> None:
        self._image = memoryview(image)
        self._connection = connection
        self._log = log
        self._waiting: deque[Request] = deque()
        self._answered_writes = 0
        self._mounted = True
        self._answers: dict[int, Callable[[Request], Answer]] = {
            _INIT: self._init,
            _GETATTR: self._attributes,
            _SETATTR: self._attributes,
            _OPEN: lambda _: _OPEN_OUT.pack(1, _FOPEN_DIRECT_IO, 0),
            _READ: self._read,
            _WRITE: self._write,
            _FSYNC: self._flush,
            _FLUSH: lambda _: b"",
            _RELEASE: lambda _: b"",
            _DESTROY: lambda _: b"",
            _STATFS: lambda _: _STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, 255, 4096, 0),
            _FALLOCATE: self._allocate,
        }

    def serve(self) -> None:
        """Answer until the end."""
        while self._mounted or self._waiting:
            if not self._waiting:
                select.select((self._connection,), (), ())
                self._take_all()
                continue
            request = self._waiting.popleft()
            if request.opcode in _ANSWERS_NOTHING:
                continue
            answer = self._answers.get(request.opcode)
            body: Answer = -errno.ENOSYS if answer is None else answer(request)
            self._take_all()  # what came before this answer cannot know of it
            self._answer(request, body)

    def _take_all(self) -> None:
        while self._mounted:
            try:
                message = os.read(self._connection, _WRITE_BYTES_MAX + 4096)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENODEV:
                    self._mounted = False
                elif error.errno != errno.ENOENT:  # a request that was taken back
                    raise
                continue
            self._waiting.append(Request(message, self._answered_writes))

    def _answer(self, request: Request, body: Answer) -> None:
        status, data = (body, b"") if isinstance(body, int) else (0, body)
        head = _OUT_HEADER.pack(_OUT_HEADER.size + len(data), status, request.unique)
        with suppress(FileNotFoundError):  # the kernel does not wait for it any more
            os.writev(self._connection, (head, data))
        if status == 0:
            self._answered_writes += request.opcode in {_WRITE, _FALLOCATE}

    def _init(self, request: Request) -> bytes:
        major, _, readahead, offered = _INIT_IN.unpack_from(request.body)
        flags = offered & (_ASYNC_READ | _BIG_WRITES | _ASYNC_DIO | _MAX_PAGES)
        return _INIT_OUT.pack(
            major, _MINOR, readahead, flags, 64, 48, _WRITE_BYTES_MAX, 1, _PAGES_MAX, 0, 0
        )

    def _attributes(self, request: Request) -> bytes:
        size = len(self._image)
        times = (0, 0, 0)
        return _ATTRIBUTES.pack(
            3600, 0, 0, 1, size, size // 512, *times, *times, stat.S_IFREG | 0o600, 1, 0, 0, 0,
            4096, 0,
        )

    def _read(self, request: Request) -> memoryview:
        _, offset, size, *_ = _IO_IN.unpack_from(request.body)
        return self._image[offset : offset + size]

    def _write(self, request: Request) -> bytes | int:
        _, offset, size, *_ = _IO_IN.unpack_from(request.body)
        if offset + size > len(self._image):
            return -errno.ENOSPC
        if self._log.take_failure():
            return -errno.EIO
        data = request.body[_IO_IN.size : _IO_IN.size + size]
        self._log.wrote(offset, data)
        self._image[offset : offset + size] = data
        return _WRITTEN.pack(size, 0)

    def _allocate(self, request: Request) -> bytes | int:
        _, offset, size, mode, _ = _FALLOCATE_IN.unpack_from(request.body)
        if self._log.take_failure():
            return -errno.EIO
        if not mode & _ZEROING or offset + size > len(self._image):
            return -errno.EOPNOTSUPP
        zeros = memoryview(bytes(size))
        self._log.wrote(offset, zeros)
        self._image[offset : offset + size] = zeros
        return b""

    def _flush(self, request: Request) -> bytes | int:
        if self._log.take_failure():
            return -errno.EIO
        self._log.flushed(request.answered_writes)
        return b""


def main(image_path: str, target: str, log_path: str, counter_path: str) -> None:
    """Mount and serve; says "ready" on standard output."""
    die_with_parent()
    with open(image_path, "r+b") as file:
        image = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)
    connection = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    options = f"fd={connection},rootmode={stat.S_IFREG:o},user_id=0,group_id=0"
    mount("holdfast-powercut", target, "fuse.holdfast-powercut", MS_NOSUID | MS_NODEV, options)
    with LogWriter(log_path, counter_path) as log:
        print("ready", flush=True)
        BlockDevice(image, connection, log).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
