"""What a record store answers without changing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from node.fact_reader import FactReader
from node.file_span import FileSpan
from node.local_store import StoreUsage
from node.record_copies import RecordCopies, WhenBad
from node.table import Table
from node.value_check import value_bytes
from node.values import Values
from ring.digest import Buffer, Digest
from ring.errors import BadRequest
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.record import NO_ROOT, RecordEntry, RecordKey, RecordState

_SLICE_ENTRIES: Final = 256  # about a millisecond of the event loop


class RecordReader:
    """The reading half of node/record_keeper.py; everything it says is durable."""

    def __init__(self, table: Table, values: Values, copies: RecordCopies) -> None:
        self._table = table
        self._values = values
        self._copies = copies
        self.facts = FactReader(table, table.sums)

    def get_now(self, key: RecordKey) -> tuple[RecordState, Buffer | None] | None:
        """See LocalRecordStore."""
        state = self._table.state(key.raw)
        if not state.held:
            return state, None
        try:
            value = self._values.read_now(key, state.kind)
        except FileNotFoundError:
            return None
        if value is None or not self._has_length(state, value):
            return None
        return state, value

    def stat_now(self, keys: Sequence[RecordKey]) -> list[RecordState] | None:
        """See LocalRecordStore."""
        return [self._table.state(key.raw) for key in keys]

    async def get(self, key: RecordKey) -> tuple[RecordState, Buffer | None]:
        """See RecordStore."""
        answer = self.get_now(key)
        if answer is not None:
            return answer
        state = self._table.state(key.raw)
        value: Buffer | None
        try:
            value = await self._values.read(key, state.kind)
        except FileNotFoundError:
            value = None
        if value is not None and self._has_length(state, value):
            return state, value
        return await self._second_look(key)

    async def stat(self, keys: Sequence[RecordKey]) -> list[RecordState]:
        """See RecordStore."""
        return [self._table.state(key.raw) for key in keys]

    async def open_span(self, key: RecordKey) -> tuple[RecordState, FileSpan] | None:
        """See LocalRecordStore."""
        state = self._table.state(key.raw)
        length = value_bytes(state.kind, state.size_bytes)
        if not state.held or length <= PAYLOAD_SMALL_BYTES_MAX:
            return None
        try:
            span = await self._values.open_span(key, state.kind)
        except FileNotFoundError:
            return None
        if span is not None and span.size_bytes != length:
            span.close()
            return None
        return None if span is None else (state, span)

    async def page(
        self, after: RecordKey | None, limit: int, *, roots_only: bool
    ) -> tuple[list[RecordEntry], bool]:
        """See RecordStore."""
        if limit < 1:
            raise BadRequest(f"a page of {limit} entries says nothing")
        entries: list[RecordEntry] = []
        position = None if after is None else after.raw
        while keys := self._table.order.after(position, _SLICE_ENTRIES):
            for key in keys:
                state = self._table.state(key)
                if roots_only and (state.root == NO_ROOT or state.settled):
                    continue
                if len(entries) == limit:
                    return entries, False
                entries.append(RecordEntry(RecordKey.from_raw(key), state))
            position = keys[-1]
            await asyncio.sleep(0)
        return entries, True

    async def claims(
        self, key: RecordKey, after: Digest | None, limit: int
    ) -> tuple[list[Digest], bool]:
        """See RecordStore."""
        return self._table.claimants(key.raw, after, limit)

    async def floors(self) -> dict[int, int]:
        """See RecordStore."""
        return self._table.floors()

    def watch_losses(self, told: Callable[[RecordKey], None]) -> None:
        """See LocalRecordStore."""
        self._copies.when_lost = told

    def watch_bad_copies(self, told: WhenBad) -> None:
        """See LocalRecordStore."""
        self._copies.when_bad = told

    async def quarantined(self, key: RecordKey) -> list[str]:
        """See LocalRecordStore."""
        return await self._values.quarantined(key)

    def usage(self) -> StoreUsage:
        """See LocalRecordStore."""
        return StoreUsage(
            records=self._table.records,
            held=self._table.held,
            bytes_stored=self._table.bytes_stored,
            quarantined_total=self._copies.quarantined_total,
            lost_total=self._copies.lost_total,
        )

    async def bytes_free(self) -> int:
        """See LocalRecordStore."""
        return await self._values.bytes_free()

    async def until_damaged(self) -> str:
        """See LocalRecordStore; a table in memory never is."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def _second_look(self, key: RecordKey) -> tuple[RecordState, Buffer | None]:
        """The answer of `get` for a record that is not what its row says."""
        raise NotImplementedError

    def _has_length(self, state: RecordState, value: Buffer) -> bool:
        return len(value) == value_bytes(state.kind, state.size_bytes)
