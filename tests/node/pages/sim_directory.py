"""A directory of a page store in memory: it records what is done, fails on demand, loses power.

Rules:
1.  Every change is appended to a history that all lives of the directory share: `crash_states.py`
    replays it.
2.  Faults: `fail` says, for the kind of a call, its number and its file, which error it raises.  A
    failed sync forgets about half of what it should have written: the page cache keeps showing it
    when the file is not opened directly, the medium never gets it, and the next sync is fine.
3.  A write that fails may have done a part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from ring.digest import Buffer
from ring.errors import Busy, HoldfastError, StorageFault
from ring.seams import BLOCK_BYTES

Fail = Callable[[str, str], BaseException | None]
"""Kind of a call (open, read, write, sync, ...) and name of the file; the error that it raises."""


class Killed(BaseException):
    """The process ends here: nobody catches it but the test."""


@dataclass(slots=True, eq=False)
class Inode:
    """A file.  content: what programs see.  medium: where a failed sync forgot something."""

    number: int
    content: bytearray = field(default_factory=bytearray)
    forgotten: dict[int, bytes] = field(default_factory=dict)  # block number to what the medium has
    dirty: dict[int, bytes] = field(default_factory=dict)  # what a block was before it was written


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    kind: "write", "resize", "sync", "forget" (of one block) of the file `inode`; "entry" and
    "directory" of the directory; "note" of a test.
    """

    kind: str
    inode: int = -1
    offset: int = 0
    data: bytes = b""
    name: str = ""
    note: object = None


@dataclass(slots=True)
class Medium:
    """What outlives a process."""

    entries: dict[str, Inode] = field(default_factory=dict)
    history: list[Step] = field(default_factory=list)
    inodes: int = 0
    exclusive: bool = False
    shared: int = 0
    rng: Random = field(default_factory=lambda: Random(0))
    fail: Fail = lambda kind, name: None

    def copy(self) -> Medium:
        """What is there, without a history."""
        entries = {
            name: Inode(inode.number, bytearray(inode.content))
            for name, inode in self.entries.items()
        }
        return Medium(entries=entries, inodes=self.inodes)

    def new_inode(self) -> Inode:
        self.inodes += 1
        return Inode(self.inodes)

    def record(self, kind: str, inode: int = -1, **what: object) -> None:
        self.history.append(Step(kind, inode, **what))  # type: ignore[arg-type]  # fields of Step

    def check(self, kind: str, name: str) -> None:
        error = self.fail(kind, name)
        if error is not None:
            raise error


class SimBlockFile:
    """node.pages.block_seam.BlockFile."""

    def __init__(self, medium: Medium, name: str, inode: Inode, *, direct: bool) -> None:
        self.direct = direct
        self._medium = medium
        self._name = name
        self._inode = inode
        self._open = True

    def read(self, buffer: memoryview, offset: int) -> int:
        self._check("read")
        seen = self._inode.content
        data = bytearray(seen[offset : offset + len(buffer)])
        if self.direct:
            assert offset % BLOCK_BYTES == len(buffer) % BLOCK_BYTES == 0
            for number, block in self._inode.forgotten.items():
                at = number * BLOCK_BYTES - offset
                if 0 <= at < len(data):
                    data[at : at + BLOCK_BYTES] = block[: len(data) - at]
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Buffer, offset: int) -> None:
        view = bytes(data)
        if self.direct:
            assert offset % BLOCK_BYTES == len(view) % BLOCK_BYTES == 0
        try:
            self._check("write")
        except HoldfastError:
            self._apply(view[: self._medium.rng.randrange(len(view) + 1)], offset)
            raise
        self._apply(view, offset)

    def sync(self) -> None:
        inode = self._inode
        try:
            self._check("sync")
        except HoldfastError:
            for number, before in inode.dirty.items():
                if self._medium.rng.random() < 0.5:
                    inode.forgotten[number] = before
                    self._medium.record("forget", inode.number, offset=number * BLOCK_BYTES)
            inode.dirty.clear()
            self._medium.record("sync", inode.number)
            raise
        inode.dirty.clear()
        self._medium.record("sync", inode.number)

    def allocate(self, size_bytes: int) -> None:
        self._check("allocate")
        if size_bytes > len(self._inode.content):
            self._resize(size_bytes)

    def truncate(self, size_bytes: int) -> None:
        self._check("truncate")
        self._resize(size_bytes)

    def punch(self, offset: int, size_bytes: int) -> None:
        self._check("punch")
        self._apply(bytes(size_bytes), offset)

    def size_bytes(self) -> int:
        return len(self._inode.content)

    def reopen(self) -> None:
        self._check("open")

    def close(self) -> None:
        self._open = False

    def _check(self, kind: str) -> None:
        assert self._open, f"{kind} of {self._name} after it was closed"
        self._medium.check(kind, self._name)

    def _resize(self, size_bytes: int) -> None:
        content = self._inode.content
        del content[size_bytes:]
        content.extend(bytes(size_bytes - len(content)))
        self._medium.record("resize", self._inode.number, offset=size_bytes)

    def _apply(self, data: bytes, offset: int) -> None:
        if not data:
            return
        content = self._inode.content
        content.extend(bytes(max(0, offset - len(content))))
        for number in range(offset // BLOCK_BYTES, -(-(offset + len(data)) // BLOCK_BYTES)):
            at = number * BLOCK_BYTES
            before = self._inode.forgotten.pop(number, None)
            if before is None:
                before = bytes(content[at : at + BLOCK_BYTES])
            self._inode.dirty.setdefault(number, before.ljust(BLOCK_BYTES, b"\0"))
        content[offset : offset + len(data)] = data
        self._medium.record("write", self._inode.number, offset=offset, data=data)


class SimDirectory:
    """node.pages.block_seam.BlockDirectory: one process's view of a medium."""

    def __init__(self, medium: Medium | None = None, *, direct: bool = True) -> None:
        self.medium = Medium() if medium is None else medium
        self._direct = direct
        self._held: str | None = None

    def open(
        self, name: str, *, create: bool = False, read_only: bool = False, direct: bool = False
    ) -> SimBlockFile:
        medium = self.medium
        inode = medium.entries.get(name)
        if inode is None and not create:
            raise FileNotFoundError(name)
        medium.check("open", name)
        if inode is None:
            inode = medium.entries[name] = medium.new_inode()
            medium.record("entry", inode.number, name=name)
        return SimBlockFile(medium, name, inode, direct=direct and self._direct)

    def rename(self, source: str, target: str) -> None:
        self.medium.check("rename", source)
        inode = self.medium.entries.pop(source)
        self.medium.entries[target] = inode
        self.medium.record("entry", inode.number, name=target, note=source)

    def unlink(self, name: str) -> None:
        self.medium.check("unlink", name)
        if self.medium.entries.pop(name, None) is not None:
            self.medium.record("entry", name=name)

    def sync(self) -> None:
        self.medium.check("sync", ".")
        self.medium.record("directory")

    def names(self) -> list[str]:
        return sorted(self.medium.entries)

    def lock(self, *, exclusive: bool) -> None:
        medium = self.medium
        if medium.exclusive or (exclusive and medium.shared):
            raise Busy("the page store is in use")
        if exclusive:
            medium.exclusive = True
            self._held = "exclusive"
        else:
            medium.shared += 1
            self._held = "shared"

    def close(self) -> None:
        if self._held == "exclusive":
            self.medium.exclusive = False
        elif self._held == "shared":
            self.medium.shared -= 1
        self._held = None

    def kill(self) -> SimDirectory:
        """The next process finds what this one left in the page cache; nothing is closed."""
        self.medium.exclusive, self.medium.shared = False, 0
        return SimDirectory(self.medium, direct=self._direct)


def failing(kind: str, number: int, error: BaseException | None = None, name: str = "") -> Fail:
    """The `number`-th call of a kind fails, counted from 0; "*" is any kind, "" any file."""
    seen = [0]

    def fail(called: str, of: str) -> BaseException | None:
        if kind not in {"*", called} or name not in {"", of}:
            return None
        seen[0] += 1
        fault = StorageFault(f"{called} {of}: injected") if error is None else error
        return fault if seen[0] == number + 1 else None

    return fail
