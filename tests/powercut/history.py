"""What each item of a store may be after a crash, from what a process said while it ran.

A line: a word, the item, a state, and how many entries the write log had at that moment (0 without
a log).  `may`: something was begun that can make the item this.  `must`: it was acknowledged, and
nothing else is allowed any more.  `found`: a start read it, which is a promise too.

Every item is changed by one writer, one change after the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from tests.powercut.write_log import Counter

MAY: Final = "may"
MUST: Final = "must"
FOUND: Final = "found"

State = tuple[int, ...]
NOTHING: Final[State] = ()


class Wrong(AssertionError):
    """A promise that was not kept."""


class Line(Struct, frozen=True, array_like=True):
    """See the module."""

    word: str
    item: int
    state: State
    at: int


class Teller:
    """Writes a line at a time; what was written is kept when the process is killed."""

    def __init__(self, path: str, counter_path: str | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._counter = None if counter_path is None else Counter(counter_path)

    def say(self, word: str, item: int, state: State) -> None:
        at = 0 if self._counter is None else self._counter.now()
        os.write(self._file, f"{json.dumps((word, item, state, at))}\n".encode())

    def close(self) -> None:
        os.close(self._file)


def lines_of(path: str) -> Iterator[Line]:
    """Those that are whole."""
    with open(path, "rb") as file:
        for text in file:
            if text.endswith(b"\n"):
                word, item, state, at = json.loads(text)
                yield Line(word, item, tuple(state), at)


class History:
    """Everything that was said, from the beginning of a disk.

    allowed: what each item may be now; items that were never spoken of are NOTHING.
    acks: where the write log was when something was acknowledged.
    """

    def __init__(self, allowed: dict[int, frozenset[State]] | None = None) -> None:
        self.allowed = dict(allowed or {})
        self.acks: list[int] = []
        self._begins = dict(self.allowed)
        self._lines: dict[int, list[Line]] = {}

    def add(self, lines: Iterator[Line]) -> None:
        """Go on; raises Wrong when a start found what was not allowed."""
        for line in lines:
            now = self.allowed.get(line.item, frozenset({NOTHING}))
            if line.word == FOUND and line.state not in now:
                raise Wrong(f"item {line.item} was found {line.state}, allowed {sorted(now)}")
            if line.word == MUST:
                self.acks.append(line.at)
            self.allowed[line.item] = _after(now, line)
            self._lines.setdefault(line.item, []).append(line)

    def at(self, position: int) -> dict[int, frozenset[State]]:
        """What each item may be when the first `position` entries of the log reached the disk."""
        allowed = dict(self._begins)
        for item, lines in self._lines.items():
            now = allowed.get(item, frozenset({NOTHING}))
            for line in lines:
                if line.at < position or (line.at == position and line.word != MAY):
                    now = _after(now, line)
            allowed[item] = now
        return allowed


def _after(now: frozenset[State], line: Line) -> frozenset[State]:
    return now | {line.state} if line.word == MAY else frozenset({line.state})
