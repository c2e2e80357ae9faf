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
from node.store_holder import StoreOpener
from ring.digest import Algorithm
from ring.errors import Corrupt
from ring.limits import MIB
from ring.record import RecordKey
from ring.seams import BLOCK_BYTES, Clock, Randomness
from tests.fakes.file_index import FileIndexHome
from tests.sim.disk import SimDisk

_VALUES = ("bulk/", ".recipes/", *(f"{algorithm.label}/" for algorithm in Algorithm))
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
    """Tells where copies lie.  home: of its index."""

    home: FileIndexHome

    @property
    def is_damaged(self) -> bool:
        """Whether its index was found to be wrong: another store will take its place."""
        return self._indexed.damage is not None

    @property
    def last(self) -> Position | None:
        """Where the last batch begins that is durable."""
        ledger = self._ledger
        assert isinstance(ledger, RecordLog)
        return ledger.last

    def copy(self, key: RecordKey) -> Copy | None:
        """See `copy_in`."""
        try:
            at = self._indexed.location(key.raw)
        except Corrupt:  # its index is damaged, and about to be made anew
            return None
        if at is None or not at.size_bytes:
            return None
        last = self.last
        if last is None or Position(at.segment, at.offset) > last:
            return None
        return Copy(self._files.path(at.segment), at.offset, at.size_bytes)


def files(disk: SimDisk, clock: Clock, randomness: Randomness) -> StoreOpener:
    """One file for each value."""

    async def opened() -> LocalRecordStore:
        return await FileRecordStore.open(
            disk, clock=clock, randomness=randomness, compact_bytes_min=COMPACT_BYTES_MIN
        )

    return opened


def pages(disk: SimDisk, clock: Clock, randomness: Randomness) -> StoreOpener:
    """A log and extents; segments so small that they are filled, compacted and removed.

    That an index was found to be damaged is remembered until the process ends.
    """
    home = FileIndexHome(disk)

    async def opened() -> LocalRecordStore:
        store = await SimPageStore.open(
            disk, home, clock=clock, randomness=randomness, settings=PAGES
        )
        store.home = home
        return store

    return opened


def memory(disk: SimDisk, clock: Clock, randomness: Randomness) -> StoreOpener:
    """Nothing outlives its process."""

    async def opened() -> LocalRecordStore:
        return MemoryRecordStore(clock)

    return opened


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


def holds_values(path: str) -> bool:
    """Whether a file has nothing in it but values, or is one on its way."""
    return path.startswith(_VALUES)


def holds_index(path: str) -> bool:
    """Whether a file is an index, or will be one."""
    return path.startswith("index/")


MAKERS = {"files": files, "pages": pages, "memory": memory}
