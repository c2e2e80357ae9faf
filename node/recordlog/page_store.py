"""The page record store: node/record_keeper.py over a log, extents and an indexed table."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Self

import structlog
from msgspec import Struct

from node.fact_sums import FactSums
from node.index.index import IndexHome
from node.index.index_patrol import IndexPatrol, PatrolSettings
from node.index.indexed_table import IndexedTable, open_table
from node.local_store import BeforeNew
from node.record_keeper import RecordKeeper
from node.recordlog.batch import StoredBatch
from node.recordlog.bulk_writer import BulkSizes, BulkWriter
from node.recordlog.compaction import Compaction, Throttle
from node.recordlog.log_recovery import LogReplay
from node.recordlog.log_tail import LogSizes, LogTail
from node.recordlog.page_values import PageValues
from node.recordlog.record_log import RecordLog
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import STORE_ID_BYTES, LogEnd, SegmentKind
from node.recordlog.upkeep import Upkeep, UpkeepSettings
from node.value_check import Offload, ValueCheck, in_place
from ring.errors import Corrupt, HoldfastError
from ring.facts import Facts
from ring.limits import MIB
from ring.seams import Clock, Disk, Randomness

_REPLAYED_BYTES_MAX: Final = 64 * MIB  # between two checkpoints of a table that is made anew

log = structlog.get_logger()


class PageSettings(Struct, frozen=True):
    """Sizes of files and the rhythm of what goes on in the background."""

    log: LogSizes = LogSizes()
    bulk: BulkSizes = BulkSizes()
    upkeep: UpkeepSettings = UpkeepSettings()
    patrol: PatrolSettings = PatrolSettings()


class PageRecordStore(RecordKeeper):
    """node.local_store.LocalRecordStore over a disk and an index; made by `open`.

    upkeep, patrol: what goes on in the background; public so that tests and tools can do a round
    of it.
    """

    @classmethod
    async def open(
        cls,
        disk: Disk,
        home: IndexHome,
        *,
        clock: Clock,
        randomness: Randomness,
        offload: Offload = in_place,
        settings: PageSettings | None = None,
        before_new: BeforeNew | None = None,
        facts: Facts | None = None,
    ) -> Self:
        """Read the log back from where the index ends, all of it when that turns out damaged.

        before_new: see BeforeNew.  facts: how they are made in this cluster.
        Raises Corrupt when the log is damaged other than by a torn last write, or gone while
        values are here (the node has to be replaced), StorageFault or DiskFull when the disk does
        not let it go on.
        """
        settings = settings or PageSettings()
        opening = _Opening(disk, home, randomness, settings, before_new, facts=facts)
        if not await opening.try_it():
            opening = _Opening(disk, home, randomness, settings, before_new, facts=facts)
            if not await opening.try_it():
                raise Corrupt(f"the index is damaged as soon as it is made: {opening.damage}")
        return cls(opening, clock=clock, randomness=randomness, offload=offload)

    def __init__(
        self, opened: _Opening, *, clock: Clock, randomness: Randomness, offload: Offload
    ) -> None:
        files, table, settings = opened.files, opened.table, opened.settings
        assert table is not None
        assert opened.tail is not None
        ledger = RecordLog(opened.tail, table, settings.log.batch_bytes)
        bulk = BulkWriter(files, settings.bulk)
        values = PageValues(
            files, table, ledger, bulk, randomness, reserve_bytes=settings.log.reserve_bytes
        )
        super().__init__(
            table=table,
            values=values,
            ledger=ledger,
            clock=clock,
            offload=offload,
            had_state=opened.had_state,
        )
        compaction = Compaction(
            files=files,
            table=table,
            ledger=ledger,
            values=values,
            check=ValueCheck(offload),
            locks=self._locks,
            finish=self._operations.finish,
            throttle=Throttle(settings.upkeep.compaction_bytes_per_s),
        )
        self.upkeep = Upkeep(
            settings=settings.upkeep,
            files=files,
            table=table,
            ledger=ledger,
            bulk=bulk,
            compaction=compaction,
            log_reserve_bytes=settings.log.reserve_bytes,
            bulk_reserve_bytes=settings.bulk.segment_bytes,
        )
        self._files = files
        self._bulk = bulk
        self._indexed = table
        self.patrol = IndexPatrol(table, clock, settings.patrol)
        self._tasks = [
            asyncio.create_task(self.upkeep.run()),
            asyncio.create_task(self.patrol.run()),
        ]
        self._ended = True

    async def until_damaged(self) -> str:
        return await self._indexed.until_damaged()

    async def close(self) -> bool:
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return self._ended
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ended = await super().close()
        with suppress(HoldfastError):  # then the next start replays more
            await self._indexed.checkpoint()
        self._ended = await self._indexed.close() and ended
        await self._bulk.close()
        await self._files.close()
        return self._ended


class _Opening:
    """A store on its way: the table, and the end of the log."""

    def __init__(
        self,
        disk: Disk,
        home: IndexHome,
        randomness: Randomness,
        settings: PageSettings,
        before_new: BeforeNew | None,
        *,
        facts: Facts | None,
    ) -> None:
        self.files = SegmentFiles(disk)
        self.settings = settings
        self.table: IndexedTable | None = None
        self.tail: LogTail | None = None
        self.had_state = False
        self._home = home
        self._randomness = randomness
        self._before_new = before_new
        self._facts = facts
        self._replayed_bytes = 0

    @property
    def damage(self) -> str | None:
        """What is wrong with the index, as far as that was noticed."""
        return None if self.table is None else self.table.damage

    async def try_it(self) -> bool:
        """Open everything; false when the index was damaged: the next try begins without it.

        Raises what `PageRecordStore.open` does.
        """
        try:
            await self._read_back()
        except (Exception, asyncio.CancelledError) as error:
            await self._give_up()
            if self.damage is None or not isinstance(error, Corrupt):
                raise
            return False
        return True

    async def _read_back(self) -> None:
        files = self.files
        await files.look()
        self.table = await self._open_table()
        if files.numbers(SegmentKind.LOG):
            self.had_state = True
            await self._replay()
        else:
            self._require_no_values()
            await self._require_blank()
            if self._before_new is not None:
                await self._before_new()
            files.store_id = self._randomness.octets(STORE_ID_BYTES)
            self.tail = LogTail(files, self.settings.log, LogEnd(), ())
            await self.tail.begin()
        await files.keep_reserve(SegmentKind.LOG, self.settings.log.reserve_bytes)

    async def _give_up(self) -> None:
        if self.tail is not None:
            await self.tail.close()
        if self.table is not None:
            await self.table.close()
        await self.files.close()

    async def _replay(self) -> None:
        files = self.files
        assert self.table is not None
        await files.sync_names()
        replay = LogReplay(files)
        covered = await replay.find(self.table.covered)
        if covered is None:
            await self._require_blank()
        held_back: StoredBatch | None = None
        async for batch in replay.batches(covered):
            if held_back is not None:
                await self._apply(held_back)
            held_back = batch
        self.tail = LogTail(files, self.settings.log, replay.end, replay.cuts)
        if replay.is_certain:
            await self.tail.reopen()
            if replay.last is not None:
                # Only after this may an index have it: it may be in the system's cache alone.
                await self.tail.rewrite(replay.last)
        else:
            self.tail.abandon()
        if held_back is not None:
            await self._apply(held_back)
        self.table.end_replay()

    async def _apply(self, batch: StoredBatch) -> None:
        assert self.table is not None
        self.table.apply(*batch.contents(), batch.end.position)
        self._replayed_bytes += batch.end.offset - batch.start
        if self._replayed_bytes >= _REPLAYED_BYTES_MAX:
            self._replayed_bytes = 0
            await self.table.checkpoint()

    def _require_no_values(self) -> None:
        """Values without a log would be freed, and their log may be elsewhere: not mounted, say."""
        left = self.files.numbers(SegmentKind.BULK)
        if left:
            raise Corrupt(
                f"bulk/ has values in {len(left)} segments, and log/, which says what they are, is"
                " empty: is everything mounted?  If the log is lost, replace the node: move its"
                " data directory away and let it fetch its records from the others"
            )

    async def _open_table(self) -> IndexedTable:
        return (await open_table(self._home, sums=FactSums(self._facts))).table

    async def _require_blank(self) -> None:
        """Have a table without anything in it."""
        assert self.table is not None
        if self.table.covered is not None or self.table.replay_to is not None:
            await self.table.close()
            await self._home.discard()
            self.table = await self._open_table()
