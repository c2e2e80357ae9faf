"""What a power cut leaves: the history of a simulated directory, replayed.

Rules:
1.  What a sync covered stays.  Of every other write each sector (or each 4 KiB block) survives or
    not by itself, in any order; a new length may survive without the bytes.
2.  Entries of the directory survive by themselves or in order, until it is synced; the removal of a
    renamed file's old name never without the new one.
3.  How much survives, and in which grain, is drawn anew for each state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.node.pages.sim_directory import Inode, Medium, SimDirectory, Step

STATES = int(os.environ.get("HOLDFAST_CRASH_STATES", "8000"))
"""How many states a test of crash states looks at; thousands by default, any number for a soak."""

BLOCK = 4096


@dataclass(slots=True)
class DiskFile:
    """Bytes on the medium, and changes that are not."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Step] = field(default_factory=list)

    def sync(self) -> None:
        for step in self.pending:
            _apply(self.durable, step)
        self.pending.clear()

    def forget(self, offset: int) -> None:
        """A failed sync dropped this block: whatever was written to it never arrives."""
        kept = []
        for step in self.pending:
            if step.kind != "write":
                kept.append(step)
                continue
            kept += [part for part in _parts(step, BLOCK) if part.offset // BLOCK * BLOCK != offset]
        self.pending = kept

    def after(self, rng: Random, survives: float, grain: int) -> bytearray:
        content = bytearray(self.durable)
        for step in self.pending:
            if step.kind == "resize":
                if rng.random() < survives:
                    _apply(content, step)
                continue
            end = step.offset + len(step.data)
            for part in _parts(step, grain):
                if rng.random() < survives:
                    _apply(content, part)
            if rng.random() < survives:
                content.extend(bytes(max(0, end - len(content))))
        return content


class Disk:
    """The medium while a history is replayed, beginning with what `medium` holds durably."""

    def __init__(self, medium: Medium | None = None) -> None:
        self._files: dict[int, DiskFile] = {}
        self._entries: dict[str, int] = {}
        self._pending: list[Step] = []
        for name, inode in ({} if medium is None else medium.entries).items():
            self._files[inode.number] = DiskFile(bytearray(inode.content))
            self._entries[name] = inode.number

    def do(self, step: Step) -> None:
        match step.kind:
            case "write" | "resize":
                self._file(step.inode).pending.append(step)
            case "sync":
                self._file(step.inode).sync()
            case "forget":
                self._file(step.inode).forget(step.offset)
            case "entry":
                self._pending.append(step)
            case "directory":
                for change in self._pending:
                    _enter(self._entries, change)
                self._pending.clear()

    def cut(self, rng: Random) -> SimDirectory:
        """What the next start may find."""
        survives = rng.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        grain = rng.choice((512, BLOCK))
        entries = dict(self._entries)
        count = rng.randrange(len(self._pending) + 1)
        in_order = rng.random() < 0.5
        for number, change in enumerate(self._pending):
            if number < count if in_order else rng.random() < survives:
                _enter(entries, change)
        medium = Medium(inodes=max(self._files, default=0), rng=rng)
        for name, inode in entries.items():
            content = self._file(inode).after(rng, survives, grain)
            medium.entries[name] = Inode(inode, content)
        return SimDirectory(medium)

    def _file(self, inode: int) -> DiskFile:
        return self._files.setdefault(inode, DiskFile())


@dataclass(slots=True)
class Allowed:
    """Which versions of each frame may be found: 0 for none."""

    versions: dict[int, set[int]] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)

    def note(self, note: object) -> None:
        """("wrote", number, version) before it begins; ("flushed",) when it has returned."""
        match note:
            case ("wrote", int(number), int(version)):
                self.versions.setdefault(number, {0}).add(version)
                self.newest[number] = version
            case ("flushed",):
                self.versions = {number: {version} for number, version in self.newest.items()}
            case _:
                raise AssertionError(note)

    def copy(self) -> Allowed:
        return Allowed({n: set(v) for n, v in self.versions.items()}, dict(self.newest))


def states(
    history: Sequence[Step],
    rng: Random,
    count: int,
    medium: Medium | None = None,
    allowed: Allowed | None = None,
) -> Iterator[tuple[SimDirectory, Allowed]]:
    """About `count` states spread over all boundaries of a history, at least one at each.

    What is allowed changes under the hands of who asks for the next state.
    """
    changes = sum(step.kind != "note" for step in history) or 1
    share = count / changes
    disk, owed = Disk(medium), 0.0
    allowed = Allowed() if allowed is None else allowed
    for step in history:
        if step.kind == "note":
            allowed.note(step.note)
            continue
        disk.do(step)
        owed += max(1.0, share)
        while owed >= 1:
            owed -= 1
            yield disk.cut(rng), allowed
    yield disk.cut(rng), allowed


def _apply(content: bytearray, step: Step) -> None:
    if step.kind == "resize":
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
        return
    content.extend(bytes(max(0, step.offset - len(content))))
    content[step.offset : step.offset + len(step.data)] = step.data


def _parts(step: Step, grain: int) -> Iterator[Step]:
    at, end = step.offset, step.offset + len(step.data)
    while at < end:
        stop = min(end, at - at % grain + grain)
        data = step.data[at - step.offset : stop - step.offset]
        yield Step("write", step.inode, at, data)
        at = stop


def _enter(entries: dict[str, int], change: Step) -> None:
    if change.inode < 0:
        entries.pop(change.name, None)
        return
    entries[change.name] = change.inode
    if isinstance(change.note, str) and entries.get(change.note) == change.inode:
        del entries[change.note]
