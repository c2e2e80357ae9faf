"""A directory as text: the manifest format of snapdir, as values.

One entry a line, five fields between single spaces: `TYPE PERM CHECKSUM SIZE PATH`.  The canonical
text has its entries in bytewise order of the path and a line feed after each; its BLAKE3 is the
name of the snapshot, and the blob under that name is the text.

Rules: an `Entry` that exists can be restored as it is, so whatever cannot be (a path that would
escape, a mode that is no mode, a checksum that is not BLAKE3) is refused where the entry is made.
A text is accepted in every variation that does not change the canonical text of what it says.

Never touches a file system; holdfast/tree.py does.

The format and the rules for checksums, sizes and reading are those of snapdir 1.12
(https://snapdir.org).  Stricter than snapdir, on purpose: paths, modes and checksums are checked,
and no path may occur twice or be both a file and a directory.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ring.digest import Algorithm, Digest
from ring.errors import InvalidManifest, TooLarge, UnsafePath
from ring.limits import GIB

# A reader holds the whole text.  This is about eight million entries, and stops whoever takes the
# digest of some huge blob for that of a manifest.
MANIFEST_BYTES_MAX: Final = 1 * GIB

ROOT: Final = "./"
MODE_MAX: Final = 0o7777
SIZE_BYTES_MAX: Final = (1 << 64) - 1

_SHOWN: Final = 200  # characters of a text that an error repeats
_CHECKSUM: Final = re.compile(r"[0-9a-f]{64}")
# A leading zero would vanish from the canonical text and change the snapshot's name.
_MODE: Final = re.compile(r"0|[1-7][0-7]{0,3}")
# Sizes are numbers, not text: snapdir too reads them and writes them anew.
_SIZE: Final = re.compile(r"\+?0*([0-9]{1,20})")


class Kind(enum.StrEnum):
    """What an entry stands for; the letter is the first field of its line.

    There is no letter for a symbolic link: a snapshot has what the link leads to, or nothing.
    """

    FILE = "F"
    DIRECTORY = "D"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or directory of a snapshot.

    `mode` holds the permission bits, 0 to 0o7777.  `checksum` is the column's text, 64 lower-case
    hex digits: for a file the BLAKE3 of its content, for a directory `directory_checksum`.
    `size_bytes` is what the walk saw (for a followed link the length of the link's text, so it says
    nothing certain about the content), for a directory the sum of its members.  `path` starts with
    `./`, and ends with `/` exactly when it is a directory's.

    Raises UnsafePath or InvalidManifest.
    """

    kind: Kind
    mode: int
    checksum: str
    size_bytes: int
    path: str

    def __post_init__(self) -> None:
        refuse_path(self.kind, self.path)
        if not 0 <= self.mode <= MODE_MAX:
            raise _invalid(self.path, f"mode {self.mode:o} is not between 0 and {MODE_MAX:o}")
        if not _CHECKSUM.fullmatch(self.checksum):
            shown = self.checksum[:_SHOWN]
            raise _invalid(self.path, f"checksum {shown!r} is not 64 lower-case hex digits")
        if not 0 <= self.size_bytes <= SIZE_BYTES_MAX:
            raise _invalid(self.path, f"size {self.size_bytes} does not fit into 64 bits")

    @property
    def digest(self) -> Digest:
        """The checksum as a value: the name of the blob that holds a file's content."""
        return Digest(Algorithm.BLAKE3, bytes.fromhex(self.checksum))

    @property
    def parent(self) -> str:
        """The path of the directory that this entry stands in; of the root, the root."""
        return parent_of(self.path)

    def line(self) -> str:
        """The entry as a line of text, without its line feed."""
        return f"{self.kind.value} {self.mode:o} {self.checksum} {self.size_bytes} {self.path}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Entries in canonical order, whatever order they were given in; may be empty.

    Directories need not be listed: `directories` knows them from what stands in them.

    Raises InvalidManifest (facts: path) for a path that occurs twice, or both as a file and as a
    directory.
    """

    entries: tuple[Entry, ...]
    # Path -> mode of every directory, parents first; None where no entry says the mode.
    directories: Mapping[str, int | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Code points compare like their UTF-8 bytes, so this is the bytewise order of the format.
        # A directory's slash takes part: `./a-b`, `./a.c`, `./a/`.
        entries = tuple(sorted(self.entries, key=lambda entry: entry.path))
        directories: dict[str, int | None] = {}
        before = ""
        for entry in entries:
            if entry.path == before:
                raise _invalid(entry.path, "is listed more than once")
            before = entry.path
            if entry.kind is Kind.DIRECTORY:
                directories[entry.path] = entry.mode
            path = entry.parent
            while path not in directories:
                directories[path] = None
                path = parent_of(path)
        for entry in entries:
            if f"{entry.path}/" in directories:
                raise _invalid(entry.path, "is both a file and a directory")
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "directories", dict(sorted(directories.items())))

    @property
    def files(self) -> tuple[Entry, ...]:
        """The entries that have content, in canonical order."""
        return tuple(entry for entry in self.entries if entry.kind is Kind.FILE)

    @property
    def id(self) -> Digest:
        """The snapshot's name: BLAKE3 of the canonical text."""
        return Digest.of(self.render())

    def render(self) -> bytes:
        """The canonical text in UTF-8; a single line feed when there are no entries."""
        text = "".join(f"{entry.line()}\n" for entry in self.entries)
        return (text or "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a text: any order, lines ended by LF or CR LF, the last one also by nothing.

        Empty lines and lines that start with `#` say nothing.  Raises TooLarge above
        MANIFEST_BYTES_MAX, else UnsafePath or InvalidManifest with the line's number (fact: line).
        """
        if len(data) > MANIFEST_BYTES_MAX:
            raise TooLarge(f"a manifest has at most {MANIFEST_BYTES_MAX} bytes, got {len(data)}")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start) + 1
            raise InvalidManifest(f"line {number}: not UTF-8", line=number) from None
        entries: list[Entry] = []
        line_of: dict[str, int] = {}
        # Not splitlines(), which also breaks at characters that may stand in a name.
        *lines, rest = text.split("\n")
        ended = [line.removesuffix("\r") for line in lines]
        for number, line in enumerate([*ended, rest], start=1):
            if not line or line.startswith("#"):
                continue
            try:
                entry = _read_line(line)
                first = line_of.setdefault(entry.path, number)
                if first != number:
                    raise _invalid(entry.path, f"is listed already in line {first}")
            except InvalidManifest as error:
                raise type(error)(f"line {number}: {error.detail}", line=number) from None
            entries.append(entry)
        try:
            return cls(tuple(entries))
        except InvalidManifest as error:
            number = line_of[str(error.facts["path"])]
            raise type(error)(f"line {number}: {error.detail}", line=number) from None


def directory_checksum(checksums: Iterable[str]) -> str:
    """What stands in the CHECKSUM column of a directory whose direct members have `checksums`.

    The distinct hex texts, sorted, joined without separator, hashed.  Names and modes do not enter.
    """
    return Digest.of("".join(sorted(frozenset(checksums))).encode()).hex


def with_directories(files: Iterable[Entry], modes: Mapping[str, int]) -> Manifest:
    """The manifest of a tree of which the files and all directories (path -> mode) are known.

    Sizes and checksums of the directories follow from their members.
    """
    entries = list(files)
    size_bytes = dict.fromkeys(modes, 0)
    members: dict[str, set[str]] = {path: set() for path in modes}

    def enter(entry: Entry) -> None:
        size_bytes[entry.parent] += entry.size_bytes
        members[entry.parent].add(entry.checksum)

    for entry in entries:
        assert entry.kind is Kind.FILE, entry.path
        enter(entry)
    # What stands in a directory sorts after it, so backwards every directory comes complete.
    for path in sorted(modes, reverse=True):
        checksum = directory_checksum(members[path])
        entry = Entry(Kind.DIRECTORY, modes[path], checksum, size_bytes[path], path)
        if path != ROOT:
            enter(entry)
        entries.append(entry)
    return Manifest(tuple(entries))


def parent_of(path: str) -> str:
    """The directory that `path` stands in; the root stands in itself."""
    return ROOT if path == ROOT else path[: path.rindex("/", 0, -1) + 1]


def refuse_path(kind: Kind, path: str) -> None:
    """Raise UnsafePath or InvalidManifest (fact: path) unless `path` can be written and restored.

    A backslash is a character like any other.
    """
    if "\0" in path:
        raise _unsafe(path, "holds a NUL")
    if not path.startswith(ROOT):
        what = "is absolute" if path.startswith("/") else "does not start with './'"
        raise _unsafe(path, what)
    if path.endswith("/") != (kind is Kind.DIRECTORY):
        raise _invalid(path, "ends with '/'" if kind is Kind.FILE else "does not end with '/'")
    for name in path.rstrip("/").split("/")[1:]:
        if name in {"", ".", ".."}:
            raise _unsafe(path, f"has the component {name!r}")
    if path != ROOT and path.endswith("//"):
        raise _unsafe(path, "has the component ''")
    if "\n" in path:
        raise _invalid(path, "holds a line feed, which ends the line")
    if path.endswith("\r"):
        raise _invalid(path, "ends with a carriage return, which readers take for the line's end")
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError:
            raise _invalid(path, "is not UTF-8") from None


def _read_line(line: str) -> Entry:
    fields = line.split(" ", 4)
    if len(fields) < 5:  # noqa: PLR2004 - the five fields of the format
        shown = line[:_SHOWN]
        raise InvalidManifest(f"{shown!r} is not of the form TYPE PERM CHECKSUM SIZE PATH")
    kind, mode, checksum, size, path = fields
    if kind not in {Kind.FILE.value, Kind.DIRECTORY.value}:
        raise InvalidManifest(f"type {kind[:_SHOWN]!r} is neither F nor D")
    if not _MODE.fullmatch(mode):
        raise InvalidManifest(f"mode {mode[:_SHOWN]!r} is not octal between 0 and {MODE_MAX:o}")
    digits = _SIZE.fullmatch(size)
    if digits is None:
        raise InvalidManifest(f"size {size[:_SHOWN]!r} is not a number of bytes below 2^64")
    if not path:
        raise InvalidManifest("the path is empty")
    return Entry(Kind(kind), int(mode, 8), checksum, int(digits[1]), path)


def _invalid(path: str, what: str) -> InvalidManifest:
    return InvalidManifest(f"{path[:_SHOWN]!r} {what}", path=path)


def _unsafe(path: str, what: str) -> UnsafePath:
    return UnsafePath(f"{path[:_SHOWN]!r} {what}", path=path)
