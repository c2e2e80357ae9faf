"""Values as files, one for each, under names that a person can read (node/file_paths.py).

Rules:
1.  A value has its name only when its bytes are durable, and counts as written only when the name
    is: temporary file, sync, rename, sync of the directory.
2.  Puts into one directory at the same time share one sync of it.
3.  A directory is made durable before the first file of this process goes into it, whoever made it.
"""

from __future__ import annotations

from functools import partial
from itertools import count

from node.file_paths import (
    QUARANTINE_DIRECTORY,
    quarantine_path,
    quarantined_below,
    temporary_directory,
    temporary_path,
    value_directory,
    value_path,
)
from node.file_span import FileSpan, SpanDisk
from node.group_sync import GroupSync
from ring.digest import Buffer
from ring.errors import StorageFault
from ring.record import RecordKey, RecordKind
from ring.seams import Disk, Randomness


class FileValues:
    """node.values.Values over a disk."""

    def __init__(self, disk: Disk, randomness: Randomness) -> None:
        self._disk = disk
        self._span_disk = disk if isinstance(disk, SpanDisk) else None
        self._process = randomness.octets(8).hex()  # tells our temporary names from all others
        self._numbers = count()
        self._ready: dict[str, None] = {}  # at most 256 directories for each kind and algorithm
        self._syncs: dict[str, GroupSync] = {}

    async def read(self, key: RecordKey, kind: RecordKind) -> Buffer:
        return await self._disk.read(value_path(key, kind))

    def read_now(self, key: RecordKey, kind: RecordKind) -> Buffer | None:
        return self._disk.read_now(value_path(key, kind))

    async def write(self, key: RecordKey, kind: RecordKind, value: Buffer) -> None:
        directory = value_directory(key, kind)
        await self._make_ready(temporary_directory(key.digest.algorithm))
        await self._make_ready(directory)
        try:
            await self._publish(key, kind, value)
        except FileNotFoundError:
            # Somebody removed a directory under us.
            self._ready.clear()
            await self._make_ready(temporary_directory(key.digest.algorithm))
            await self._make_ready(directory)
            try:
                await self._publish(key, kind, value)
            except FileNotFoundError as error:
                raise StorageFault(f"{directory} vanishes while it is written to") from error
        except StorageFault:
            found = await self._disk.info(value_path(key, kind))
            if found is None or not found.is_directory:
                raise
            await self.quarantine(key, kind)  # no file can take its place while it is there
            await self._publish(key, kind, value)
        await self._sync(directory)

    def write_now(self, key: RecordKey, kind: RecordKind, value: Buffer) -> bool:
        return False

    async def remove(self, key: RecordKey, kind: RecordKind) -> None:
        await self._disk.unlink(value_path(key, kind))

    async def quarantine(self, key: RecordKey, kind: RecordKind) -> None:
        await self._make_ready(QUARANTINE_DIRECTORY)
        try:
            await self._disk.rename(
                value_path(key, kind), quarantine_path(key, kind, self._unique())
            )
        except FileNotFoundError as error:
            if await self._disk.info(value_path(key, kind)) is None:
                return
            self._ready.clear()
            raise StorageFault(f"{QUARANTINE_DIRECTORY} vanished") from error
        await self._sync(QUARANTINE_DIRECTORY)
        await self._sync(value_directory(key, kind))

    async def quarantined(self, key: RecordKey) -> list[str]:
        return await quarantined_below(self._disk, QUARANTINE_DIRECTORY, key)

    async def open_span(self, key: RecordKey, kind: RecordKind) -> FileSpan | None:
        if self._span_disk is None:
            return None
        return await self._span_disk.span(value_path(key, kind))

    async def bytes_free(self) -> int:
        return await self._disk.free_bytes()

    async def _publish(self, key: RecordKey, kind: RecordKind, value: Buffer) -> None:
        temporary = temporary_path(key, self._unique())
        await self._disk.publish(temporary, value_path(key, kind), value)

    async def _make_ready(self, directory: str) -> None:
        if directory not in self._ready:
            await self._disk.make_directories(directory)
            self._ready[directory] = None

    async def _sync(self, directory: str) -> None:
        sync = self._syncs.get(directory)
        if sync is None:
            sync = self._syncs[directory] = GroupSync(partial(self._sync_now, directory))
        try:
            await sync.wait()
        finally:
            if sync.idle and self._syncs.get(directory) is sync:
                del self._syncs[directory]

    async def _sync_now(self, directory: str) -> None:
        try:
            await self._disk.sync_directory(directory)
        except FileNotFoundError as error:
            raise StorageFault(f"{directory} vanished while it was written to") from error

    def _unique(self) -> str:
        return f"{self._process}-{next(self._numbers)}"
