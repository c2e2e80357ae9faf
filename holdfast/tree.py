"""A directory on disk as a manifest, and the content of its files.

Rules, which are those of snapdir 1.12 (https://snapdir.org), so that both give a tree one name:
links are followed, an entry that is a link has the mode and the size of the link itself and the
content of its target; what is neither file nor directory is left out, and so is a link that leads
nowhere; a loop of links is followed until the system refuses.  Names that are not UTF-8 are
refused; names that a manifest cannot hold are refused too, where snapdir writes an unreadable one.
A link that leads through a file as if it were a directory leads nowhere; snapdir gives up over it.

Bounds: content is read in pieces, what is kept is some hundred bytes an entry, and what is reached
through links, where loops multiply, has a limit.

Never writes.  Blocks while it works: the command runs it before it starts to speak to a gateway.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from holdfast.local_fault import local_fault, local_faults
from holdfast.manifest import ROOT, Entry, Kind, Manifest, refuse_path, with_directories
from ring.digest import Algorithm
from ring.errors import InvalidManifest, LocalFault
from ring.limits import MIB

PIECE_BYTES: Final = 1 * MIB

# A few links that lead upwards name millions of paths; 2^40 of them are no snapshot anybody wants.
LINKED_ENTRIES_MAX: Final = 1_000_000

# How a link fails when there is nothing at its end.
_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

# Called with what was done since the start: bytes of content, files.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory as it was walked.  `directory` is absolute."""

    directory: str
    manifest: Manifest

    def source(self, entry: Entry) -> str:
        """The absolute path of a file of the manifest, for `read_source`."""
        # Through bytes: names on disk are UTF-8 here, whatever the locale makes of a str.
        root = os.fsencode(self.directory)
        return os.fsdecode(os.path.join(root, entry.path.removeprefix(ROOT).encode()))

    def sources(self) -> Iterator[tuple[Entry, str]]:
        """Every file with its absolute path, in the manifest's order."""
        for entry in self.manifest.files:
            yield entry, self.source(entry)


def scan(
    directory: str,
    *,
    follow: bool = True,
    progress: Progress | None = None,
    linked_entries_max: int = LINKED_ENTRIES_MAX,
) -> Tree:
    """Walk `directory` and hash what is in it.

    `follow=False` leaves links out.  A file that changes later shows when it is stored: its bytes
    no longer hash to the entry's checksum.

    Raises LocalFault (no directory, not readable, a file changed while it was hashed) and
    InvalidManifest (a name that no manifest can hold, too much behind links).
    """
    with local_faults("find", directory):
        # Drops slashes at the end, which would follow a link; keeps `..`, which may stand behind
        # one.
        root = str(PurePath(os.getcwd(), directory))
    walk = _Walk(root, follow=follow, progress=progress, linked_entries_max=linked_entries_max)
    return Tree(root, walk.run())


async def read_source(path: str) -> AsyncGenerator[bytes, None]:
    """The content of a file in pieces of PIECE_BYTES, the last one shorter.  Raises LocalFault."""
    descriptor = _open_file(os.fsencode(path))
    try:
        while True:
            with local_faults("read", path):
                piece = os.read(descriptor, PIECE_BYTES)
            if not piece:
                return
            yield piece
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory yet to be listed: where it is, and its path in the manifest."""

    where: bytes
    path: str
    linked: bool  # reached through a link


class _Walk:
    """One walk: what was found, and what was counted."""

    def __init__(
        self, root: str, *, follow: bool, progress: Progress | None, linked_entries_max: int
    ) -> None:
        self.root = root
        self.follow = follow
        self.progress = progress
        self.linked_entries_max = linked_entries_max
        self.files: list[Entry] = []
        self.modes: dict[str, int] = {}
        self.linked_entries = 0
        self.hashed_bytes = 0
        # (device, inode, size, mtime) -> checksum of what links lead to, often more than once.
        self.checksums: dict[tuple[int, int, int, int], str] = {}
        self.piece = bytearray(PIECE_BYTES)

    def run(self) -> Manifest:
        where = os.fsencode(self.root)
        with local_faults("look at", self.root):
            mode = os.lstat(where).st_mode
            if not stat.S_ISDIR(os.stat(where).st_mode):
                raise LocalFault(f"{self.root!r} is not a directory")
        self.modes[ROOT] = stat.S_IMODE(mode)
        # Not recursive: a tree may be deeper than Python's stack.
        folders = [_Folder(where, ROOT, linked=False)]
        while folders:
            folders.extend(self._list(folders.pop()))
        return with_directories(self.files, self.modes)

    def _list(self, folder: _Folder) -> list[_Folder]:
        """Take a directory's files, and return its directories, the first one last."""
        folders: list[_Folder] = []
        with local_faults("list", folder.where), os.scandir(folder.where) as found:
            items = sorted(found, key=lambda item: item.name)
        for item in items:
            name = _decoded(item)
            with local_faults("look at", item.path):
                status = item.stat(follow_symlinks=False)
            target: os.stat_result | None = status
            linked = folder.linked
            if stat.S_ISLNK(status.st_mode):
                target = _target(item.path) if self.follow else None
                linked = True
            if target is None:
                continue
            path = folder.path + name
            if stat.S_ISDIR(target.st_mode):
                refuse_path(Kind.DIRECTORY, f"{path}/")
                self.modes[f"{path}/"] = stat.S_IMODE(status.st_mode)
                folders.append(_Folder(item.path, f"{path}/", linked))
            elif stat.S_ISREG(target.st_mode):
                refuse_path(Kind.FILE, path)
                self._file(item.path, path, status, target, linked=linked)
            else:
                continue
            self._count(path, linked=linked)
        folders.reverse()
        return folders

    def _file(
        self,
        where: bytes,
        path: str,
        status: os.stat_result,
        target: os.stat_result,
        *,
        linked: bool,
    ) -> None:
        key = (target.st_dev, target.st_ino, target.st_size, target.st_mtime_ns)
        checksum = self.checksums.get(key) if linked else None
        if checksum is None:
            checksum = self._hash(where, target, follow=stat.S_ISLNK(status.st_mode))
            if linked:
                self.checksums[key] = checksum
        mode = stat.S_IMODE(status.st_mode)
        self.files.append(Entry(Kind.FILE, mode, checksum, status.st_size, path))
        self._report()

    def _hash(self, where: bytes, expected: os.stat_result, *, follow: bool) -> str:
        """The checksum of a file's content, which must still be what `expected` tells of."""
        hasher = Algorithm.BLAKE3.hasher()
        descriptor = _open_file(where, 0 if follow else os.O_NOFOLLOW)
        with (
            local_faults("read", where),
            open(descriptor, "rb", buffering=0) as file,
            memoryview(self.piece) as piece,
        ):
            while size_bytes := file.readinto(piece):
                hasher.update(piece[:size_bytes])
                self.hashed_bytes += size_bytes
                self._report()
            found = os.fstat(descriptor)
        if (found.st_size, found.st_mtime_ns) != (expected.st_size, expected.st_mtime_ns):
            raise LocalFault(f"{os.fsdecode(where)!r} changed while it was read")
        return hasher.digest().hex()

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.hashed_bytes, len(self.files))

    def _count(self, path: str, *, linked: bool) -> None:
        self.linked_entries += linked
        if self.linked_entries > self.linked_entries_max:
            raise InvalidManifest(
                f"more than {self.linked_entries_max} entries stand behind symbolic links, the last"
                f" one {path[:200]!r}; links that lead upwards multiply what is below them",
                path=path,
            )


def _open_file(where: bytes, flags: int = 0) -> int:
    """A descriptor to read a regular file; never waits for the writer of a pipe."""
    with local_faults("open", where):
        descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LocalFault(f"{os.fsdecode(where)!r} is no longer a regular file")
    return descriptor


def _decoded(item: os.DirEntry[bytes]) -> str:
    try:
        return item.name.decode()
    except UnicodeDecodeError:
        shown = os.fsdecode(item.path)
        raise InvalidManifest(f"the name of {shown!r} is not UTF-8", path=shown) from None


def _target(where: bytes) -> os.stat_result | None:
    """What a link leads to; None when it leads nowhere."""
    try:
        return os.stat(where)
    except OSError as error:
        if error.errno in _NOWHERE:
            return None
        raise local_fault(error, "follow", where) from error
