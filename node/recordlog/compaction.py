"""Freeing segments that are mostly dead, by writing anew what still counts.

Rules:
1.  One slice of keys at a time, with their keys locked; whoever reads meanwhile finds the old place
    or the new one.
2.  What is written anew is checked first.  A bad copy goes into quarantine and its row loses it;
    one that cannot be read stays where it is, and its segment too.
3.  Of every key that a log segment speaks of, all that is known is written anew as one change that
    begins with forgetting it: so the log alone still says what the table says, also of keys that
    were dropped, for as long as an older segment may speak of them.
4.  A log segment is removed after a checkpoint covers its end, a bulk segment when no location is
    in it and no value waits there for its commit.  Removals are durable before the next one.
5.  A segment that is damaged is never removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol

import structlog

from node.index.located_table import LocatedTable
from node.index.location import Location
from node.key_locks import KeyLocks
from node.record_change import RecordChange
from node.record_row import pack_row
from node.recordlog.page_values import PageValues
from node.recordlog.record_log import RecordLog
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_head import SegmentKind
from node.recordlog.segment_scan import SpokenOf, extents, spoken_of
from node.value_check import ValueCheck
from ring.digest import Digest
from ring.record import RecordKey, RecordState, without_value

SLICE_KEYS: Final = 32
SLICE_KEYS_SCANNED: Final = 256
ROW_BYTES_ABOUT: Final = 160  # of a row in the log, with its place
_CLAIMANTS: Final = 1000

log = structlog.get_logger()


class Finish(Protocol):
    """node.operations.Operations.finish."""

    async def __call__(self, operation: Callable[[], Coroutine[Any, Any, int]]) -> int:
        """What the operation returns; once begun it goes on if the caller is cancelled."""


class Throttle:
    """Bytes per second; waits after the fact."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s

    async def spend(self, size_bytes: int) -> None:
        """Wait for as long as this many bytes may take."""
        await asyncio.sleep(size_bytes / self._bytes_per_s)


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
        self._values = values
        self._check = check
        self._locks = locks
        self._finish = finish
        self._throttle = throttle

    async def look_at_log(self, number: int) -> SpokenOf:
        """What a log segment speaks of; raises Corrupt or StorageFault."""
        spoken = await spoken_of(self._files, number, await self._end_of(number))
        await self._throttle.spend(spoken.end)
        return spoken

    def cost_bytes(self, number: int, spoken: SpokenOf) -> int:
        """About how much the log grows by freeing a log segment."""
        known = sum(self._table.state(key).exists for key in spoken.keys)
        return self._table.live_bytes.get(number, 0) + ROW_BYTES_ABOUT * known

    async def free_log(self, number: int, spoken: SpokenOf) -> bool:
        """Free a log segment; whether that worked.  Raises DiskFull, StorageFault or Corrupt."""
        is_oldest = number == min(self._files.numbers(SegmentKind.LOG))
        floors = {part: self._table.floor(part) for part in spoken.partitions}
        if floors:
            await self._log.commit(RecordChange(floors=floors), essential=True)
        for keys in _slices(spoken.keys):
            spent = await self._finish(partial(self._move, keys, number, is_oldest=is_oldest))
            await self._throttle.spend(spent)
        covered = self._table.covered
        if covered is None or covered.segment <= number:
            covered = await self._table.checkpoint()
        if covered is None or covered.segment <= number:
            return False
        return await self._remove(number)

    async def free_bulk(self, number: int) -> bool:
        """Free a bulk segment; whether that worked.  Raises DiskFull, StorageFault or Corrupt."""
        if number in self._table.live_bytes:
            async for extent in extents(self._files, number):
                if self._table.location(extent.key) == extent.location:
                    await self._move_large((extent.key,), number)
        if number in self._table.live_bytes:
            log.warning("heads of extents are damaged", segment=number)
            await self._move_unheaded(number)
        return await self._remove(number)

    def is_waited_for(self, number: int) -> bool:
        """Whether a value lies there whose commit is still to come."""
        staged = self._log.staged.values()
        return any(isinstance(at, Location) and at.segment == number for at in staged)

    # --- steps ------------------------------------------------------------------------------------

    async def _remove(self, number: int) -> bool:
        live = number in self._table.live_bytes
        if live or self.is_waited_for(number) or not self._log.is_settled:
            return False
        await self._files.remove(number)
        self.freed_total += 1
        log.debug("a segment was freed", segment=number)
        return True

    async def _move_large(self, keys: Sequence[bytes], number: int) -> None:
        spent = await self._finish(partial(self._move, keys, number, is_oldest=False))
        await self._throttle.spend(spent)

    async def _move_unheaded(self, number: int) -> None:
        """Go through the whole table for what lies in a segment and does not say so there."""
        after: bytes | None = None
        while keys := self._table.order.after(after, SLICE_KEYS_SCANNED):
            for key in keys:
                at = self._table.location(key)
                if at is not None and at.segment == number:
                    await self._move_large((key,), number)
            after = keys[-1]
            await asyncio.sleep(0)

    async def _move(self, keys: Sequence[bytes], number: int, *, is_oldest: bool) -> int:
        """Write anew all that is known of keys, their values if those are in the segment."""
        change = RecordChange()
        places: dict[bytes, Location | None] = {}
        moved_bytes = 0
        async with self._locks.hold(keys):
            try:
                for key in keys:
                    state = self._table.state(key)
                    if state.exists or not is_oldest:
                        change.dropped.append(key)
                    if not state.exists:
                        continue
                    at = self._table.location(key)
                    if at is not None and at.segment == number:
                        state = await self._restage(RecordKey.from_raw(key), state, at)
                        moved_bytes += at.size_bytes
                    else:
                        places[key] = at
                    change.rows[key] = pack_row(state)
                    change.claims += self._claims(key)
                await self._log.commit_places(change, places, essential=True)
            finally:
                for key in keys:
                    self._log.staged.pop(key, None)
        return moved_bytes + ROW_BYTES_ABOUT * (len(keys) + len(change.claims))

    async def _restage(self, key: RecordKey, state: RecordState, at: Location) -> RecordState:
        """Have the value go along with the next commit if it is good; the state that makes."""
        async with self._files.reading(at.segment) as file:
            value = await file.read(at.offset, at.size_bytes)
        if await self._check.is_good(key, state.kind, state.size_bytes, value):
            await self._values.write_again(key, state.kind, value)
            return state
        log.warning("a bad copy was found by compaction", digest=str(key.digest))
        await self._values.set_aside(key, state.kind, at)
        return without_value(state)

    def _claims(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        after: Digest | None = None
        done = False
        while not done:
            claimants, done = self._table.claimants(key, after, _CLAIMANTS)
            yield from ((key, claimant.key) for claimant in claimants)
            after = claimants[-1] if claimants else None

    async def _end_of(self, number: int) -> int | None:
        """Where a log segment ends, as far as others tell."""
        tail = self._log.tail
        known = tail.ends.get(number)
        if known is None:
            known = next((cut.offset for cut in tail.cuts if cut.segment == number), None)
        if known is None:
            later = (other for other in self._files.numbers(SegmentKind.LOG) if other > number)
            follows = (await self._files.head(next(later))).follows
            known = follows.offset if follows.segment == number else None
        return known


def _slices(keys: dict[bytes, None]) -> Iterator[tuple[bytes, ...]]:
    rest = iter(keys)
    while slice_ := tuple(islice(rest, SLICE_KEYS)):
        yield slice_
