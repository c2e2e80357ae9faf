"""The record stores that simulated nodes keep their records in: the real ones."""

from __future__ import annotations

from node.file_store import FileRecordStore
from node.local_store import LocalRecordStore
from node.memory_store import MemoryRecordStore
from node.recordlog.bulk_writer import BulkSizes
from node.recordlog.log_tail import LogSizes
from node.recordlog.page_store import PageRecordStore, PageSettings
from node.recordlog.upkeep import UpkeepSettings
from ring.limits import MIB
from ring.seams import BLOCK_BYTES, Clock, Randomness
from tests.fakes.file_index import FileIndexHome
from tests.sim.disk import SimDisk

COMPACT_BYTES_MIN = 2_000  # so small that a short run compacts its journal several times

PAGES = PageSettings(
    log=LogSizes(
        segment_bytes=24 * BLOCK_BYTES,
        step_bytes=4 * BLOCK_BYTES,
        step_bytes_max=8 * BLOCK_BYTES,
        reserve_bytes=24 * BLOCK_BYTES,
        batch_bytes=8 * BLOCK_BYTES,
    ),
    bulk=BulkSizes(segment_bytes=10 * MIB, step_bytes=5 * MIB),
    upkeep=UpkeepSettings(
        interval_s=0.5, checkpoint_bytes=10 * BLOCK_BYTES, checkpoint_s=2.0, live_share_min=1.0,
        live_share_max=0.6,
    ),
)


async def open_files(disk: SimDisk, clock: Clock, randomness: Randomness) -> LocalRecordStore:
    """One file for each value."""
    return await FileRecordStore.open(
        disk, clock=clock, randomness=randomness, compact_bytes_min=COMPACT_BYTES_MIN
    )


async def open_pages(disk: SimDisk, clock: Clock, randomness: Randomness) -> LocalRecordStore:
    """A log and extents; segments so small that they are filled, compacted and removed."""
    return await PageRecordStore.open(
        disk, FileIndexHome(disk), clock=clock, randomness=randomness, settings=PAGES
    )


async def open_memory(disk: SimDisk, clock: Clock, randomness: Randomness) -> LocalRecordStore:
    """Nothing outlives its process."""
    return MemoryRecordStore(clock)


MAKERS = {"files": open_files, "pages": open_pages, "memory": open_memory}
