"""The real disk: one directory tree behind the Disk seam.

Rules:
1.  Everything that may wait for the medium runs in a fixed number of threads; `read_now` asks the
    kernel for what is in memory (preadv2 with RWF_NOWAIT) and needs none.
2.  Paths are resolved below the root's descriptor and hold no `..`; the last component is never
    followed when it is a symbolic link.  Directories are 0700, files 0600.
3.  A file becomes visible under its name only when its content is durable.
4.  A directory that this process did not make may still have been made by one that died before
    syncing its parent, so `make_directories` syncs each parent once even when nothing is missing.

Errors: DiskFull for ENOSPC and EDQUOT, FileNotFoundError for what is absent, StorageFault for all
else.  Linux only, as RWF_NOWAIT is; where the file system does not know the flag, `read_now` has
nothing to say.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import resource
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import structlog

from node.aligned_blocks import AlignedBlocks
from node.payload_slots import PayloadSlots
from node.posix_descriptors import Descriptor, OpenFiles
from node.posix_file import PosixFile, PosixSpan, fault, read_at, write_all
from node.posix_threads import Settled, Threads
from ring.digest import Buffer
from ring.errors import StorageFault
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.seams import FileInfo

T = TypeVar("T")

log = structlog.get_logger()

# More than the processors: the threads wait for the medium, and ext4 commits all the syncs that
# wait at the same time in one go.
THREADS: Final = 16
OPEN_FILES_MAX: Final = 4096
_OPEN_FILES_SHARE: Final = 4  # of what the process may open; sockets need the rest

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UPDATE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class PosixDisk:
    """ring.seams.Disk over a directory, which is made when it is absent.

    open_files: how many small files `read_now` keeps open; by default a quarter of what the process
    may open, 4,096 at most.  Raises StorageFault when the root cannot be opened.
    """

    def __init__(
        self, root: str, *, threads: int = THREADS, open_files: int | None = None
    ) -> None:
        if open_files is None:
            allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            open_files = min(OPEN_FILES_MAX, allowed // _OPEN_FILES_SHARE)
        try:
            self._root = _open_root(root)
        except OSError as error:
            raise fault("open", root, error) from error
        self._threads = Threads(threads, "disk")
        self._open_files = OpenFiles(open_files)
        self._scratch = bytearray(PAYLOAD_SMALL_BYTES_MAX + 1)
        self._window = memoryview(self._scratch)
        self._parents_synced: set[str] = set()
        self._blocks = AlignedBlocks(PayloadSlots())
        self._told_of_cache = False
        self._closed = False

    async def close(self) -> None:
        """Finish what was begun and let go; idempotent.  Afterwards everything is StorageFault."""
        if not self._closed:
            self._closed = True
            self._open_files.clear()
            if await self._threads.close():
                os.close(self._root)

    async def open(
        self, path: str, *, create: bool = False, direct: bool = False
    ) -> PosixFile:
        flags = _UPDATE | os.O_CREAT if create else _UPDATE
        work = partial(self._open_for_update, _checked(path), flags)
        opened = await self._opened(path, work)
        blocks = self._blocks if direct and self._make_direct(path, opened) else None
        return PosixFile(path, opened, self._threads, blocks)

    async def read(self, path: str) -> bytes:
        token = self._open_files.reading(path)

        def keep(result: tuple[bytes, Descriptor | None] | None, _future: object) -> None:
            descriptor = None if result is None else result[1]
            self._open_files.found(path, token, descriptor)

        data, _ = await self._run("read", path, partial(self._read_whole, _checked(path)), keep)
        return data

    def read_now(self, path: str) -> bytes | None:
        descriptor = self._open_files.get(path)
        if descriptor is None:
            return None
        try:
            count = os.preadv(descriptor.number, (self._scratch,), 0, os.RWF_NOWAIT)
        except OSError:  # not in memory, or a fault that the read which waits will report
            return None
        if count != descriptor.size_bytes:
            return None
        return bytes(self._window[:count])

    async def span(self, path: str) -> PosixSpan:
        """See node.file_span.SpanDisk."""
        opened = await self._opened(path, partial(self._open_regular, _checked(path), _READ))
        span = PosixSpan(path, opened)
        try:
            if not span.is_resident():
                await self._bring_in(path, opened)
        except BaseException:
            span.close()
            raise
        return span

    async def publish(self, temporary: str, path: str, data: Buffer) -> None:
        work = partial(self._publish, _checked(temporary), _checked(path), data)
        await self._change("write", path, work, path)

    async def rename(self, source: str, target: str) -> None:
        work = partial(self._rename, _checked(source), _checked(target))
        await self._change("rename", source, work, source, target)

    async def unlink(self, path: str) -> None:
        await self._change("unlink", path, partial(self._unlink, _checked(path)), path)

    async def sync_directory(self, path: str) -> None:
        await self._run("sync", path, partial(self._sync_directory, _checked(path)))

    async def make_directories(self, path: str) -> None:
        await self._run("make", path, partial(self._make_directories, _checked(path)))

    async def list_directory(self, path: str) -> list[str]:
        return await self._run("list", path, partial(self._list, _checked(path)))

    async def list_sizes(self, path: str) -> list[tuple[str, int]]:
        """See node.file_sweep.SizesDisk."""
        return await self._run("list", path, partial(self._list_sizes, _checked(path)))

    async def info(self, path: str) -> FileInfo | None:
        return await self._run("stat", path, partial(self._info, _checked(path)))

    async def free_bytes(self) -> int:
        def work() -> int:
            found = os.fstatvfs(self._root)
            return found.f_bavail * found.f_frsize

        return await self._run("statvfs", ".", work)

    # --- in the event loop's thread ---------------------------------------------------------------

    async def _run(
        self, doing: str, path: str, work: Callable[[], T], settled: Settled[T] | None = None
    ) -> T:
        if self._closed:
            raise StorageFault(f"{doing} {path}: the disk was closed")

        def guarded() -> T:
            try:
                return work()
            except FileNotFoundError:
                raise
            except OSError as error:
                raise fault(doing, path, error) from error

        return await self._threads.run(guarded, settled)

    async def _opened(self, path: str, work: Callable[[], Descriptor]) -> Descriptor:
        """What `work` opens; closed when nobody waits for it any more, at whatever moment."""
        arrived: Descriptor | None = None

        def settled(result: Descriptor | None, future: asyncio.Future[Descriptor]) -> None:
            nonlocal arrived
            if result is not None and future.done():
                result.release()
            else:
                arrived = result

        try:
            return await self._run("open", path, work, settled)
        except asyncio.CancelledError:
            if arrived is not None:
                arrived.release()
            raise

    async def _change(
        self, doing: str, path: str, work: Callable[[], None], *changed: str
    ) -> None:
        def forget(_result: None, _future: object) -> None:
            for changed_path in changed:
                self._open_files.forget(changed_path)

        await self._run(doing, path, work, forget)

    async def _bring_in(self, path: str, opened: Descriptor) -> None:
        """Have the whole file in memory."""
        opened.hold()
        work = partial(read_at, opened.number, 0, opened.size_bytes)
        await self._run("read", path, work, lambda _result, _future: opened.release())

    def _make_direct(self, path: str, opened: Descriptor) -> bool:
        """Have writes pass by the cache, where the file system can."""
        flags = fcntl.fcntl(opened.number, fcntl.F_GETFL)
        try:
            fcntl.fcntl(opened.number, fcntl.F_SETFL, flags | os.O_DIRECT)
        except OSError as error:
            if not self._told_of_cache:
                self._told_of_cache = True
                log.warning("writes pass through the system's cache", path=path, error=str(error))
            return False
        return True

    def _close_later(self, number: int) -> None:
        # The last close of an unlinked file frees its blocks, which may take a while.
        with suppress(OSError):
            if self._closed:
                os.close(number)
            else:
                self._threads.run(partial(_close_quietly, number))

    # --- in a thread ------------------------------------------------------------------------------

    def _open_for_update(self, path: str, flags: int) -> Descriptor:
        """What is there stays readable when the file system has turned read-only."""
        try:
            return self._open_regular(path, flags)
        except OSError as error:
            if error.errno != errno.EROFS or flags & os.O_CREAT:
                raise
        return self._open_regular(path, _READ)

    def _open_regular(self, path: str, flags: int) -> Descriptor:
        number = os.open(path, flags, 0o600, dir_fd=self._root)
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            os.close(number)
            raise StorageFault(f"{path} is not a regular file")
        return Descriptor(number, found.st_size, self._close_later)

    def _read_whole(self, path: str) -> tuple[bytes, Descriptor | None]:
        opened = self._open_regular(path, _READ)
        try:
            data = read_at(opened.number, 0, opened.size_bytes)
        except OSError:
            os.close(opened.number)
            raise
        if len(data) <= PAYLOAD_SMALL_BYTES_MAX:
            return data, opened
        os.close(opened.number)
        return data, None

    def _publish(self, temporary: str, path: str, data: Buffer) -> None:
        root = self._root
        number = os.open(temporary, _CREATE, 0o600, dir_fd=root)
        try:
            try:
                write_all(number, data, 0)
                os.fdatasync(number)
            finally:
                os.close(number)
            os.rename(temporary, path, src_dir_fd=root, dst_dir_fd=root)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=root)
            raise

    def _rename(self, source: str, target: str) -> None:
        os.rename(source, target, src_dir_fd=self._root, dst_dir_fd=self._root)

    def _unlink(self, path: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(path, dir_fd=self._root)

    def _sync_directory(self, path: str) -> None:
        number = os.open(path, _DIRECTORY, dir_fd=self._root)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def _make_directories(self, path: str) -> None:
        names = path.split("/")
        for depth in range(1, len(names) + 1):
            directory, parent = "/".join(names[:depth]), "/".join(names[: depth - 1]) or "."
            made = self._make_directory(directory)
            if made or directory not in self._parents_synced:
                self._sync_directory(parent)
                self._parents_synced.add(directory)

    def _make_directory(self, path: str) -> bool:
        try:
            os.mkdir(path, 0o700, dir_fd=self._root)
        except FileExistsError:
            found = os.stat(path, dir_fd=self._root, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                raise
            return False
        return True

    def _list(self, path: str) -> list[str]:
        try:
            number = os.open(path, _DIRECTORY, dir_fd=self._root)
        except FileNotFoundError:
            return []
        try:
            return sorted(os.listdir(number))
        finally:
            os.close(number)

    def _list_sizes(self, path: str) -> list[tuple[str, int]]:
        try:
            number = os.open(path, _DIRECTORY, dir_fd=self._root)
        except FileNotFoundError:
            return []
        try:
            with os.scandir(number) as entries:
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(number)
        return sorted((name, what.st_size) for name, what in found if stat.S_ISREG(what.st_mode))

    def _info(self, path: str) -> FileInfo | None:
        try:
            found = os.stat(path, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return FileInfo(found.st_size, is_directory=stat.S_ISDIR(found.st_mode))


def _open_root(root: str) -> int:
    """The descriptor that all paths are resolved from; a new root's name is made durable."""
    path = os.path.abspath(root)
    above = [path]
    while not os.path.isdir(above[-1]):
        above.append(os.path.dirname(above[-1]))
    os.makedirs(path, 0o700, exist_ok=True)
    for made in above:
        number = os.open(os.path.dirname(made), _DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    return os.open(path, _DIRECTORY)


def _checked(path: str) -> str:
    """The path as the system takes it; one that could leave the root is a mistake of ours."""
    if not path:
        return "."
    assert "\0" not in path, path
    assert not {"", ".", ".."}.intersection(path.split("/")), path
    return path


def _close_quietly(number: int) -> None:
    with suppress(OSError):
        os.close(number)
