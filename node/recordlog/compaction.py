"""Freeing segments that are mostly dead, by writing anew what still counts.

Rules:
1.  A few keys at a time, with their keys locked (node/recordlog/key_mover.py); whoever reads
    meanwhile finds the old place or the new one.
2.  What is written anew is checked first.  A bad copy goes into quarantine and its row loses it;
    one that cannot be read stays where it is, and its segment too.
3.  Of every key that a log segment speaks of, all that is known is written anew as one change that
    begins with forgetting it: so the log alone still says what the table says, also of keys that
    were dropped, for as long as an older segment may speak of them.
4.  A log segment is removed after a checkpoint covers its end, a bulk segment when no location is
    in it and no value waits there for its commit.  Removals are durable before the next one.
5.  Of a damaged log segment D nobody knows any more what it spoke of.  Of whatever it may have been
    it is enough to write anew, as in rule 3:
    a.  the floors of all partitions;
    b.  every key that a segment older than D speaks of;
    c.  every key of the table, but for those whose value lies in another log segment and that
        nobody claims.

Why rule 5 is enough.  Take a key that was not written anew; the log must say the same of it with
and without D.  By b no older segment speaks of it.  If the table does not have it, then either no
segment but D speaks of it, or a later one has the last word, which is that it was dropped.  If the
table has it, then by c its value lies in a later segment, in the batch that has its row; what
counts of row and place is in there or behind.  And that there are no claims is said by a drop in a
later segment or true of the log without D from the beginning: D's own claims go with it.  Changes
that clients make meanwhile are at the end of the log, behind D, and act on what is the same.

For b the older segments must be sound, so of several damaged ones the oldest goes first.  None of
this looks at what of D can still be read.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from node.index.located_table import LocatedTable
from node.index.location import Location
from node.key_locks import KeyLocks
from node.record_change import RecordChange
from node.recordlog.key_mover import ROW_BYTES_ABOUT, Finish, KeyMover
from node.recordlog.page_values import PageValues
from node.recordlog.record_log import RecordLog
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import SegmentKind
from node.recordlog.segment_scan import SpokenOf, extents, spoken_of
from node.value_check import ValueCheck
from ring.errors import Corrupt

_PAUSE_S_MIN: Final = 0.002  # the event loop's timers know nothing shorter

log = structlog.get_logger()


class Throttle:
    """Bytes per second; waits after the fact."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._owed_s = 0.0

    async def spend(self, size_bytes: int) -> None:
        """Wait for as long as this many bytes may take; others have a turn in any case."""
        self._owed_s += size_bytes / self._bytes_per_s
        pause_s = self._owed_s if self._owed_s >= _PAUSE_S_MIN else 0
        self._owed_s -= pause_s
        await asyncio.sleep(pause_s)


class Compaction:
    """Works on one segment at a time.  freed_total: segments removed since the store was opened."""

    def __init__(
        self,
        *,
        files: SegmentFiles,
        table: LocatedTable,
        ledger: RecordLog,
        values: PageValues,
        check: ValueCheck,
        locks: KeyLocks,
        finish: Finish,
        throttle: Throttle,
    ) -> None:
        self.freed_total = 0
        self._files = files
        self._table = table
        self._log = ledger
        self._throttle = throttle
        self._mover = KeyMover(
            files=files,
            table=table,
            ledger=ledger,
            values=values,
            check=check,
            locks=locks,
            finish=finish,
            spend=throttle.spend,
        )

    async def look_at_log(self, number: int) -> SpokenOf:
        """What a log segment speaks of, or how it is damaged; raises StorageFault."""
        end = await self._end_of(number)
        return await spoken_of(self._files, number, end, self._throttle.spend)

    async def cost_bytes(self, number: int, spoken: SpokenOf) -> int:
        """About how much the log grows by freeing a log segment; of a damaged one, at most."""
        live_bytes = self._table.live_bytes.get(number, 0)
        if spoken.damage is not None:
            return live_bytes + 2 * ROW_BYTES_ABOUT * self._table.records
        return live_bytes + ROW_BYTES_ABOUT * await self._mover.count_known(spoken.keys)

    async def free_log(self, number: int, spoken: SpokenOf) -> bool:
        """Free a log segment, older ones that are damaged before one that is; whether that worked.

        Raises DiskFull, StorageFault or Corrupt.
        """
        if spoken.damage is not None:
            log.warning("a damaged log segment is being freed", reason=spoken.damage)
            while number in self._files.kinds:
                if not await self._free_damaged(await self._first_damaged(number)):
                    return False
            return True
        floors = {part: self._table.floor(part) for part in spoken.partitions}
        await self._write_floors(floors)
        is_oldest = number == min(self._files.numbers(SegmentKind.LOG))
        await self._mover.move(spoken.keys, number, forget=not is_oldest)
        return await self._remove_covered(number)

    async def free_bulk(self, number: int) -> bool:
        """Free a bulk segment; whether that worked.  Raises DiskFull, StorageFault or Corrupt."""
        if number in self._table.live_bytes:
            async for extent in extents(self._files, number):
                if self._table.location(extent.key) == extent.location:
                    await self._mover.move((extent.key,), number, forget=False)
        if number in self._table.live_bytes:
            log.warning("heads of extents are damaged", segment=number)
            await self._mover.move_where(lambda _, at: _is_in(at, number), number)
        return await self._remove(number)

    def is_waited_for(self, number: int) -> bool:
        """Whether a value lies there whose commit is still to come."""
        staged = self._log.staged.values()
        return any(isinstance(at, Location) and at.segment == number for at in staged)

    # --- damage -----------------------------------------------------------------------------------

    async def _first_damaged(self, number: int) -> int:
        """The oldest log segment that is damaged, `number` if none before it is."""
        for older in self._older_than(number):
            if (await self.look_at_log(older)).damage is not None:
                return older
        return number

    async def _free_damaged(self, number: int) -> bool:
        """Rule 5.  What may not be readable comes first, so that a fault there costs little."""
        await self._mover.move_where(lambda _, at: _is_in(at, number), number)
        await self._write_floors(self._table.floors())
        for older in self._older_than(number):
            spoken = await self.look_at_log(older)
            if spoken.damage is not None:
                raise Corrupt(spoken.damage)
            await self._mover.move(spoken.keys, number, forget=True)
        await self._mover.move_where(lambda key, at: self._may_hang_on(number, key, at), number)
        return await self._remove_covered(number)

    def _may_hang_on(self, number: int, key: bytes, at: Location | None) -> bool:
        """Rule 5 c."""
        if at is None or at.segment == number or self._mover.has_claims(key):
            return True
        return self._files.kinds.get(at.segment) is not SegmentKind.LOG

    def _older_than(self, number: int) -> list[int]:
        return [older for older in self._files.numbers(SegmentKind.LOG) if older < number]

    # --- steps ------------------------------------------------------------------------------------

    async def _write_floors(self, floors: dict[int, int]) -> None:
        if floors:
            await self._log.commit(RecordChange(floors=floors), essential=True)

    async def _remove_covered(self, number: int) -> bool:
        covered = self._table.covered
        if covered is None or covered.segment <= number:
            covered = await self._table.checkpoint()
        if covered is None or covered.segment <= number:
            return False
        return await self._remove(number)

    async def _remove(self, number: int) -> bool:
        live = number in self._table.live_bytes
        if live or self.is_waited_for(number) or not self._log.is_settled:
            return False
        await self._files.remove(number)
        self.freed_total += 1
        log.debug("a segment was freed", segment=number)
        return True

    async def _end_of(self, number: int) -> int | None:
        """Where a log segment ends, as far as others tell."""
        tail = self._log.tail
        known = tail.ends.get(number)
        if known is None:
            known = next((cut.offset for cut in tail.cuts if cut.segment == number), None)
        if known is None:
            later = (other for other in self._files.numbers(SegmentKind.LOG) if other > number)
            try:
                follows = (await self._files.head(next(later))).follows
            except Corrupt:
                return None  # that segment is damaged itself
            known = follows.offset if follows.segment == number else None
        return known


def _is_in(at: Location | None, number: int) -> bool:
    return at is not None and at.segment == number
