"""What is on the disk when the power fails, by a write log and a seed.

Everything that a finished flush covers is there.  Of the writes after it each is dropped, kept or
torn in pieces of 4 KiB, whatever came before or after it.
"""

from __future__ import annotations

import enum
import os
from contextlib import suppress
from random import Random
from typing import Final

from tests.powercut.write_log import Flush, Write, WriteLog

PIECE_BYTES: Final = 4096


class Fate(enum.Enum):
    """What happens to the writes that no flush covers."""

    DROPPED = "dropped"  # all of them
    KEPT = "kept"  # all of them: the order of the log
    SCATTERED = "scattered"  # each by itself
    TORN = "torn"  # each piece by itself


_FATES: Final = (
    Fate.DROPPED, Fate.KEPT, *(Fate.SCATTERED,) * 3, *(Fate.TORN,) * 3,
)


class CrashImage:
    """Makes the image of one state after another, in order of their positions.

    `before` is the image before the log, `scratch` becomes a copy of it for our own use, `target`
    is replaced by each state.
    """

    def __init__(self, log: WriteLog, before: str, scratch: str, target: str) -> None:
        self._log = log
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._base = os.open(scratch, flags, 0o600)
        self._target = os.open(target, flags, 0o600)
        first = os.open(before, os.O_RDONLY | os.O_CLOEXEC)
        copy_sparse(first, self._base)
        copy_sparse(first, self._target)
        os.close(first)
        self._position = 0
        self._covered = 0  # writes that are durable
        self._pending: list[Write] = []

    def close(self) -> None:
        os.close(self._base)
        os.close(self._target)

    def make(self, position: int, seed: int) -> Fate:
        """The state after `position` entries of the log; what became of the rest."""
        assert position >= self._position, "states come in order"
        for entry in self._log.entries[self._position : position]:
            if isinstance(entry, Flush):
                self._settle(entry.covers)
            else:
                self._pending.append(entry)
        self._position = position
        copy_sparse(self._base, self._target)
        rng = Random(seed)
        fate = rng.choice(_FATES)
        for write in self._pending:
            self._apply_some(write, fate, rng)
        return fate

    def _settle(self, covers: int) -> None:
        durable = max(0, covers - self._covered)
        for write in self._pending[:durable]:
            os.pwrite(self._base, self._log.bytes_of(write), write.offset)
        del self._pending[:durable]
        self._covered += durable

    def _apply_some(self, write: Write, fate: Fate, rng: Random) -> None:
        data = self._log.bytes_of(write)
        if fate is Fate.KEPT or (fate is Fate.SCATTERED and rng.random() < 0.5):
            os.pwrite(self._target, data, write.offset)
        elif fate is Fate.TORN:
            for at in range(0, write.size_bytes, PIECE_BYTES):
                if rng.random() < 0.5:
                    piece = data[at : at + PIECE_BYTES]
                    os.pwrite(self._target, piece, write.offset + at)


def copy_sparse(source: int, target: int) -> None:
    """Make `target` what `source` is; where nothing was ever written neither has anything."""
    size_bytes, at = os.fstat(source).st_size, 0
    os.ftruncate(target, 0)
    os.ftruncate(target, size_bytes)
    with suppress(OSError):  # ENXIO: no data from there on
        while at < size_bytes:
            offset = os.lseek(source, at, os.SEEK_DATA)
            at = os.lseek(source, offset, os.SEEK_HOLE)
            os.lseek(target, offset, os.SEEK_SET)
            while offset < at:
                offset += os.sendfile(target, source, offset, at - offset)
