"""What a simulated disk holds, and what of it a power cut leaves.

A tree of files and directories in two versions at once: what programs see (the page cache) and what
is durable.  Between the two lie *changes*: writes and truncations of a file until it is synced,
entries of a directory until that directory is synced.

Rules of a power cut:
1.  Durable stays.  Every other change survives or not by the seed, each by itself and in its order:
    nobody promised an order between un-synced changes.
2.  A write that survives may be torn: only its first sectors, or room without content (zeros), or
    any of its blocks and not the others.
3.  A rename is two changes, the entry at the target and its removal at the source; the removal
    never survives without the entry unless the source's directory alone was synced.
4.  A sync covers the changes that were made before it began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

SECTOR_BYTES = 512
BLOCK_BYTES = 4096


@dataclass(slots=True)
class Write:
    """Bytes at an offset."""

    offset: int
    data: bytes


@dataclass(slots=True)
class Resize:
    """A new length."""

    size_bytes: int


@dataclass(slots=True)
class Weather:
    """How one power cut treats what was not durable: drawn once for each."""

    survives: float
    tears: float
    rng: Random
    fates: dict[int, bool] = field(default_factory=dict)  # of changes of directories, by id

    @classmethod
    def drawn(cls, rng: Random) -> Weather:
        """From all is lost over anything goes to all was written in time."""
        return cls(rng.choice((0.0, 0.2, 0.5, 0.8, 1.0)), rng.choice((0.0, 0.5)), rng)

    def spares(self) -> bool:
        """Whether the next change survives."""
        return bool(self.survives) and self.rng.random() < self.survives


class FileNode:
    """An inode.  `content` is what programs read."""

    __slots__ = ("_changes", "_committed", "content", "durable")

    def __init__(self, durable: bytes = b"") -> None:
        self.content = bytearray(durable)
        self.durable = bytearray(durable)
        self._changes: list[Write | Resize] = []
        self._committed = 0

    def write(self, offset: int, data: bytes) -> None:
        """Into the cache."""
        self._change(Write(offset, data))

    def resize(self, size_bytes: int) -> None:
        """In the cache."""
        self._change(Resize(size_bytes))

    def mark(self) -> int:
        """How many changes there ever were: what a sync that starts now covers."""
        return self._committed + len(self._changes)

    def commit(self, mark: int) -> None:
        """The changes before `mark` are durable."""
        for change in self._take(mark):
            _apply(self.durable, change)

    def forsake(self, mark: int, rng: Random) -> None:
        """The changes before `mark` count as synced, and some of them never reach the medium.

        What Linux does when an fsync fails: the pages are clean afterwards, the next fsync is fine.
        """
        for change in self._take(mark):
            if rng.random() < 0.5:
                _apply(self.durable, change)

    def flip(self, bit: int) -> None:
        """Rot: one bit of what is stored, on the medium and in what is read from it."""
        offset, mask = bit // 8, 1 << bit % 8
        for version in (self.content, self.durable):
            if offset < len(version):
                version[offset] ^= mask

    def smash(self, offset: int, data: bytes) -> None:
        """Other bytes on the medium and in what is read from it; the length stays."""
        for version in (self.content, self.durable):
            end = min(len(version), offset + len(data))
            if offset < end:
                version[offset:end] = data[: end - offset]

    def after(self, weather: Weather) -> FileNode:
        """The file that a power cut leaves."""
        survivor = bytearray(self.durable)
        for change in self._changes:
            if weather.spares():
                for part in _torn(change, weather):
                    _apply(survivor, part)
        return FileNode(bytes(survivor))

    def _change(self, change: Write | Resize) -> None:
        _apply(self.content, change)
        self._changes.append(change)

    def _take(self, mark: int) -> list[Write | Resize]:
        count = max(0, mark - self._committed)
        taken, self._changes = self._changes[:count], self._changes[count:]
        self._committed += len(taken)
        return taken


@dataclass(slots=True, eq=False)
class Entry:
    """A change of a directory: `name` is `node` from now on, or nothing.

    needs: the entry elsewhere without which this removal does not survive (a rename).
    """

    name: str
    node: Node | None
    needs: Entry | None = None
    durable: bool = False

    def survives(self, weather: Weather) -> bool:
        """Whether it survives this power cut; asked again it says the same."""
        if self.durable:
            return True
        fate = weather.fates.get(id(self))
        if fate is None:
            fate = weather.spares() and (self.needs is None or self.needs.survives(weather))
            weather.fates[id(self)] = fate
        return fate


@dataclass(slots=True, eq=False)
class DirectoryNode:
    """Names and what they stand for."""

    content: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)
    changes: list[Entry] = field(default_factory=list)
    committed: int = 0

    def set(self, entry: Entry) -> None:
        """In the cache."""
        _enter(self.content, entry)
        self.changes.append(entry)

    def mark(self) -> int:
        """See FileNode."""
        return self.committed + len(self.changes)

    def commit(self, mark: int) -> None:
        """See FileNode."""
        count = max(0, mark - self.committed)
        taken, self.changes = self.changes[:count], self.changes[count:]
        self.committed += len(taken)
        for entry in taken:
            entry.durable = True
            _enter(self.durable, entry)

    def after(self, weather: Weather, seen: dict[int, FileNode]) -> DirectoryNode:
        """The tree that a power cut leaves; `seen` keeps two names of one file one file."""
        survivor = dict(self.durable)
        for entry in self.changes:
            if entry.survives(weather):
                _enter(survivor, entry)
        nodes: dict[str, Node] = {}
        for name, node in survivor.items():
            if isinstance(node, DirectoryNode):
                nodes[name] = node.after(weather, seen)
            else:
                if id(node) not in seen:
                    seen[id(node)] = node.after(weather)
                nodes[name] = seen[id(node)]
        return DirectoryNode(dict(nodes), dict(nodes))

    def durable_copy(self) -> DirectoryNode:
        """Another tree with what is durable of this one."""
        return self.after(Weather(survives=0.0, tears=0.0, rng=_NEVER_ASKED), {})

    def files(self, prefix: str = "") -> Iterator[tuple[str, FileNode]]:
        """Every file below with its path, in order."""
        for name in sorted(self.content):
            node = self.content[name]
            if isinstance(node, DirectoryNode):
                yield from node.files(f"{prefix}{name}/")
            else:
                yield prefix + name, node


Node = FileNode | DirectoryNode
_NEVER_ASKED = Random(0)  # nothing survives by chance where nothing that is not durable does


def after_power_cut(root: DirectoryNode, rng: Random) -> DirectoryNode:
    """The tree that is found at the next start."""
    return root.after(Weather.drawn(rng), {})


def _apply(version: bytearray, change: Write | Resize) -> None:
    if isinstance(change, Resize):
        del version[change.size_bytes :]
        version.extend(bytes(change.size_bytes - len(version)))
        return
    version.extend(bytes(max(0, change.offset - len(version))))
    version[change.offset : change.offset + len(change.data)] = change.data


def _torn(change: Write | Resize, weather: Weather) -> Iterator[Write | Resize]:
    """What of a change survives."""
    if isinstance(change, Resize) or weather.rng.random() >= weather.tears:
        yield change
        return
    data = change.data
    if len(data) > BLOCK_BYTES and weather.rng.random() < 0.5:
        for at in range(0, len(data), BLOCK_BYTES):
            if weather.rng.random() < 0.5:
                yield Write(change.offset + at, data[at : at + BLOCK_BYTES])
        return
    kept = data[: SECTOR_BYTES * weather.rng.randrange(len(data) // SECTOR_BYTES + 1)]
    lost = bytes(len(data) - len(kept)) if weather.rng.random() >= 0.5 else b""
    yield Write(change.offset, kept + lost)


def _enter(entries: dict[str, Node], entry: Entry) -> None:
    entries.pop(entry.name, None)
    if entry.node is not None:
        entries[entry.name] = entry.node
