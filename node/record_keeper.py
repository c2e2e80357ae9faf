"""The record store of a node, whatever keeps the bytes and the rows.

What a write does to a record is decided by ring/admission.py; this file brings the bytes, the rows
and the answer into an order that no crash can turn into a lie.

Rules:
1.  Bytes, then row, then answer: a row says held only after its bytes are durable.  Values may
    leave that to the commit, so whatever was written is followed by one, also of an equal row.
2.  Row, then bytes, when bytes go: after a tombstone's row is durable its value is removed.
3.  Every value is checked before it is stored, and a copy that is here already is compared with it:
    a bad one goes into quarantine and is replaced before the answer.
4.  One operation at a time for each key; reads ask no lock and see what is durable.
5.  What has begun is finished, also when the caller is gone (node/operations.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from msgspec.structs import replace

from node.key_locks import KeyLocks
from node.ledger import Ledger
from node.operations import Operations
from node.prompt_puts import PromptPuts
from node.record_change import RecordChange
from node.record_copies import RecordCopies
from node.record_disposal import RecordDisposal
from node.record_reader import RecordReader
from node.record_row import pack_row
from node.table import Table
from node.value_check import Offload, ValueCheck, in_place
from node.values import Values
from ring import admission
from ring.admission import PutAnswer
from ring.digest import Buffer, Digest
from ring.errors import BadRequest, DiskFull, StorageFault
from ring.limits import BLOB_BYTES_MAX, GENERATION_MAX, PARTITIONS
from ring.messages import CopyVerdict
from ring.record import (
    NO_ROOT,
    RecordKey,
    RecordKind,
    RecordState,
    Root,
    dead,
    is_live,
    without_value,
)
from ring.seams import Clock

CLOSE_TIMEOUT_S: Final = 10.0

log = structlog.get_logger()


class RecordKeeper(RecordReader):
    """node.local_store.LocalRecordStore over a table, values and a ledger."""

    def __init__(
        self,
        *,
        table: Table,
        values: Values,
        ledger: Ledger,
        clock: Clock,
        offload: Offload = in_place,
        had_state: bool = False,
    ) -> None:
        self._check = ValueCheck(offload)
        super().__init__(table, values, RecordCopies(values, ledger, self._check))
        self.had_state = had_state
        self._ledger = ledger
        self._clock = clock
        self._locks = KeyLocks()
        self._operations = Operations()
        self._prompt_puts = PromptPuts(
            table=table,
            values=values,
            ledger=ledger,
            clock=clock,
            locks=self._locks,
            operations=self._operations,
        )
        self.disposal = RecordDisposal(
            table=table,
            values=values,
            ledger=ledger,
            clock=clock,
            locks=self._locks,
            operations=self._operations,
        )

    # --- writes -----------------------------------------------------------------------------------

    async def put_root(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> PutAnswer:
        """See RecordStore.  `had` says that GET would have found this copy, and it is good."""
        _check_generation(key, generation, least=1)
        await self._check.require(key, kind, size_bytes, value)
        return await self._operations.finish(
            lambda: self._put_root(key, kind, size_bytes, generation, value)
        )

    def begin_put_root(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> asyncio.Future[PutAnswer] | None:
        """See LocalRecordStore."""
        _check_generation(key, generation, least=1)
        if not self._check.require_now(key, kind, size_bytes, value):
            return None
        begun = self._prompt_puts.begin(key, kind, size_bytes, generation, value)
        return begun or self._operations.begin(
            lambda: self._put_root(key, kind, size_bytes, generation, value)
        )

    async def put_chunk(
        self, key: RecordKey, claimant: Digest | None, value: Buffer
    ) -> PutAnswer:
        """See RecordStore.  `had` says that a good copy was here."""
        await self._check.require(key, RecordKind.DATA, len(value), value)
        return await self._operations.finish(lambda: self._put_chunk(key, claimant, value))

    async def absorb(
        self,
        key: RecordKey,
        state: RecordState,
        claimants: Sequence[Digest],
        value: Buffer | None,
        *,
        still: Callable[[], bool] | None = None,
    ) -> bool:
        """See LocalRecordStore."""
        if state.size_bytes > BLOB_BYTES_MAX or state.root > dead(GENERATION_MAX):
            raise BadRequest(f"{key.digest}: a peer's state is out of bounds")
        if value is not None:
            await self._check.require(key, state.kind, state.size_bytes, value)
        return await self._operations.finish(
            lambda: self._absorb(key, state, claimants, value, still)
        )

    async def bury(
        self, key: RecordKey, generation: int, *, keep_value: bool = False
    ) -> RecordState:
        """See RecordStore."""
        _check_generation(key, generation, least=0)
        return await self._operations.finish(
            lambda: self._bury(key, generation, keep_value=keep_value)
        )

    async def drop(self, key: RecordKey, *, still: Callable[[], bool] | None = None) -> bool:
        """See LocalRecordStore."""
        return await self._operations.finish(lambda: self._drop(key, still))

    async def confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[bool]:
        return await self._operations.finish(lambda: self._confirm(claimant, chunks))

    async def raise_floor(self, partition: int, generation: int) -> None:
        if not (0 <= partition < PARTITIONS and 0 <= generation <= GENERATION_MAX):
            raise BadRequest(f"floor {generation} of partition {partition} is out of bounds")
        if generation > self._table.floor(partition):
            change = RecordChange(floors={partition: generation})
            await self._ledger.commit(change, essential=True)

    async def until_past(self) -> None:
        """See LocalRecordStore."""
        await self._operations.until_past()

    async def verify(self, key: RecordKey) -> CopyVerdict:
        return await self._operations.finish(lambda: self._verify(key))

    async def give_up(self, key: RecordKey) -> CopyVerdict:
        return await self._operations.finish(lambda: self._give_up(key))

    async def close(self) -> bool:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._operations.close()
                await self._ledger.close()
        except TimeoutError:
            log.warning("the store was closed while its disk did not answer")
            return False
        return True

    async def _second_look(self, key: RecordKey) -> tuple[RecordState, Buffer | None]:
        return await self._operations.finish(lambda: self._look_again(key))

    # --- operations, each with its key locked -----------------------------------------------------

    async def _put_root(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> PutAnswer:
        async with self._locks.hold((key.raw,)):
            before = self._table.state(key.raw)
            floor = self._table.floor(key.digest.partition)
            if admission.refuses_put(before, floor, generation):
                return PutAnswer(before.root, floor, had=False)
            self.disposal.condemned.wake(key.raw)
            had_copy = await self._copies.keep(key, kind, value, before)
            after = admission.put_root(
                before,
                kind=kind,
                size_bytes=size_bytes,
                generation=generation,
                now_s=self._now_s(),
            )
            await self._commit_copy(key, before, after, wrote=not had_copy)
            return PutAnswer(after.root, floor, had=had_copy and before.visible)

    async def _put_chunk(
        self, key: RecordKey, claimant: Digest | None, value: Buffer
    ) -> PutAnswer:
        async with self._locks.hold((key.raw,)):
            self.disposal.condemned.wake(key.raw)
            before = self._table.state(key.raw)
            had_copy = await self._copies.keep(key, RecordKind.DATA, value, before)
            after = admission.put_chunk(
                replace(before, kind=RecordKind.DATA),
                size_bytes=len(value),
                claimed=claimant is not None,
                now_s=self._now_s(),
            )
            claimants = () if claimant is None else (claimant,)
            await self._commit_copy(key, before, after, claimants, wrote=not had_copy)
            floor = self._table.floor(key.digest.partition)
            return PutAnswer(after.root, floor, had=had_copy)

    async def _absorb(
        self,
        key: RecordKey,
        state: RecordState,
        claimants: Sequence[Digest],
        value: Buffer | None,
        still: Callable[[], bool] | None,
    ) -> bool:
        async with self._locks.hold((key.raw,)):
            if still is not None and not still():
                return False
            self.disposal.condemned.pardon(key.raw)
            before = self._table.state(key.raw)
            brought = value is not None
            after = admission.absorb(
                before, state, claimed=bool(claimants), brought=brought, now_s=self._now_s()
            )
            wrote = False
            if value is not None and after.held and not after.in_trash:
                wrote = not await self._copies.keep(key, state.kind, value, before)
                after = replace(after, verified_at_s=self._now_s())
            if before.held and not after.held:
                await self._forget(key, before, after)
            else:
                await self._commit_copy(key, before, after, claimants, wrote=wrote)
            return True

    async def _bury(self, key: RecordKey, generation: int, *, keep_value: bool) -> RecordState:
        async with self._locks.hold((key.raw,)):
            before = self._table.state(key.raw)
            after = admission.bury(
                before, generation, keep_value=keep_value, now_s=self._now_s()
            )
            if after != before:
                await self._forget(key, before, after)
            return after

    async def _drop(self, key: RecordKey, still: Callable[[], bool] | None) -> bool:
        async with self._locks.hold((key.raw,)):
            if still is not None and not still():
                return False
            self.disposal.condemned.wake(key.raw)
            before = self._table.state(key.raw)
            if before.exists:
                await self._ledger.commit(RecordChange(dropped=[key.raw]), essential=True)
            if before.held:
                await self._values.remove(key, before.kind)
            return True

    async def _confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[bool]:
        keys = [RecordKey(chunk).raw for chunk in chunks]
        async with self._locks.hold(keys):
            states = {key: self._table.state(key) for key in keys}
            condemned = self.disposal.condemned
            here = {
                key: state.held and state.kind is RecordKind.DATA and not condemned.has(key)
                for key, state in states.items()
            }
            change = RecordChange()
            for key, state in states.items():
                if here[key] and not self._table.is_claimed_by(key, claimant):
                    change.claims.append((key, claimant.key))
                    if not state.claimed:
                        change.rows[key] = pack_row(replace(state, claimed=True))
            if change:
                await self._ledger.commit(change)
            return [here[key] for key in keys]

    async def _verify(self, key: RecordKey) -> CopyVerdict:
        async with self._locks.hold((key.raw,)):
            before = self._table.state(key.raw)
            if not before.held:
                return CopyVerdict.ABSENT
            try:
                value = await self._values.read(key, before.kind)
            except FileNotFoundError:
                await self._copies.lose(key, before)
                return CopyVerdict.ABSENT
            if await self._check.is_good(key, before.kind, before.size_bytes, value):
                if before.in_trash:
                    return CopyVerdict.GOOD  # its row says when it was buried
                now_s = self._now_s()
                row = pack_row(replace(before, verified_at_s=now_s))
                with suppress(DiskFull):  # the copy is good all the same
                    await self._ledger.commit(RecordChange(rows={key.raw: row}))
                return CopyVerdict.GOOD
            await self._copies.set_aside(key, before)
            return CopyVerdict.QUARANTINED

    async def _give_up(self, key: RecordKey) -> CopyVerdict:
        async with self._locks.hold((key.raw,)):
            state = self._table.state(key.raw)
            if not state.held:
                return CopyVerdict.ABSENT
            try:
                await self._values.read(key, state.kind)
            except FileNotFoundError:
                await self._copies.lose(key, state)
                return CopyVerdict.ABSENT
            except StorageFault as error:
                await self._copies.set_aside(key, state, f"it cannot be read: {error.detail}")
                return CopyVerdict.QUARANTINED
            return CopyVerdict.GOOD

    async def _look_again(self, key: RecordKey) -> tuple[RecordState, Buffer | None]:
        async with self._locks.hold((key.raw,)):
            state = self._table.state(key.raw)
            if not state.held:
                return state, None
            try:
                value = await self._values.read(key, state.kind)
            except FileNotFoundError:
                await self._copies.lose(key, state)
            else:
                if self._has_length(state, value):
                    return state, value
                await self._copies.set_aside(key, state)
            return without_value(state), None

    # --- steps of operations ----------------------------------------------------------------------

    async def _forget(self, key: RecordKey, before: RecordState, after: RecordState) -> None:
        """Make a state durable that may hold no value any more, then remove the value."""
        change = RecordChange(rows={key.raw: pack_row(after)})
        await self._ledger.commit(change, essential=True)
        if before.held and not after.held:
            await self._values.remove(key, before.kind)

    async def _commit_copy(
        self,
        key: RecordKey,
        before: RecordState,
        after: RecordState,
        claimants: Sequence[Digest] = (),
        *,
        wrote: bool,
    ) -> None:
        """Make a state durable, and its value; a value that no row came to know is removed."""
        changes = wrote or after != before
        change = RecordChange(rows={key.raw: pack_row(after)} if changes else {})
        for claimant in claimants:
            if not self._table.is_claimed_by(key.raw, claimant):
                change.claims.append((key.raw, claimant.key))
        if not change:
            return
        try:
            await self._ledger.commit(change, essential=_is_dead(after.root))
        except (DiskFull, StorageFault):
            if after.held and not before.held:
                with suppress(StorageFault):
                    await self._values.remove(key, after.kind)
            raise

    def _now_s(self) -> int:
        return int(self._clock.now_s())


def _check_generation(key: RecordKey, generation: int, *, least: int) -> None:
    if not least <= generation <= GENERATION_MAX:
        raise BadRequest(f"{key.digest}: generation {generation} is out of bounds")


def _is_dead(root: Root) -> bool:
    return root != NO_ROOT and not is_live(root)
