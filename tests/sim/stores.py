"""The record stores that simulated nodes keep their records in: the real ones; where copies lie."""

from __future__ import annotations

from dataclasses import dataclass

from node.file_paths import PREFIXES, value_path
from node.file_store import FileRecordStore
from node.index.location import Position
from node.local_store import LocalRecordStore
from node.memory_store import MemoryRecordStore
from node.recordlog.bulk_writer import BulkSizes
from node.recordlog.log_tail import LogSizes
from node.recordlog.page_store import PageRecordStore, PageSettings
from node.recordlog.record_log import RecordLog
from node.recordlog.upkeep import UpkeepSettings
from ring.limits import MIB
from ring.record import RecordKey
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


@dataclass(frozen=True, slots=True)
class Copy:
    """Where the bytes of a value lie in a file."""

    path: str
    offset: int
    size_bytes: int


class SimPageStore(PageRecordStore):
    """Tells where copies lie."""

    def copy(self, key: RecordKey) -> Copy | None:
        """See `copy_in`."""
        at = self._indexed.location(key.raw)
        if at is None or not at.size_bytes:
            return None
        ledger = self._ledger
        assert isinstance(ledger, RecordLog)
        last = ledger.last
        if last is None or Position(at.segment, at.offset) > last:
            return None
        return Copy(self._files.path(at.segment), at.offset, at.size_bytes)


async def open_files(disk: SimDisk, clock: Clock, randomness: Randomness) -> LocalRecordStore:
    """One file for each value."""
    return await FileRecordStore.open(
        disk, clock=clock, randomness=randomness, compact_bytes_min=COMPACT_BYTES_MIN
    )


async def open_pages(disk: SimDisk, clock: Clock, randomness: Randomness) -> LocalRecordStore:
    """A log and extents; segments so small that they are filled, compacted and removed."""
    return await SimPageStore.open(
        disk, FileIndexHome(disk), clock=clock, randomness=randomness, settings=PAGES
    )


async def open_memory(disk: SimDisk, clock: Clock, randomness: Randomness) -> LocalRecordStore:
    """Nothing outlives its process."""
    return MemoryRecordStore(clock)


def copy_in(disk: SimDisk, store: LocalRecordStore | None, key: RecordKey) -> Copy | None:
    """A copy that may rot, of which nothing else depends; None when there is none.

    store: of the running node.  In a page store not in the last batch: what is damaged there is
    taken for a torn write, with all that came in it (node/recordlog/record_log.py, rule 4).
    """
    if isinstance(store, SimPageStore):
        return store.copy(key)
    paths = [value_path(key, kind) for kind in PREFIXES]
    for path, file in disk.files():
        if path in paths and file.content:
            return Copy(path, 0, len(file.content))
    return None


MAKERS = {"files": open_files, "pages": open_pages, "memory": open_memory}
