"""Sums over the records of a table, kept up to date with every change of one."""

from __future__ import annotations

from node.index.located_row import location_of, row_of
from node.record_row import bytes_held


class Totals:
    """Sums over records in the form of node/index/located_row.py.

    records, held, bytes_stored: see node/table.py.  live_bytes: bytes of located values by segment.
    """

    __slots__ = ("bytes_stored", "held", "live_bytes", "records")

    def __init__(self) -> None:
        self.records = 0
        self.held = 0
        self.bytes_stored = 0
        self.live_bytes: dict[int, int] = {}

    def replace(self, before: bytes | None, after: bytes | None) -> None:
        """Take one record's change into the sums; None where there is no row."""
        if before is not None:
            self._count(before, -1)
        if after is not None:
            self._count(after, 1)

    def _count(self, payload: bytes, sign: int) -> None:
        self.records += sign
        size_bytes = bytes_held(row_of(payload))
        if size_bytes is None:
            return
        self.held += sign
        self.bytes_stored += sign * size_bytes
        location = location_of(payload)
        if location is None:
            return
        live_bytes = self.live_bytes.get(location.segment, 0) + sign * location.size_bytes
        if live_bytes:
            self.live_bytes[location.segment] = live_bytes
        else:
            self.live_bytes.pop(location.segment, None)
