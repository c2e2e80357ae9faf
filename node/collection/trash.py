"""Deleted bytes wait here for somebody who wants them back.

Rules:
1.  They go when their time is over, or before, the oldest first, when room is short: trash is free
    space.  Their tombstones stay; purging removes those.
2.  When room is short as much goes as is missing, and then the store is given time to free it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog

from node.collection.collection_settings import CollectionSettings
from node.local_store import LocalRecordStore
from node.value_check import value_bytes
from ring.record import RecordEntry, RecordKey, RecordState
from ring.seams import Clock

OLDEST_MAX: Final = 4_096  # that are found in one look through everything

_LOOK_RECORDS: Final = 4_096

log = structlog.get_logger()


class Trash:
    """What of a store is in the trash."""

    def __init__(
        self,
        store: LocalRecordStore,
        clock: Clock,
        settings: CollectionSettings,
        counters: Counter[str],
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._counters = counters

    def is_over(self, state: RecordState) -> bool:
        """Whether the time of a burial is over; a clock that jumped makes nobody wait for ever."""
        age_s = abs(self._clock.now_s() - state.verified_at_s)
        return age_s >= self._settings.trash_s

    async def discard(self, keys: Sequence[RecordKey]) -> int:
        """Remove what is in the trash of these; how many bytes."""
        freed = await self._store.disposal.discard(keys)
        self._counters["trash_discarded_bytes_total"] += freed
        return freed

    async def make_room(self) -> bool:
        """Rule 2; whether anything went."""
        missing = self._settings.free_bytes_min - await self._store.bytes_free()
        if missing <= 0:
            return False
        keys: list[RecordKey] = []
        for entry in await self._oldest():
            if missing <= 0:
                break
            keys.append(entry.key)
            missing -= size_of(entry.state)
        if not keys:
            return False
        log.warning("room is short: trash goes before its time", records=len(keys))
        freed = 0
        for start in range(0, len(keys), self._settings.batch):
            freed += await self.discard(keys[start : start + self._settings.batch])
        return freed > 0

    async def _oldest(self) -> list[RecordEntry]:
        """What has been in the trash longest, oldest first."""
        oldest: list[RecordEntry] = []
        after: bytes | None = None
        while True:
            found = await self._store.disposal.leaving(after, _LOOK_RECORDS)
            oldest += [entry for entry in found.entries if entry.state.in_trash]
            oldest = heapq.nsmallest(OLDEST_MAX, oldest, key=_buried)
            if found.upto is None:
                return oldest
            after = found.upto


def size_of(state: RecordState) -> int:
    """Bytes of the value that is here."""
    return value_bytes(state.kind, state.size_bytes) if state.held else 0


def _buried(entry: RecordEntry) -> tuple[int, RecordKey]:
    return entry.state.verified_at_s, entry.key
