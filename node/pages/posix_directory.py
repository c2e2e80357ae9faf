"""The real directory of a page store.

Rules:
1.  Direct I/O is used where the file system has it; where it says EINVAL, the page cache is used
    and the log says so.  What is promised does not change.
2.  `store.lock` is held with flock from the first call to the last: exclusively by a writer, which
    leaves its process id there for the message that others get, shared by readers.
3.  The system's errors become ours here and nowhere else.

Linux only: O_DIRECT, and punching holes through fallocate(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

from node.posix_file import fault, write_all
from ring.digest import Buffer
from ring.errors import Busy, StorageFault

log = structlog.get_logger()

LOCK: Final = "store.lock"
LOCK_WAIT_S: Final = 5.0
_POLL_S: Final = 0.01
_NO_ALLOCATION: Final = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS))
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_PUNCH: Final = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE of linux/falloc.h

Opener = Callable[[str, int, int], int]
"""As os.open: path, flags, mode."""


class PosixBlockFile:
    """node.pages.block_seam.BlockFile over a descriptor."""

    def __init__(self, path: str, number: int, flags: int) -> None:
        self.direct = bool(flags & os.O_DIRECT)
        self._path = path
        self._number = number
        self._flags = flags & ~os.O_CREAT

    def read(self, buffer: memoryview, offset: int) -> int:
        done = 0
        with _translated("read", self._path):
            while done < len(buffer):
                count = os.preadv(self._number, [buffer[done:]], offset + done)
                done += count
                if not count or (self.direct and count % 512):
                    break
        return done

    def write(self, data: Buffer, offset: int) -> None:
        with _translated("write", self._path):
            write_all(self._number, data, offset)

    def sync(self) -> None:
        try:
            os.fdatasync(self._number)
        except OSError as error:  # ENOSPC too: what was written may be lost, which is no mere lack
            raise StorageFault(f"sync {self._path}: {error.strerror}") from error

    def allocate(self, size_bytes: int) -> None:
        with _translated("allocate", self._path):
            try:
                os.posix_fallocate(self._number, 0, size_bytes)
            except OSError as error:
                if error.errno not in _NO_ALLOCATION:
                    raise
                if os.fstat(self._number).st_size < size_bytes:
                    os.ftruncate(self._number, size_bytes)

    def truncate(self, size_bytes: int) -> None:
        with _translated("truncate", self._path):
            os.ftruncate(self._number, size_bytes)

    def punch(self, offset: int, size_bytes: int) -> None:
        call = ctypes.CDLL(None, use_errno=True).fallocate
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        if call(self._number, _PUNCH, offset, size_bytes) == 0:
            return
        number = ctypes.get_errno()
        if number not in _NO_ALLOCATION:
            raise fault("punch", self._path, OSError(number, os.strerror(number)))

    def size_bytes(self) -> int:
        with _translated("stat", self._path):
            return os.fstat(self._number).st_size

    def reopen(self) -> None:
        with _translated("open", self._path):
            fresh = os.open(self._path, self._flags)
            try:  # the old number means the new file at once, for calls under way elsewhere too
                os.dup2(fresh, self._number, inheritable=False)
            finally:
                os.close(fresh)

    def close(self) -> None:
        number, self._number = self._number, -1
        if number >= 0:
            with suppress(OSError):
                os.close(number)


class PosixDirectory:
    """node.pages.block_seam.BlockDirectory.

    create: make an absent directory, durably.  Raises StorageFault when there is none, or when it
    cannot be opened.
    """

    def __init__(
        self,
        root: str,
        *,
        create: bool,
        direct: bool = True,
        opener: Opener = os.open,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        self._root = os.path.abspath(root)
        self._direct = direct
        self._opener = opener
        self._lock_wait_s = lock_wait_s
        self._locked = -1
        if create:
            with _translated("make", self._root):
                self._make()
        if not os.path.isdir(self._root):
            raise StorageFault(f"there is no page store at {self._root}")

    def open(
        self, name: str, *, create: bool = False, read_only: bool = False, direct: bool = False
    ) -> PosixBlockFile:
        path = self._path(name)
        flags = _FLAGS | (os.O_RDONLY if read_only else os.O_RDWR)
        if create:
            flags |= os.O_CREAT
        with _translated("open", path):
            if direct and self._direct:
                try:
                    return self._opened(path, flags | os.O_DIRECT)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    log.warning(
                        "no direct I/O on this file system, the page cache is used", path=path
                    )
            return self._opened(path, flags)

    def rename(self, source: str, target: str) -> None:
        with _translated("rename", self._path(source)):
            os.rename(self._path(source), self._path(target))

    def unlink(self, name: str) -> None:
        with _translated("unlink", self._path(name)), suppress(FileNotFoundError):
            os.unlink(self._path(name))

    def sync(self) -> None:
        with _translated("sync", self._root):
            _sync_directory(self._root)

    def names(self) -> list[str]:
        with _translated("list", self._root):
            return sorted(os.listdir(self._root))

    def lock(self, *, exclusive: bool) -> None:
        path = self._path(LOCK)
        how = os.O_RDWR | os.O_CREAT if exclusive else os.O_RDONLY
        try:
            with _translated("open", path):
                self._locked = os.open(path, how | _FLAGS, 0o600)
        except FileNotFoundError as error:
            raise StorageFault(f"there is no page store at {self._root}: no {LOCK}") from error
        self._wait_for_lock(fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        if exclusive:
            with suppress(OSError):  # a full disk keeps nobody from opening
                os.ftruncate(self._locked, 0)
                os.pwrite(self._locked, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        number, self._locked = self._locked, -1
        if number >= 0:
            os.close(number)

    def _wait_for_lock(self, how: int) -> None:
        # Counted in pauses, for no clock is to be had here; nobody ever sets the event.
        never = threading.Event()
        for _ in range(1 + int(self._lock_wait_s / _POLL_S)):
            with suppress(BlockingIOError), _translated("lock", self._root):
                fcntl.flock(self._locked, how | fcntl.LOCK_NB)
                return
            never.wait(_POLL_S)
        holder = os.pread(self._locked, 32, 0).decode(errors="replace").strip()
        self.close()
        who = f"process {holder}" if holder.isdecimal() else "another process"
        raise Busy(
            f"the page store at {self._root} is in use, last written by {who}: one writer or any"
            f" number of readers at a time; gave up after {self._lock_wait_s:g} s"
        )

    def _opened(self, path: str, flags: int) -> PosixBlockFile:
        return PosixBlockFile(path, self._opener(path, flags, 0o600), flags)

    def _path(self, name: str) -> str:
        assert name
        assert "/" not in name, name
        return f"{self._root}/{name}"

    def _make(self) -> None:
        above = [self._root]
        while not os.path.isdir(above[-1]):
            above.append(os.path.dirname(above[-1]))
        os.makedirs(self._root, 0o700, exist_ok=True)
        for made in above:
            _sync_directory(os.path.dirname(made))


def _sync_directory(path: str) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _translated(doing: str, path: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, BlockingIOError):
        raise
    except OSError as error:
        raise fault(doing, path, error) from error
