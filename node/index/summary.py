"""The one value of the index that speaks for all others: what they cover and what they add up to.

Its sums are those of the rows that are in the index in the same transaction, so index and summary
agree in every state that a crash can leave.  While a checkpoint is under way the first keys are
`ahead` of what is covered.

Format 1 (integers little-endian): format 2 bytes, whether something is covered 1, segment 8,
offset 8; whether something is ahead 1, segment 8, offset 8, length of its last row's key 1, of its
last chunk's key 1; records 8, held 8, bytes stored 8, number of floors 4, number of segments 4;
the two keys; floors (partition 2, generation 8), live bytes of segments (segment 4, bytes 8), both
in order.
"""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from node.index.location import Position
from node.index.totals import Totals
from ring.errors import Corrupt

FORMAT: Final = 1

_HEAD: Final = struct.Struct("<HBQQBQQBBQQQII")
_FLOOR: Final = struct.Struct("<HQ")
_LIVE: Final = struct.Struct("<IQ")
_NOWHERE: Final = Position(0, 0)


class Ahead(Struct, frozen=True):
    """An unfinished checkpoint up to `position`: which keys it has brought into the index.

    last_row, last_chunk: rows and claims up to these keys are as they were at `position`.
    """

    position: Position
    last_row: bytes
    last_chunk: bytes


class Summary:
    """covered: the log before it is in the index.  floors: by partition."""

    __slots__ = ("ahead", "covered", "floors", "totals")

    def __init__(self) -> None:
        self.covered: Position | None = None
        self.ahead: Ahead | None = None
        self.totals = Totals()
        self.floors: dict[int, int] = {}

    def raise_floors(self, floors: dict[int, int]) -> None:
        """Floors only rise."""
        for partition, generation in floors.items():
            self.floors[partition] = max(generation, self.floors.get(partition, 0))

    def encode(self) -> bytes:
        """See the module."""
        covered = self.covered or _NOWHERE
        ahead = self.ahead or Ahead(_NOWHERE, b"", b"")
        totals = self.totals
        head = _HEAD.pack(
            FORMAT,
            self.covered is not None,
            covered.segment,
            covered.offset,
            self.ahead is not None,
            ahead.position.segment,
            ahead.position.offset,
            len(ahead.last_row),
            len(ahead.last_chunk),
            totals.records,
            totals.held,
            totals.bytes_stored,
            len(self.floors),
            len(totals.live_bytes),
        )
        floors = (_FLOOR.pack(*floor) for floor in sorted(self.floors.items()))
        live = (_LIVE.pack(*live) for live in sorted(totals.live_bytes.items()))
        return b"".join((head, ahead.last_row, ahead.last_chunk, *floors, *live))

    @classmethod
    def decode(cls, body: bytes) -> Summary:
        """Raises Corrupt, also for a format that is not known here."""
        try:
            head = _HEAD.unpack_from(body)
        except struct.error as error:
            raise Corrupt(f"the index has no sound summary: {error}") from error
        number, any_covered, segment, offset, any_ahead, ahead_segment, ahead_offset = head[:7]
        row_bytes, chunk_bytes, records, held, bytes_stored, floors, segments = head[7:]
        chunk_at = _HEAD.size + row_bytes
        floors_at = chunk_at + chunk_bytes
        live_at = floors_at + floors * _FLOOR.size
        if number != FORMAT or live_at + segments * _LIVE.size != len(body):
            raise Corrupt(f"the index has no sound summary: format {number}, {len(body)} bytes")
        summary = cls()
        summary.covered = Position(segment, offset) if any_covered else None
        if any_ahead:
            summary.ahead = Ahead(
                Position(ahead_segment, ahead_offset),
                body[_HEAD.size : chunk_at],
                body[chunk_at:floors_at],
            )
        totals = summary.totals
        totals.records, totals.held, totals.bytes_stored = records, held, bytes_stored
        summary.floors = dict(_FLOOR.iter_unpack(body[floors_at:live_at]))
        totals.live_bytes = dict(_LIVE.iter_unpack(body[live_at:]))
        return summary
