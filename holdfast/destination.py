"""A directory that a tree is restored into, and nothing outside it.

Rules:
- Every path is walked from the directory's own descriptor, one component at a time, and a component
  that is a symbolic link is refused when it is opened, not before: nobody can slip one in between.
- What is written goes to a new file of an unused name in the directory where it belongs, and takes
  the place of the old one, whatever that is, when it is complete and on the disk.
- Modes are set through descriptors, never by name.

The directory itself may be reached through a link: its user named it.  Decides nothing about
content; holdfast/restore.py does.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from holdfast.local_fault import local_fault, local_faults
from holdfast.manifest import ROOT, parent_of
from ring.errors import HoldfastError, LocalFault, UnsafePath

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Never waits for the writer of a pipe.
_OLD_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_OWNER_ALL: Final = 0o700
_ALL: Final = 0o777


class Destination:
    """An open directory, made when it was not there; a context manager.

    Paths are those of a manifest (`./a/b`, directories end in `/`).  `reserved` are the paths of
    all files that will be written: no temporary name is one of them.

    Everything here raises LocalFault or DiskFull, and UnsafePath for a path that passes through a
    symbolic link.
    """

    def __init__(self, directory: str, reserved: Collection[str]) -> None:
        self.directory = directory
        self.reserved = reserved
        self._numbers = itertools.count()
        with local_faults("make", directory):
            _make_directory(os.path.join(os.getcwd(), directory))
        with local_faults("open", directory):
            self._root = os.open(directory, _FOLDER & ~os.O_NOFOLLOW)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def make(self, path: str, mode: int | None) -> None:
        """Make sure that a directory is there and can be written into; its parent is there.

        `mode` is what it will get from `settle`; until then a new one is its owner's alone.
        """
        if path != ROOT:
            with (
                self._folder(parent_of(path)) as parent,
                local_faults("make", path),
                contextlib.suppress(FileExistsError),
            ):
                os.mkdir(_name(path), _ALL if mode is None else _OWNER_ALL, dir_fd=parent)
        with self._folder(path) as folder, local_faults("open up", path):
            found = stat.S_IMODE(os.fstat(folder).st_mode)
            if mode is not None and found & _OWNER_ALL != _OWNER_ALL:
                os.fchmod(folder, found | _OWNER_ALL)

    def settle(self, path: str, mode: int | None) -> None:
        """Give a directory its mode, if it has one, and make its names durable."""
        with self._folder(path) as folder, local_faults("settle", path):
            if mode is not None:
                os.fchmod(folder, mode)
            os.fsync(folder)

    def find(self, path: str) -> int | None:
        """A descriptor to read the file that is there; None for anything that is not one."""
        with self._folder(parent_of(path)) as folder:
            try:
                descriptor = os.open(_name(path), _OLD_FILE, dir_fd=folder)
            except OSError:
                return None  # then it is written anew, which says in words what is wrong
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def adopt(self, path: str, descriptor: int, mode: int) -> bool:
        """Give a file that `find` found its mode and make it durable; False if it cannot stay.

        A file with a second name, or somebody else's, may be at home outside this directory, and is
        left as it is.
        """
        with local_faults("keep", path):
            status = os.fstat(descriptor)
            if stat.S_IMODE(status.st_mode) != mode:
                if status.st_nlink > 1 or status.st_uid != os.geteuid():
                    return False
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        return True

    def write(self, path: str) -> PendingFile:
        """A new file that will take `path` when it is committed; a context manager."""
        folder = self._open_folder(parent_of(path))
        try:
            while True:
                name = f".holdfast-{os.getpid()}-{next(self._numbers)}.tmp"
                if parent_of(path) + name in self.reserved:
                    continue
                with local_faults("write", path), contextlib.suppress(FileExistsError):
                    descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
                    return PendingFile(path, folder, descriptor, name)
        except BaseException:
            os.close(folder)
            raise

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        descriptor = self._open_folder(path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_folder(self, path: str) -> int:
        """A descriptor of a directory below, reached without passing through any link."""
        with local_faults("enter", path):
            descriptor = os.dup(self._root)
        reached = ROOT
        for component in path.split("/")[1:-1]:
            name = component.encode()
            reached += f"{component}/"
            above = descriptor
            try:
                descriptor = os.open(name, _FOLDER, dir_fd=above)
            except OSError as error:
                raise _refusal(reached, name, above, error) from error
            finally:
                os.close(above)
        return descriptor


class PendingFile:
    """A file under a temporary name, open to be written; gone again unless it is committed.

    A context manager.  Owns two descriptors: its own, and that of the directory where it belongs.
    """

    def __init__(self, path: str, folder: int, descriptor: int, name: str) -> None:
        self.path = path
        self._folder = folder
        self._descriptor = descriptor
        self._name: str | None = name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
        try:
            if self._name is not None:
                with contextlib.suppress(OSError):  # what brought us here is worth more
                    os.unlink(self._name, dir_fd=self._folder)
        finally:
            os.close(self._folder)

    def write(self, piece: bytes) -> None:
        """Append bytes.  Raises LocalFault or DiskFull."""
        with local_faults("write", self.path), memoryview(piece) as rest:
            done = 0
            while done < len(rest):
                done += os.write(self._descriptor, rest[done:])

    def commit(self, mode: int) -> None:
        """Set the mode, wait for the disk, take the place.  Raises LocalFault or DiskFull."""
        assert self._name is not None, "committed twice"
        with local_faults("write", self.path):
            # After the last byte: writing takes setuid and setgid away.
            os.fchmod(self._descriptor, mode)
            os.fsync(self._descriptor)
            os.rename(
                self._name, _name(self.path), src_dir_fd=self._folder, dst_dir_fd=self._folder
            )
        self._name = None


def _make_directory(directory: str) -> None:
    """Make a directory and what is missing above it, each durable in its parent."""
    if os.path.isdir(directory):
        return
    parent = os.path.dirname(directory)
    _make_directory(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(path: str) -> bytes:
    """The last component as the system knows it: UTF-8, whatever the locale says."""
    return path.removesuffix("/").rpartition("/")[2].encode()


def _refusal(path: str, name: bytes, folder: int, error: OSError) -> HoldfastError:
    """Why a component could not be entered, in words."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        with contextlib.suppress(OSError):
            if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
                return UnsafePath(
                    f"{path!r} is a symbolic link in the destination, and is not followed",
                    path=path,
                )
        return LocalFault(f"{path!r} is in the way: it is not a directory")
    return local_fault(error, "enter", path)
