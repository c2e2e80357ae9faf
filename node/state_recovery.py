"""Reading a store's state back: the newest snapshot, then the journals that follow it.

Rules:
1.  A torn last frame is cut off: nobody was told that it is durable.
2.  Damage before that is not repaired here: Corrupt, in words.  A store that forgot a tombstone or
    a floor must not go on as if it knew; the node is replaced and fetches its records anew.
3.  What was read from journals is written anew before it is relied on (`Recovered.bodies`): after a
    sync that failed, or a process that died before its sync, the system's cache shows what the
    medium may not have, and a second sync would not tell.  (A full disk has no room for that; then
    the journals are gone on with.)
4.  Of several journals that follow the snapshot itself, the one with the highest number is such a
    copy and replaces the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from node.record_change import RecordChange
from node.state_files import StateDirectory, StateNames
from node.state_frames import FileHead, FileKind, FrameReader
from ring.errors import Corrupt

Apply = Callable[[RecordChange], None]


@dataclass(slots=True)
class Recovered:
    """What was found.

    snapshot: its number.  snapshot_bytes: its length.  follows: sequence number of its last change.
    bodies: the changes since.  number: the highest that any file has.
    """

    snapshot: int
    snapshot_bytes: int
    follows: int
    number: int
    bodies: list[bytes] = field(default_factory=list)

    @property
    def sequence(self) -> int:
        """Of the last change."""
        return self.follows + len(self.bodies)


async def recover(directory: StateDirectory, apply: Apply) -> Recovered | None:
    """Apply everything that was durable; None when there is no state at all.

    Raises Corrupt or StorageFault.
    """
    names = await directory.names()
    for name in names.stray:
        if name.endswith(".tmp"):
            await directory.disk.unlink(f"{directory.path}/{name}")
    if not names.snapshots:
        await _require_no_changes(directory, names)
        return None
    recovered = await _read_snapshot(directory, names, apply)
    for number in await _journals(directory, names, recovered):
        await _replay(directory, number, recovered, apply)
    return recovered


async def _require_no_changes(directory: StateDirectory, names: StateNames) -> None:
    """Remove journals that were made for a first snapshot that never came."""
    for number in names.journals:
        reader = await directory.reader(directory.journal_path(number))
        try:
            await _head(reader, FileKind.JOURNAL, number)
            if await reader.next() is not None:
                raise Corrupt(f"{reader.name} has changes, but its snapshot is missing")
        finally:
            await reader.close()
        await directory.disk.unlink(directory.journal_path(number))


async def _read_snapshot(
    directory: StateDirectory, names: StateNames, apply: Apply
) -> Recovered:
    number = names.snapshots[-1]
    reader = await directory.reader(directory.snapshot_path(number))
    try:
        head = await _head(reader, FileKind.SNAPSHOT, number)
        body = await reader.next()
        while body:
            apply(RecordChange.decode(body))
            body = await reader.next()
        if body is None:
            raise Corrupt(f"{reader.name} ends at byte {reader.offset} without its last frame")
        return Recovered(number, reader.offset, head.follows, max(number, *names.journals, 0))
    finally:
        await reader.close()


async def _journals(
    directory: StateDirectory, names: StateNames, recovered: Recovered
) -> list[int]:
    """The numbers of the journals to replay, in order."""
    first = None
    for number in names.journals:
        reader = await directory.reader(directory.journal_path(number))
        try:
            head = await _head(reader, FileKind.JOURNAL, number)
        finally:
            await reader.close()
        if number >= recovered.snapshot and head.follows == recovered.follows:
            first = number
    if first is None:
        raise Corrupt(
            f"{directory.path} has no journal that follows snapshot-{recovered.snapshot}"
        )
    return [number for number in names.journals if number >= first]


async def _replay(
    directory: StateDirectory, number: int, recovered: Recovered, apply: Apply
) -> None:
    reader = await directory.reader(directory.journal_path(number))
    try:
        head = await _head(reader, FileKind.JOURNAL, number)
        reached = recovered.sequence
        if head.follows > reached:
            raise Corrupt(
                f"{reader.name} follows change {head.follows}, but only {reached} could be read"
            )
        while (body := await reader.next()) is not None:
            if head.follows < reached:
                raise Corrupt(f"{reader.name} follows change {head.follows}, as another one does")
            apply(RecordChange.decode(body))
            recovered.bodies.append(body)
    finally:
        await reader.close()


async def _head(reader: FrameReader, kind: FileKind, number: int) -> FileHead:
    head = await reader.head()
    if head.kind is not kind or head.number != number:
        raise Corrupt(f"{reader.name} calls itself {head.kind.name.lower()} {head.number}")
    return head
