"""The one value of the index that speaks for all others: what they cover and what they add up to.

Its sums are those of the rows that are in the index in the same transaction, so index and summary
agree in every state that a crash can leave.  Rows may be newer than `covered` says, never older.

Format 1 (integers little-endian): format 2 bytes, whether something is covered 1, segment 8,
offset 8, records 8, held 8, bytes stored 8, number of floors 4, number of segments 4, floors
(partition 2, generation 8), live bytes of segments (segment 4, bytes 8), both in order.
"""

from __future__ import annotations

import struct
from typing import Final

from node.index.location import Position
from node.index.totals import Totals
from ring.errors import Corrupt

FORMAT: Final = 1

_HEAD: Final = struct.Struct("<HBQQQQQII")
_FLOOR: Final = struct.Struct("<HQ")
_LIVE: Final = struct.Struct("<IQ")


class Summary:
    """covered: the log before it is in the index.  floors: by partition."""

    __slots__ = ("covered", "floors", "totals")

    def __init__(self) -> None:
        self.covered: Position | None = None
        self.totals = Totals()
        self.floors: dict[int, int] = {}

    def raise_floors(self, floors: dict[int, int]) -> None:
        """Floors only rise."""
        for partition, generation in floors.items():
            self.floors[partition] = max(generation, self.floors.get(partition, 0))

    def encode(self) -> bytes:
        """See the module."""
        covered = Position(0, 0) if self.covered is None else self.covered
        totals = self.totals
        head = _HEAD.pack(
            FORMAT,
            self.covered is not None,
            covered.segment,
            covered.offset,
            totals.records,
            totals.held,
            totals.bytes_stored,
            len(self.floors),
            len(totals.live_bytes),
        )
        floors = (_FLOOR.pack(*floor) for floor in sorted(self.floors.items()))
        live = (_LIVE.pack(*live) for live in sorted(totals.live_bytes.items()))
        return b"".join((head, *floors, *live))

    @classmethod
    def decode(cls, body: bytes) -> Summary:
        """Raises Corrupt, also for a format that is not known here."""
        summary = cls()
        totals = summary.totals
        try:
            number, any_covered, segment, offset, *sums, floors, segments = _HEAD.unpack_from(body)
            floors_end = _HEAD.size + floors * _FLOOR.size
            if number == FORMAT and floors_end + segments * _LIVE.size == len(body):
                summary.covered = Position(segment, offset) if any_covered else None
                totals.records, totals.held, totals.bytes_stored = sums
                summary.floors = dict(_FLOOR.iter_unpack(body[_HEAD.size : floors_end]))
                totals.live_bytes = dict(_LIVE.iter_unpack(body[floors_end:]))
                return summary
        except struct.error as error:
            raise Corrupt(f"the index has no sound summary: {error}") from error
        raise Corrupt(f"the index has no sound summary of format {FORMAT}, it says {number}")
