"""The files of a store's state: names, one open journal, and writing a snapshot.

`<directory>/snapshot-<n>` holds everything up to some change, the journals with a higher or equal
number hold what followed.  Both appear under their names when their content is durable.  A journal
is filled with zeros ahead of what is written: that makes its syncs cheap (no new length, no new
blocks) and leaves room for tombstones when the disk is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final

from node.record_change import RecordChange
from node.state_frames import END_BODY, FILE_ID_BYTES, FileHead, FileKind, FrameReader, frame
from ring.errors import DiskFull, StorageFault
from ring.limits import KIB
from ring.seams import Disk, File, Randomness

STEP_BYTES: Final = 64 * KIB  # how far ahead a new journal is filled
STEP_BYTES_MAX: Final = 1024 * KIB  # a journal that grows is filled as far again, up to this
RESERVE_BYTES: Final = 32 * KIB  # of that, for what must be written even when the disk is full
_WRITE_BYTES: Final = 1024 * KIB


@dataclass(frozen=True, slots=True)
class StateNames:
    """The numbers of the snapshots and journals in a directory, in order, and stray names."""

    snapshots: list[int]
    journals: list[int]
    stray: list[str]


class StateDirectory:
    """Names, makes and removes the files."""

    def __init__(self, disk: Disk, path: str, randomness: Randomness) -> None:
        self.disk = disk
        self.path = path
        self._randomness = randomness

    def journal_path(self, number: int) -> str:
        """Where a journal is."""
        return f"{self.path}/journal-{number}"

    def snapshot_path(self, number: int) -> str:
        """Where a snapshot is."""
        return f"{self.path}/snapshot-{number}"

    async def names(self) -> StateNames:
        """What is there."""
        found = StateNames([], [], [])
        for name in await self.disk.list_directory(self.path):
            kind, _, digits = name.partition("-")
            numbers = {"snapshot": found.snapshots, "journal": found.journals}.get(kind)
            if numbers is not None and digits.isdecimal() and digits.isascii():
                numbers.append(int(digits))
            else:
                found.stray.append(name)
        found.snapshots.sort()
        found.journals.sort()
        return found

    async def create_journal(
        self, number: int, follows: int, bodies: Sequence[bytes] = ()
    ) -> Journal:
        """A new journal that begins with `bodies`, durable before it is returned.

        A number is never used twice, not even after a failure.  Raises DiskFull or StorageFault.
        """
        head = FileHead(self._new_id(), FileKind.JOURNAL, number, follows)
        temporary = f"{self.path}/.journal-{number}.tmp"
        file = await self.disk.open(temporary, create=True)
        try:
            offset = await _write_frames(file, head, bodies)
            await file.write(offset, bytes(STEP_BYTES))
            await file.sync()
            await self.disk.rename(temporary, self.journal_path(number))
            await self.disk.sync_directory(self.path)
        except (DiskFull, StorageFault):
            await self._give_up(file, temporary)
            raise
        except BaseException:
            await file.close()
            raise
        sequence = follows + len(bodies)
        return Journal(file, head, sequence, offset=offset, allocated=offset + STEP_BYTES)

    async def write_snapshot(
        self, number: int, follows: int, slices: Iterable[RecordChange]
    ) -> int:
        """Write a snapshot, yielding to others between slices; its length in bytes when durable.

        Raises DiskFull or StorageFault; then it may or may not be there, which does no harm.
        """
        head = FileHead(self._new_id(), FileKind.SNAPSHOT, number, follows)
        temporary = f"{self.path}/.snapshot-{number}.tmp"
        file = await self.disk.open(temporary, create=True)
        try:
            bodies = (change.encode() for change in slices)
            size_bytes = await _write_frames(file, head, chain(bodies, (END_BODY,)))
            await file.sync()
            await self.disk.rename(temporary, self.snapshot_path(number))
            await self.disk.sync_directory(self.path)
        except (DiskFull, StorageFault):
            await self._give_up(file, temporary)
            raise
        finally:
            await file.close()
        return size_bytes

    async def remove_all_but(self, snapshot: int, journal: int) -> None:
        """Remove the files below a snapshot and below the journal that follows it."""
        names = await self.names()
        for number in names.journals:
            if number < journal:
                await self.disk.unlink(self.journal_path(number))
        for number in names.snapshots:
            if number < snapshot:
                await self.disk.unlink(self.snapshot_path(number))

    async def keep_reserve(self) -> None:
        """Occupy room that `release_reserve` gives back when a full disk keeps us from starting."""
        with suppress(DiskFull, StorageFault):  # there will be another time
            if await self.disk.info(self._reserve_path) is None:
                temporary = f"{self._reserve_path}.tmp"
                await self.disk.unlink(temporary)
                await self.disk.publish(temporary, self._reserve_path, bytes(4 * STEP_BYTES))

    async def release_reserve(self) -> None:
        """Give the room back."""
        await self.disk.unlink(self._reserve_path)

    @property
    def _reserve_path(self) -> str:
        return f"{self.path}/reserve"

    async def reader(self, path: str) -> FrameReader:
        """Read a file, which `FrameReader.close` closes.  Raises FileNotFoundError."""
        file = await self.disk.open(path)
        return FrameReader(path, file, await file.size_bytes())

    async def _give_up(self, file: File, temporary: str) -> None:
        await file.close()
        with suppress(StorageFault):  # the next start removes it
            await self.disk.unlink(temporary)

    def _new_id(self) -> bytes:
        return self._randomness.octets(FILE_ID_BYTES)


class Journal:
    """One open journal; its owner appends one frame after the other.

    broken: a write or sync failed, so what the file holds is unknown; nothing may be appended.
    """

    def __init__(
        self, file: File, head: FileHead, sequence: int, *, offset: int, allocated: int
    ) -> None:
        self.number = head.number
        self.sequence = sequence
        self.offset = offset
        self.broken = False
        self._file = file
        self._file_id = head.file_id
        self._allocated = allocated

    async def append(self, body: bytes, *, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Add a frame durably, leaving `reserve_bytes` of the room that is filled with zeros.

        Raises DiskFull, with nothing changed, or StorageFault, which breaks the journal.
        """
        assert not self.broken
        data = frame(self._file_id, self.sequence + 1, body)
        end = self.offset + len(data)
        self.broken = True
        try:
            if end + reserve_bytes > self._allocated:
                await self._extend(end + reserve_bytes - self._allocated)
            await self._file.write(self.offset, data)
        except DiskFull:
            self.broken = False  # the next frame goes to the same place
            raise
        await self._file.sync()
        self.broken = False
        self.sequence += 1
        self.offset = end

    async def close(self) -> None:
        """Let go."""
        await self._file.close()

    async def _extend(self, size_bytes: int) -> None:
        missing = max(size_bytes, min(self._allocated, STEP_BYTES_MAX))
        await self._file.write(self._allocated, bytes(missing))
        self._allocated += missing


async def _write_frames(file: File, head: FileHead, bodies: Iterable[bytes]) -> int:
    """Write a file from its start, in large pieces; its length in bytes."""
    pending = [head.encode()]
    pending_bytes = len(pending[0])
    offset = 0
    for sequence, body in enumerate(bodies, start=head.follows + 1):
        pending.append(frame(head.file_id, sequence, body))
        pending_bytes += len(pending[-1])
        if pending_bytes >= _WRITE_BYTES:
            await file.write(offset, b"".join(pending))
            offset += pending_bytes
            pending, pending_bytes = [], 0
        else:
            await asyncio.sleep(0)
    await file.write(offset, b"".join(pending))
    return offset + pending_bytes
