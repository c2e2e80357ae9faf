"""A LocatedTable that keeps everything in memory and whose checkpoints cost nothing."""

from __future__ import annotations

from collections.abc import Mapping

from node.index.location import Location, Position
from node.record_change import RecordChange
from node.record_row import bytes_held, pack_row
from node.record_table import RecordTable


class PlainLocatedTable(RecordTable):
    """See node/index/located_table.py."""

    def __init__(self) -> None:
        super().__init__()
        self.covered: Position | None = None
        self.live_bytes: dict[int, int] = {}
        self._locations: dict[bytes, Location] = {}
        self._position: Position | None = None

    def location(self, key: bytes) -> Location | None:
        return self._locations.get(key)

    def apply(  # type: ignore[override]  # a located table is not fed by a journal
        self, change: RecordChange, located: Mapping[bytes, Location | None], position: Position
    ) -> None:
        super().apply(change)
        self._position = position
        for key in {**dict.fromkeys(change.dropped), **change.rows, **located}:
            location = located.get(key, self._locations.get(key))
            if location is not None and bytes_held(pack_row(self.state(key))) is None:
                location = None
            if key in located and located[key] is None:
                location = None
            self._place(key, location)

    async def checkpoint(self) -> Position | None:
        self.covered = self._position
        return self.covered

    def _place(self, key: bytes, location: Location | None) -> None:
        before = self._locations.pop(key, None)
        if before is not None:
            self._add_live(before.segment, -before.size_bytes)
        if location is not None:
            self._locations[key] = location
            self._add_live(location.segment, location.size_bytes)

    def _add_live(self, segment: int, size_bytes: int) -> None:
        live_bytes = self.live_bytes.pop(segment, 0) + size_bytes
        if live_bytes:
            self.live_bytes[segment] = live_bytes
