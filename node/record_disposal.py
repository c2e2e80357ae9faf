"""How records leave a store: trash, purged tombstones, collected chunks.

What may go is decided elsewhere (node/collection); here it is looked at once more under the key's
lock, and then goes in an order that no crash can turn into a lie.

Rules:
1.  A tombstone goes in the very change that raises its partition's floor to its generation, so that
    a late put finds either.  Only a settled one goes, and only while nothing newer is known.
2.  A condemned chunk is answered no when a commit confirms it, is read as ever, and is pardoned by
    whatever brings it again.  It goes only while it is condemned by the one who asked about its
    claimants: no claim has been added since.  Condemnations are not durable, and need not be.
3.  Claims go only together with their chunk; a tombstone of the same digest stays.
4.  Row, then bytes.  Everything here is essential: it works on a full disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from msgspec import Struct

from node.key_locks import KeyLocks
from node.ledger import Ledger
from node.operations import Operations
from node.record_change import RecordChange
from node.record_row import pack_row
from node.table import Table
from node.values import Values
from ring import admission
from ring.errors import BadRequest
from ring.limits import GENERATION_MAX
from ring.purge import Tombstone
from ring.record import (
    RecordEntry,
    RecordKey,
    RecordState,
    generation_of,
    is_dead,
    is_live,
)
from ring.seams import Clock

_SLICE_RECORDS: Final = 256  # about a millisecond of the event loop

IDLE_MAX: Final = 65_536

Still = Callable[[], bool]


class Leaving(Struct, frozen=True):
    """Records without a live root among those that were looked at.

    upto: the last key looked at, in stored form; None when there are no more.
    """

    entries: list[RecordEntry]
    upto: bytes | None


class Condemned:
    """Chunks that may go, by RecordKey.raw, and which condemnation it is.

    Also since when chunks were not needed (seconds of the event loop), as far as somebody noted it
    and none of them was put since; never of more than IDLE_MAX.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._next = count(1)
        self._idle_since_s: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def has(self, key: bytes) -> bool:
        """Whether a commit is to be told that the chunk is not there."""
        return key in self._numbers

    def condemn(self, key: bytes) -> int:
        """The number of the condemnation, which is a new one."""
        number = self._numbers[key] = next(self._next)
        return number

    def stands(self, key: bytes, number: int) -> bool:
        """Whether the chunk was not pardoned since."""
        return self._numbers.get(key) == number

    def pardon(self, key: bytes) -> None:
        """Somebody needs it, or it is gone."""
        self._numbers.pop(key, None)

    def idle_since_s(self, key: bytes, now_s: float) -> float:
        """Since when nobody needs the chunk: `now_s` when that was not known before."""
        known = self._idle_since_s.get(key)
        if known is not None:
            return known
        if len(self._idle_since_s) < IDLE_MAX:  # the others begin to wait when these are gone
            self._idle_since_s[key] = now_s
        return now_s

    def wake(self, key: bytes) -> None:
        """It was put again, or is needed: its idle time is over."""
        self._idle_since_s.pop(key, None)
        self.pardon(key)


class RecordDisposal:
    """Over what a RecordKeeper is over."""

    def __init__(
        self,
        *,
        table: Table,
        values: Values,
        ledger: Ledger,
        clock: Clock,
        locks: KeyLocks,
        operations: Operations,
    ) -> None:
        self.condemned = Condemned()
        self._table = table
        self._values = values
        self._ledger = ledger
        self._clock = clock
        self._locks = locks
        self._operations = operations

    async def leaving(self, after: bytes | None, limit: int) -> Leaving:
        """Look at about `limit` records behind `after`."""
        entries: list[RecordEntry] = []
        looked_at = 0
        while looked_at < limit:
            keys = self._table.order.after(after, _SLICE_RECORDS)
            if not keys:
                return Leaving(entries, None)
            for key in keys:
                state = self._table.state(key)
                if not is_live(state.root):
                    entries.append(RecordEntry(RecordKey.from_raw(key), state))
            after = keys[-1]
            looked_at += len(keys)
            await asyncio.sleep(0)
        return Leaving(entries, after)

    async def hold(self, tombstones: Sequence[Tombstone]) -> list[RecordState]:
        """Hold a tombstone for each at that generation at least; the states afterwards."""
        for tombstone in tombstones:
            if not (is_dead(tombstone.root) and generation_of(tombstone.root) <= GENERATION_MAX):
                raise BadRequest(f"{tombstone.key.digest}: {tombstone.root} is no tombstone")
        return await self._operations.finish(lambda: self._hold(tombstones))

    async def settle(self, tombstones: Sequence[Tombstone], still: Still) -> list[RecordKey]:
        """Mark those that are unchanged as settled, if `still` says yes; which were."""
        return await self._operations.finish(lambda: self._settle(tombstones, still))

    async def purge(self, tombstones: Sequence[Tombstone], still: Still) -> list[RecordKey]:
        """Forget those that are unchanged and settled, if `still` says yes; which were."""
        return await self._operations.finish(lambda: self._purge(tombstones, still))

    async def discard(self, keys: Sequence[RecordKey]) -> int:
        """Remove what is in the trash of these records; how many bytes that was."""
        return await self._operations.finish(lambda: self._discard(keys))

    async def condemn(self, key: RecordKey) -> int | None:
        """Condemn what is no blob, deleted or not; the number, None when it is one.

        What was confirmed before has its claims in the table afterwards.
        """
        return await self._operations.finish(lambda: self._condemn(key))

    async def collect(self, key: RecordKey, number: int) -> bool:
        """Remove a chunk that still stands condemned; whether it went."""
        return await self._operations.finish(lambda: self._collect(key, number))

    # --- operations, each with its keys locked ----------------------------------------------------

    async def _hold(self, tombstones: Sequence[Tombstone]) -> list[RecordState]:
        async with self._locks.hold(one.key.raw for one in tombstones):
            now_s = self._now_s()
            change = RecordChange()
            states: list[RecordState] = []
            for one in tombstones:
                raw = one.key.raw
                before = self._table.state(raw)
                generation = generation_of(one.root)
                after = admission.bury(before, generation, keep_value=True, now_s=now_s)
                states.append(after)
                if after != before:
                    change.rows[raw] = pack_row(after)
            if change:
                await self._ledger.commit(change, essential=True)
            return states

    async def _settle(self, tombstones: Sequence[Tombstone], still: Still) -> list[RecordKey]:
        async with self._locks.hold(one.key.raw for one in tombstones):
            change, keys = RecordChange(), []
            for one in tombstones:
                state = self._table.state(one.key.raw)
                if state.root == one.root and state.is_tombstone and not state.settled:
                    change.rows[one.key.raw] = pack_row(admission.settle(state))
                    keys.append(one.key)
            if not keys or not still():
                return []
            await self._ledger.commit(change, essential=True)
            return keys

    async def _purge(self, tombstones: Sequence[Tombstone], still: Still) -> list[RecordKey]:
        async with self._locks.hold(one.key.raw for one in tombstones):
            change, keys = RecordChange(), []
            for one in tombstones:
                state = self._table.state(one.key.raw)
                if state.root != one.root or not state.settled:
                    continue
                partition, generation = one.key.digest.partition, generation_of(one.root)
                change.dropped.append(one.key.raw)
                change.floors[partition] = max(generation, change.floors.get(partition, 0))
                keys.append(one.key)
            if not keys or not still():
                return []
            await self._ledger.commit(change, essential=True)
            return keys

    async def _discard(self, keys: Sequence[RecordKey]) -> int:
        async with self._locks.hold(key.raw for key in keys):
            change, gone = RecordChange(), []
            for key in dict.fromkeys(keys):
                state = self._table.state(key.raw)
                if state.in_trash:
                    change.rows[key.raw] = pack_row(admission.discard(state))
                    gone.append((key, state.kind))
            if not gone:
                return 0
            sizes = [self._table.value_bytes(key.raw, kind) or 0 for key, kind in gone]
            await self._ledger.commit(change, essential=True)
            for key, kind in gone:
                await self._values.remove(key, kind)
                self.condemned.wake(key.raw)
            return sum(sizes)

    async def _condemn(self, key: RecordKey) -> int | None:
        async with self._locks.hold((key.raw,)):
            state = self._table.state(key.raw)
            if not state.exists or is_live(state.root) or state.in_trash:
                return None
            return self.condemned.condemn(key.raw)

    async def _collect(self, key: RecordKey, number: int) -> bool:
        raw = key.raw
        async with self._locks.hold((raw,)):
            if not self.condemned.stands(raw, number):
                return False
            state = self._table.state(raw)
            if is_live(state.root):
                self.condemned.pardon(raw)
                return False
            change = RecordChange(dropped=[raw])
            if is_dead(state.root):
                row = RecordState(root=state.root, verified_at_s=self._now_s())
                change.rows[raw] = pack_row(row)
            await self._ledger.commit(change, essential=True)
            if state.held:
                await self._values.remove(key, state.kind)
            self.condemned.wake(raw)
            return True

    def _now_s(self) -> int:
        return int(self._clock.now_s())
