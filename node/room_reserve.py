"""A little room kept for the small files of a data directory, for when the disk is full.

A start has to write its marker before it may say anything; without room for that no node of a full
cluster would start, nothing could be deleted, and there would never be room.
"""

from __future__ import annotations

from typing import Final

from ring.errors import DiskFull, StorageFault
from ring.limits import KIB
from ring.seams import Disk

RESERVE_BYTES: Final = 256 * KIB


class RoomReserve:
    """A file of zeros that takes its room: `directory`/reserve."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory
        self._path = f"{directory}/reserve"

    async def keep(self) -> None:
        """Have it, where there is room; says nothing when there is none."""
        found = await self._disk.info(self._path)
        if found is not None and found.size_bytes >= RESERVE_BYTES:
            return
        try:
            file = await self._disk.open(self._path, create=True)
            try:
                await file.allocate(RESERVE_BYTES)
                await file.sync()
            finally:
                await file.close()
            await self._disk.sync_directory(self._directory)
        except (DiskFull, StorageFault):
            return

    async def give_up(self) -> bool:
        """Let others have its room; false when it is not there.  Raises StorageFault."""
        if await self._disk.info(self._path) is None:
            return False
        await self._disk.unlink(self._path)
        await self._disk.sync_directory(self._directory)  # only then its blocks are free
        return True
