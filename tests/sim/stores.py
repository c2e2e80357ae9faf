"""The record stores that simulated nodes keep their records in: the real ones."""

from __future__ import annotations

from node.file_store import FileRecordStore
from node.local_store import LocalRecordStore
from node.memory_store import MemoryRecordStore
from ring.seams import Clock, Randomness
from tests.sim.disk import SimDisk

COMPACT_BYTES_MIN = 2_000  # so small that a short run compacts its journal several times


async def open_files(disk: SimDisk, clock: Clock, randomness: Randomness) -> LocalRecordStore:
    """One file for each value."""
    return await FileRecordStore.open(
        disk, clock=clock, randomness=randomness, compact_bytes_min=COMPACT_BYTES_MIN
    )


async def open_memory(disk: SimDisk, clock: Clock, randomness: Randomness) -> LocalRecordStore:
    """Nothing outlives its process."""
    return MemoryRecordStore(clock)


MAKERS = {"files": open_files, "memory": open_memory}
