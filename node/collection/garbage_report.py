"""What of a node is on its way out, why, and what it waits for: for operators, without doing it."""

from __future__ import annotations

import asyncio
from typing import Final

from node.collection.collection_settings import CollectionSettings
from node.collection.collector import Collector, is_chunk
from node.collection.purge import Purge
from node.collection.trash import Trash, size_of
from node.local_store import LocalRecordStore
from ring.purging import CollectionReply, GarbageTally
from ring.record import RecordEntry

TIME_MAX_S: Final = 8.0
GOES, STAYS = "goes now", "stays"
CHUNKS, TRASH, TOMBSTONES = "chunks", "trash", "tombstones"

_SLICE_RECORDS: Final = 2_048
_UPLOAD: Final = "an upload that was broken off left them"
_NO_BLOB: Final = "no blob needs them"
_GRACE: Final = "nobody needs them, and their grace is not over"
_OVER: Final = "its time is over"
_KEPT: Final = "its time is not over"
_RESTS: Final = "the time of the trash is not over"
_ASKED: Final = "every node that may lack the delete has to hold it first"
_SETTLED: Final = "settled here: every other node has to say the same"


class GarbageReport:
    """Made anew for each question; asks covers about chunks, and condemns nothing."""

    def __init__(
        self,
        store: LocalRecordStore,
        settings: CollectionSettings,
        trash: Trash,
        collector: Collector,
        purge: Purge,
    ) -> None:
        self._store = store
        self._settings = settings
        self._trash = trash
        self._collector = collector
        self._purge = purge
        self._found: dict[tuple[str, str, str], tuple[int, int]] = {}

    async def made(self) -> CollectionReply:
        """Look at as much as there is time for."""
        complete = False
        try:
            async with asyncio.timeout(TIME_MAX_S):
                await self._look()
                complete = True
        except TimeoutError:
            pass
        tallies = [GarbageTally(*what, *count) for what, count in sorted(self._found.items())]
        waiting = sorted(self._purge.waiting.items())
        tallies += [
            GarbageTally(TOMBSTONES, STAYS, f"in the last round they waited for {name}", count, 0)
            for name, count in waiting[:256]
        ]
        return CollectionReply(tuple(tallies), complete)

    async def _look(self) -> None:
        after: bytes | None = None
        while True:
            found = await self._store.disposal.leaving(after, _SLICE_RECORDS)
            chunks = [entry for entry in found.entries if is_chunk(entry.state)]
            for entry in found.entries:
                if not is_chunk(entry.state):
                    self._count(entry, *self._fate(entry))
            verdicts = await self._collector.judge([entry.key for entry in chunks])
            for entry in chunks:
                reason = verdicts[entry.key]
                if reason is not None:
                    self._count(entry, CHUNKS, STAYS, reason)
                elif self._collector.is_due(entry):
                    why = _NO_BLOB if entry.state.claimed else _UPLOAD
                    self._count(entry, CHUNKS, GOES, why)
                else:
                    self._count(entry, CHUNKS, STAYS, _GRACE)
            if found.upto is None:
                return
            after = found.upto

    def _fate(self, entry: RecordEntry) -> tuple[str, str, str]:
        """What becomes of a record that is no chunk."""
        state = entry.state
        is_over = self._trash.is_over(state)
        if state.in_trash:
            return TRASH, GOES if is_over else STAYS, _OVER if is_over else _KEPT
        if state.settled:
            return TOMBSTONES, STAYS, _SETTLED
        return TOMBSTONES, STAYS, _ASKED if is_over else _RESTS

    def _count(self, entry: RecordEntry, *what: str) -> None:
        key = (what[0], what[1], what[2])
        records, size_bytes = self._found.get(key, (0, 0))
        self._found[key] = (records + 1, size_bytes + size_of(entry.state))
