"""Makes changes to a table of records durable, many with one sync.

Rules:
1.  Group commit: whatever is committed while a sync runs goes into the next frame together; a lone
    change waits for nobody.
2.  The table changes when the change is durable, in the order of the journal.
3.  After a failed write or sync nothing is committed any more until everything remembered has been
    rewritten into a new snapshot and a new journal; until then commits raise StorageFault.
4.  On a full disk ordinary changes raise DiskFull; essential ones (tombstones, drops, floors, lost
    values) still find the room that was filled with zeros ahead.
5.  When the journals outgrow the snapshot, a new one is written in slices beside the traffic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from msgspec import Struct

from node.ledger import Ended, committed, tell
from node.record_change import RecordChange
from node.record_table import RecordTable
from node.state_files import RESERVE_BYTES, Journal, StateDirectory
from node.state_recovery import recover
from ring.errors import DiskFull, HoldfastError, StorageFault
from ring.limits import MIB

COMPACT_BYTES_MIN: Final = 4 * MIB
SLICE_ROWS: Final = 512  # about a millisecond of the event loop
RENEW_RETRY_S: Final = 1.0

log = structlog.get_logger()


class _Commit(Struct, frozen=True):
    change: RecordChange
    essential: bool
    ended: Ended


class StateJournal:
    """node.ledger.Ledger over a directory of snapshots and journals."""

    def __init__(
        self,
        directory: StateDirectory,
        table: RecordTable,
        *,
        compact_bytes_min: int = COMPACT_BYTES_MIN,
    ) -> None:
        self._directory = directory
        self._table = table
        self._compact_bytes_min = compact_bytes_min
        self._pending: list[_Commit] = []
        self._worker: asyncio.Task[None] | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._journal: Journal | None = None
        self._number = 0  # the highest ever tried
        self._older_bytes = 0  # of journals before the current one that no snapshot covers
        self._snapshot_bytes = 0  # length of the newest
        self._compact_at_bytes = 0
        self._renew_at_s = 0.0
        self._closed = False

    async def recover(self) -> bool:
        """Apply what is on disk to the table, which is empty; false when there is no state.

        Raises Corrupt or StorageFault: then the store must not be used.
        """
        recovered = await recover(self._directory, self._table.apply)
        if recovered is None:
            return False
        self._number = recovered.number
        self._snapshot_bytes = recovered.snapshot_bytes
        self._set_compaction_point()
        try:
            self._journal = await self._create_journal(recovered.follows, recovered.bodies)
        except DiskFull:
            # No room to write the changes anew: they stay where they are.
            await self._directory.release_reserve()
            self._journal = await self._create_journal(recovered.sequence)
            self._older_bytes = sum(map(len, recovered.bodies))
        else:
            await self._directory.remove_all_but(recovered.snapshot, self._number)
        await self._directory.keep_reserve()
        return True

    async def begin(self) -> None:
        """Make what the table holds the first state; raises DiskFull or StorageFault."""
        await self._directory.disk.make_directories(self._directory.path)
        self._journal = await self._rewrite(0)
        await self._directory.keep_reserve()

    async def commit(self, change: RecordChange, *, essential: bool = False) -> None:
        await committed(partial(self.submit, change, essential=essential))

    def submit(self, change: RecordChange, ended: Ended, *, essential: bool = False) -> None:
        commit = _Commit(change, essential, ended)
        if self._closed:
            tell((commit,), StorageFault("the store was closed"))
            return
        self._pending.append(commit)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        self._closed = True
        if self._worker is not None:
            await self._worker
        await self._stop_compaction()
        if self._journal is not None:
            await self._journal.close()

    # --- committing -------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Commit until nothing is pending."""
        commits: list[_Commit] = []
        try:
            while self._pending:
                commits, self._pending = self._pending, []
                await self._commit_all(commits)
        except (Exception, asyncio.CancelledError):
            tell([*commits, *self._pending], StorageFault("the journal stopped"))
            self._pending = []
            raise
        finally:
            self._worker = None

    async def _commit_all(self, commits: list[_Commit]) -> None:
        try:
            journal = await self._sound_journal()
            await self._append_what_fits(journal, commits)
        except HoldfastError as error:
            tell(commits, error)
        else:
            await self._compact_if_due(journal)

    async def _append_what_fits(self, journal: Journal, commits: list[_Commit]) -> None:
        try:
            await self._append(journal, commits, RESERVE_BYTES)
        except DiskFull as error:
            essential = [commit for commit in commits if commit.essential]
            tell([commit for commit in commits if not commit.essential], error)
            if essential:
                await self._append(journal, essential, 0)

    async def _append(
        self, journal: Journal, commits: Sequence[_Commit], reserve_bytes: int
    ) -> None:
        change = RecordChange.all_of([commit.change for commit in commits])
        try:
            await journal.append(change.encode(), reserve_bytes=reserve_bytes)
        except StorageFault as error:
            log.warning("the journal failed and is not trusted any more", error=error.detail)
            raise
        self._table.apply(change)
        tell(commits, None)

    # --- renewing and compacting ------------------------------------------------------------------

    async def _sound_journal(self) -> Journal:
        """The journal, after a failure a new one; raises StorageFault while that fails."""
        journal = self._journal
        assert journal is not None, "recover or begin first"
        if not journal.broken:
            return journal
        now = asyncio.get_running_loop().time()
        if now < self._renew_at_s:
            raise StorageFault("the journal failed and could not be rewritten yet")
        self._renew_at_s = now + RENEW_RETRY_S
        await self._stop_compaction()
        try:
            renewed = await self._rewrite(journal.sequence)
        except HoldfastError as error:
            raise StorageFault(f"the journal failed and cannot be rewritten: {error}") from error
        log.info("the journal was rewritten", number=renewed.number)
        self._journal = renewed
        await journal.close()
        with suppress(HoldfastError):  # what is left over is removed at the next start
            await self._directory.remove_all_but(renewed.number, renewed.number)
        return renewed

    async def _create_journal(self, follows: int, bodies: Sequence[bytes] = ()) -> Journal:
        self._number += 1
        return await self._directory.create_journal(self._number, follows, bodies)

    async def _rewrite(self, sequence: int) -> Journal:
        """A new journal, and a snapshot of the table as it is at `sequence`."""
        journal = await self._create_journal(sequence)
        try:
            self._snapshot_bytes = await self._directory.write_snapshot(
                self._number, sequence, self._table.slices(SLICE_ROWS)
            )
        except BaseException:
            await journal.close()
            raise
        self._older_bytes = 0
        self._set_compaction_point()
        return journal

    async def _compact_if_due(self, journal: Journal) -> None:
        used_bytes = self._older_bytes + journal.offset
        if used_bytes < self._compact_at_bytes or self._compaction is not None:
            return
        self._compact_at_bytes = used_bytes + self._compact_bytes_min  # unless this one succeeds
        try:
            new = await self._create_journal(journal.sequence)
        except HoldfastError as error:
            log.warning("no new journal could be begun", error=error.detail)
            return
        self._older_bytes += journal.offset
        self._journal = new
        await journal.close()
        self._compaction = asyncio.create_task(self._compact(new.number, new.sequence))

    async def _compact(self, number: int, sequence: int) -> None:
        """Replace everything before journal `number` by a snapshot, while commits go on."""
        older_bytes = self._older_bytes
        try:
            slices = self._table.slices(SLICE_ROWS)
            self._snapshot_bytes = await self._directory.write_snapshot(number, sequence, slices)
            self._older_bytes -= older_bytes
            self._set_compaction_point()
            await self._directory.remove_all_but(number, number)
            await self._directory.keep_reserve()
        except HoldfastError as error:
            log.warning("the state could not be compacted", error=error.detail)
        finally:
            self._compaction = None

    async def _stop_compaction(self) -> None:
        compaction = self._compaction
        if compaction is not None:
            compaction.cancel()
            await asyncio.gather(compaction, return_exceptions=True)

    def _set_compaction_point(self) -> None:
        self._compact_at_bytes = max(self._compact_bytes_min, self._snapshot_bytes // 2)
