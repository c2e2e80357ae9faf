"""Group commit: what arrives while a data sync runs goes into the next batch together.

Rules:
1.  A lone commit waits for nobody; one write and one data sync acknowledge all of a batch.
2.  Values that wait for the commit of their key (`staged`) are seen by nobody.  They go into the
    batch with the key's row; if that fails they are forgotten.
3.  The table changes when the batch is durable, in the order of the log, and always as the batch
    read back would change it.
4.  What is damaged in the last batch of a log looks like a torn write, which is cut off.  So when
    nothing more comes, an empty batch is put behind what was acknowledged (`seal`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from msgspec import Struct

from node.index.located_table import LocatedTable
from node.index.location import Location, Position
from node.ledger import Ended, committed, tell
from node.record_change import RecordChange
from node.recordlog.batch import Batch, StoredBatch
from node.recordlog.log_tail import LogTail
from ring.digest import Buffer
from ring.errors import DiskFull, HoldfastError, StorageFault

_ROW_BYTES_ABOUT: Final = 128  # of a row, drop or claim in a batch, with its place

log = structlog.get_logger()


class _Commit(Struct, frozen=True):
    change: RecordChange
    values: Mapping[bytes, Buffer]
    places: Mapping[bytes, Location | None]
    size_bytes: int
    essential: bool
    ended: Ended


class RecordLog:
    """node.ledger.Ledger over the end of a log.

    staged: values by RecordKey.raw that the next commit of the key takes along: small ones as
    bytes, large ones as the place where they are durable already.  last: where the last batch of
    this process begins, None before there is one.
    """

    def __init__(self, tail: LogTail, table: LocatedTable, batch_bytes: int) -> None:
        self.tail = tail
        self.staged: dict[bytes, Buffer | Location] = {}
        self.bytes_applied = 0  # ever, by this process
        self.last: Position | None = None
        self._table = table
        self._batch_bytes = batch_bytes
        self._pending: list[_Commit] = []
        self._worker: asyncio.Task[None] | None = None
        self._unapplied: StoredBatch | None = None
        self._sealed = False
        self._closed = False

    async def commit(self, change: RecordChange, *, essential: bool = False) -> None:
        """See Ledger."""
        await self.commit_places(change, {}, essential=essential)

    async def commit_places(
        self,
        change: RecordChange,
        places: Mapping[bytes, Location | None],
        *,
        essential: bool = False,
    ) -> None:
        """`commit` that also says where values lie, those of `staged` apart."""
        await committed(partial(self._submit, change, {**places}, essential=essential))

    def submit(self, change: RecordChange, ended: Ended, *, essential: bool = False) -> None:
        """See Ledger."""
        self._submit(change, {}, ended, essential=essential)

    def _submit(
        self,
        change: RecordChange,
        places: dict[bytes, Location | None],
        ended: Ended,
        *,
        essential: bool,
    ) -> None:
        values: dict[bytes, Buffer] = {}
        size_bytes = _ROW_BYTES_ABOUT * (
            len(change.rows) + len(change.dropped) + len(change.claims)
        )
        for key in change.rows:
            staged = self.staged.get(key)
            if isinstance(staged, Location):
                places[key] = staged
            elif staged is not None:
                values[key] = staged
                size_bytes += len(staged)
        commit = _Commit(change, values, places, size_bytes, essential, ended)
        if self._closed:
            self._end((commit,), StorageFault("the store was closed"))
            return
        self._pending.append(commit)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    @property
    def is_settled(self) -> bool:
        """Whether the table has everything that is durable."""
        return self._unapplied is None

    async def seal(self) -> None:
        """Rule 4; does nothing while more comes, or when there is no room.  Raises StorageFault."""
        if not self._sealed and not self._pending and not self._closed:
            with suppress(DiskFull):
                await self.commit(RecordChange())

    async def close(self) -> None:
        """See Ledger."""
        with suppress(StorageFault):
            await self.seal()
        self._closed = True
        if self._worker is not None:
            await self._worker
        await self.tail.close()

    async def _work(self) -> None:
        """Commit until nothing is pending."""
        commits: list[_Commit] = []
        try:
            while self._pending:
                commits = self._take()
                await self._commit_all(commits)
        except (Exception, asyncio.CancelledError):
            self._end([*commits, *self._pending], StorageFault("the log stopped"))
            self._pending = []
            raise
        finally:
            self._worker = None

    def _take(self) -> list[_Commit]:
        """What goes into the next batch."""
        size_bytes = 0
        for count, commit in enumerate(self._pending):
            size_bytes += commit.size_bytes
            if count and size_bytes > self._batch_bytes:
                taken, self._pending = self._pending[:count], self._pending[count:]
                return taken
        taken, self._pending = self._pending, []
        return taken

    async def _commit_all(self, commits: list[_Commit]) -> None:
        try:
            self._apply_late()
            essential = [commit for commit in commits if commit.essential]
            ordinary = [commit for commit in commits if not commit.essential]
            try:
                await self._append(commits, essential=not ordinary)
            except DiskFull as error:
                if not ordinary or not essential:
                    raise
                self._end(ordinary, error)
                await self._append(essential, essential=True)
        except HoldfastError as error:
            self._end(commits, error)

    async def _append(self, commits: Sequence[_Commit], *, essential: bool) -> None:
        batch = Batch(RecordChange.all_of([commit.change for commit in commits]))
        for commit in commits:
            batch.values.update(commit.values)
            batch.places.update(commit.places)
        self._sealed = False
        stored = await self.tail.append(batch.encode(), essential=essential)
        self._sealed = not (batch.change or batch.values or batch.places)
        self._unapplied = stored
        self.last = Position(stored.end.segment, stored.start)
        places = batch.places_in(stored)
        self._table.apply(batch.change, places, stored.end.position)
        self._applied(stored)
        self._end(commits, None)

    def _apply_late(self) -> None:
        """Apply a batch that is durable but could not be applied; raises what `apply` raises."""
        stored = self._unapplied
        if stored is not None:
            self._table.apply(*stored.contents(), stored.end.position)
            self._applied(stored)

    def _applied(self, stored: StoredBatch) -> None:
        self._unapplied = None
        self.bytes_applied += stored.end.offset - stored.start

    def _end(self, commits: Sequence[_Commit], error: HoldfastError | None) -> None:
        for commit in commits:
            for key in commit.change.rows:
                self.staged.pop(key, None)
        tell(commits, error)
