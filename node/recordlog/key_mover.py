"""Writing anew all that is known of keys: what every freeing of a segment is made of.

Rules:
1.  A key's statement begins with forgetting it and has row, place and claims: whatever older
    segments say of the key does not count any more.
2.  A value that lies in the segment that is to go is checked and goes along.  A bad one is put
    aside and its row loses it; one that cannot be read raises StorageFault, and nothing of its key
    was changed.
3.  Keys are locked while they are at work, a few at a time, and the event loop has its turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol

import structlog
from msgspec import Struct

from node.index.located_table import LocatedTable
from node.index.location import Location
from node.key_locks import KeyLocks
from node.record_change import RecordChange
from node.record_row import pack_row
from node.recordlog.page_values import PageValues
from node.recordlog.record_log import RecordLog
from node.recordlog.segment_files import SegmentFiles
from node.recordlog.segment_scan import Spend
from node.value_check import ValueCheck
from ring.digest import Buffer, Digest
from ring.limits import KIB, PAYLOAD_SMALL_BYTES_MAX
from ring.record import RecordKey, RecordState, without_value

ROW_BYTES_ABOUT: Final = 160  # of a row in the log, with its place and that it is forgotten first
SLICE_KEYS: Final = 128  # locked together
_BATCH_BYTES: Final = 128 * KIB  # of values that go into one commit, unless one is more
_KEYS_A_TURN: Final = 16
_KEYS_SCANNED: Final = 64
_CLAIMANTS: Final = 1000

log = structlog.get_logger()


Wanted = Callable[[bytes, Location | None], bool]
"""Whether a key of the table is to be moved; its value's place comes along."""


class Moved(Struct, frozen=True):
    """How many keys were written anew, and about how many bytes that took."""

    keys: int
    size_bytes: int


class Finish(Protocol):
    """node.operations.Operations.finish."""

    async def __call__(self, operation: Callable[[], Coroutine[Any, Any, Moved]]) -> Moved:
        """What the operation returns; once begun it goes on if the caller is cancelled."""


class KeyMover:
    """See the module."""

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
        spend: Spend,
    ) -> None:
        self._files = files
        self._table = table
        self._log = ledger
        self._values = values
        self._check = check
        self._locks = locks
        self._finish = finish
        self._spend = spend

    async def move(self, keys: Iterable[bytes], number: int, *, forget: bool) -> None:
        """Write keys anew, their values if those are in the segment `number`.

        forget: also say of those that the table does not know that they are gone.  Raises DiskFull,
        StorageFault or Corrupt; what was done until then stays.
        """
        rest = iter(keys)
        while slice_ := tuple(islice(rest, SLICE_KEYS)):
            while slice_:
                moved = await self._finish(partial(self._move, slice_, number, forget=forget))
                await self._spend(moved.size_bytes)
                slice_ = slice_[moved.keys :]

    async def move_where(self, wanted: Wanted, number: int) -> None:
        """`move` of what is wanted in the whole table, in the order of keys; raises as `move`."""
        after: bytes | None = None
        found: list[bytes] = []
        while keys := self._table.order.after(after, _KEYS_SCANNED):
            found += [key for key in keys if wanted(key, self._table.location(key))]
            after = keys[-1]
            await asyncio.sleep(0)
            if len(found) >= SLICE_KEYS:
                await self.move(found, number, forget=False)
                found = []
        await self.move(found, number, forget=False)

    async def count_known(self, keys: Iterable[bytes]) -> int:
        """How many of the keys the table knows."""
        known = 0
        rest = iter(keys)
        while slice_ := tuple(islice(rest, _KEYS_SCANNED)):
            known += sum(self._table.state(key).exists for key in slice_)
            await asyncio.sleep(0)
        return known

    def has_claims(self, key: bytes) -> bool:
        """Whether anybody claims the key."""
        return bool(self._table.claimants(key, None, 1)[0])

    async def _move(self, keys: Sequence[bytes], number: int, *, forget: bool) -> Moved:
        """Write the first of the keys anew, as many as make a batch."""
        change = RecordChange()
        places: dict[bytes, Location | None] = {}
        moved_bytes = count = 0
        async with self._locks.hold(keys):
            try:
                for count, key in enumerate(keys, start=1):
                    state = self._table.state(key)
                    if state.exists or forget:
                        change.dropped.append(key)
                    if state.exists:
                        at = self._table.location(key) if state.held else None
                        if at is not None and at.segment == number:
                            state = await self._restage(RecordKey.from_raw(key), state, at)
                            moved_bytes += at.size_bytes
                        elif at is not None:
                            places[key] = at
                        change.rows[key] = pack_row(state)
                        change.claims += self._claims(key)
                    if moved_bytes >= _BATCH_BYTES:
                        break
                    if count % _KEYS_A_TURN == 0:
                        await asyncio.sleep(0)
                if change:
                    await self._log.commit_places(change, places, essential=True)
            finally:
                for key in keys[:count]:
                    self._log.staged.pop(key, None)
        return Moved(count, moved_bytes + ROW_BYTES_ABOUT * (count + len(change.claims)))

    async def _restage(self, key: RecordKey, state: RecordState, at: Location) -> RecordState:
        """Have the value go along with the next commit if it is good; the state that makes."""
        value = await self._read(at)
        if await self._check.is_good(key, state.kind, state.size_bytes, value):
            await self._values.write_again(key, state.kind, value)
            return state
        log.warning("a bad copy was found by compaction", digest=str(key.digest))
        await self._values.set_aside(key, state.kind, at)
        return without_value(state)

    async def _read(self, at: Location) -> Buffer:
        if at.size_bytes <= PAYLOAD_SMALL_BYTES_MAX:
            open_file = self._files.reader_now(at.segment)
            if open_file is not None:
                value = open_file.read_now(at.offset, at.size_bytes)
                if value is not None:
                    return value
        async with self._files.reading(at.segment) as file:
            return await file.read(at.offset, at.size_bytes)

    def _claims(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        after: Digest | None = None
        done = False
        while not done:
            claimants, done = self._table.claimants(key, after, _CLAIMANTS)
            yield from ((key, claimant.key) for claimant in claimants)
            after = claimants[-1] if claimants else None
