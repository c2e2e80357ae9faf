"""A batch: what one data sync of the log makes durable.  Whole blocks, at multiples of a block.

    0   4   magic "HFlb"
    4   4   length of the rows in bytes, little-endian as all numbers are
    8   4   length of the values in bytes
    12  4   zeros
    16  8   sequence number: one more than that of the batch before
    24  16  checksum of the batch before
    40  16  first bytes of BLAKE3(values)
    56  16  checksum: first bytes of BLAKE3(store id, segment and offset in 8 bytes each, bytes 0 to
            55, rows)
    72      rows, then values, then zeros up to a multiple of 4096

The rows:

    0   4   length of the change
    4   4   count of places
    8       change (node/record_change.py)
            places, each: length of the key, kind of place, 6 zeros, segment, offset, size in 8
            bytes each, key

The values: small ones one after the other.

Kinds of places: 0 in this batch, its offset counted from the first value (segment 0); 1 elsewhere,
in a segment of this store; 2 nowhere any more.

The checksum does not cover the values, so that a value that rots costs only itself: whoever reads
it checks it by its key.  Theirs tells whether the last batch of a log is whole or torn.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3
from msgspec import Struct

from node.index.location import Location
from node.record_change import RecordChange
from node.recordlog.segment_head import CHECKSUM_BYTES, LogEnd
from ring.digest import Buffer
from ring.errors import Corrupt
from ring.seams import BLOCK_BYTES

MAGIC: Final = b"HFlb"
HEADER_BYTES: Final = 72
_LINK: Final = struct.Struct(f"<4sII4xQ{CHECKSUM_BYTES}s{CHECKSUM_BYTES}s")
_ADDRESS: Final = struct.Struct("<QQ")
_COUNTS: Final = struct.Struct("<II")
_PLACE: Final = struct.Struct("<BB6xQQQ")
_HERE: Final = 0
_ELSEWHERE: Final = 1
_NOWHERE: Final = 2

assert _LINK.size + CHECKSUM_BYTES == HEADER_BYTES


class Body(Struct, frozen=True):
    """Rows and values of a batch, encoded."""

    rows: bytes
    values: bytes

    @property
    def batch_bytes(self) -> int:
        """Room that the batch takes."""
        used_bytes = HEADER_BYTES + len(self.rows) + len(self.values)
        return -(-used_bytes // BLOCK_BYTES) * BLOCK_BYTES


@dataclass(slots=True)
class Batch:
    """A change, small values that travel with it, and where other values lie (None: nowhere)."""

    change: RecordChange = field(default_factory=RecordChange)
    values: dict[bytes, Buffer] = field(default_factory=dict)
    places: dict[bytes, Location | None] = field(default_factory=dict)

    def encode(self) -> Body:
        """See the module."""
        change = self.change.encode()
        places: list[bytes] = []
        offset = 0
        for key, value in self.values.items():
            places.append(_PLACE.pack(len(key), _HERE, 0, offset, len(value)) + key)
            offset += len(value)
        for key, at in self.places.items():
            places.append(_encoded_place(key, at))
        counts = _COUNTS.pack(len(change), len(places))
        return Body(b"".join((counts, change, *places)), b"".join(self.values.values()))

    def places_in(self, stored: StoredBatch) -> dict[bytes, Location | None]:
        """Where values lie once this was stored: as `stored.contents()` says, without decoding."""
        segment, offset = stored.end.segment, stored.values_at
        places: dict[bytes, Location | None] = {}
        for key, value in self.values.items():
            places[key] = Location(segment, offset, len(value))
            offset += len(value)
        places.update(self.places)
        return places


class StoredBatch(Struct, frozen=True):
    """A batch whose rows check, as it stands in a segment.

    end: where it ends.  previous: checksum of the batch that it follows.  is_whole: whether its
    values are what was written.
    """

    start: int
    end: LogEnd
    previous: bytes
    body: Body
    is_whole: bool = True

    @property
    def values_at(self) -> int:
        """Where in the segment the values begin."""
        return self.start + HEADER_BYTES + len(self.body.rows)

    @property
    def before(self) -> LogEnd:
        """The end of the log that it follows, as it says itself."""
        end = self.end
        return LogEnd(end.segment, self.start, end.sequence - 1, self.previous)

    def follows(self, end: LogEnd) -> bool:
        """Whether it is the next batch of a log that ends there."""
        return self.end.sequence == end.sequence + 1 and self.previous == end.checksum

    def contents(self) -> tuple[RecordChange, dict[bytes, Location | None]]:
        """The change and where its values lie; raises Corrupt."""
        rows, values_at = self.body.rows, self.values_at
        try:
            change_bytes, count = _COUNTS.unpack_from(rows)
            at = _COUNTS.size + change_bytes
            change = RecordChange.decode(rows[_COUNTS.size : at])
            places: dict[bytes, Location | None] = {}
            for _ in range(count):
                key_bytes, kind, segment, offset, size_bytes = _PLACE.unpack_from(rows, at)
                at += _PLACE.size + key_bytes
                key = rows[at - key_bytes : at]
                if kind == _HERE:
                    places[key] = Location(self.end.segment, values_at + offset, size_bytes)
                else:
                    there = Location(segment, offset, size_bytes)
                    places[key] = there if kind == _ELSEWHERE else None
        except struct.error as error:
            raise Corrupt(f"the batch at {self.end.position} is broken: {error}") from error
        return change, places


def seal(store_id: bytes, end: LogEnd, body: Body) -> tuple[bytes, StoredBatch]:
    """The blocks of the batch that follows `end`, and what they will be once they are written."""
    rows, values = body.rows, body.values
    sequence = end.sequence + 1
    link = _LINK.pack(
        MAGIC, len(rows), len(values), sequence, end.checksum, _values_checksum(values)
    )
    checksum = _checksum(store_id, end.segment, end.offset, link, rows)
    size_bytes = body.batch_bytes
    padding = bytes(size_bytes - HEADER_BYTES - len(rows) - len(values))
    after = LogEnd(end.segment, end.offset + size_bytes, sequence, checksum)
    blocks = b"".join((link, checksum, rows, values, padding))
    return blocks, StoredBatch(end.offset, after, end.checksum, body)


def used_bytes_at(block: Buffer) -> int | None:
    """How long header, rows and values are if a batch begins with this block, else None."""
    if len(block) < HEADER_BYTES or bytes(block[:4]) != MAGIC:
        return None
    _, rows_bytes, values_bytes, *_ = _LINK.unpack_from(block)
    return HEADER_BYTES + int(rows_bytes) + int(values_bytes)


def opened(store_id: bytes, segment: int, offset: int, data: Buffer) -> StoredBatch | None:
    """The batch whose header, rows and values `data` is, None if header or rows do not check."""
    view = memoryview(data)
    link = view[: _LINK.size]
    magic, rows_bytes, values_bytes, sequence, previous, values_checksum = _LINK.unpack(link)
    values_at = HEADER_BYTES + rows_bytes
    if magic != MAGIC or values_at + values_bytes != len(view):
        return None
    rows, values = view[HEADER_BYTES:values_at], view[values_at:]
    checksum = bytes(view[_LINK.size : HEADER_BYTES])
    if checksum != _checksum(store_id, segment, offset, link, rows):
        return None
    body = Body(bytes(rows), bytes(values))
    end = LogEnd(segment, offset + body.batch_bytes, sequence, checksum)
    is_whole = values_checksum == _values_checksum(values)
    return StoredBatch(offset, end, previous, body, is_whole)


def _encoded_place(key: bytes, at: Location | None) -> bytes:
    if at is None:
        return _PLACE.pack(len(key), _NOWHERE, 0, 0, 0) + key
    return _PLACE.pack(len(key), _ELSEWHERE, at.segment, at.offset, at.size_bytes) + key


def _values_checksum(values: Buffer) -> bytes:
    return blake3(values).digest(CHECKSUM_BYTES)


def _checksum(store_id: bytes, segment: int, offset: int, link: Buffer, rows: Buffer) -> bytes:
    hasher = blake3(store_id)
    hasher.update(_ADDRESS.pack(segment, offset))
    hasher.update(link)
    hasher.update(rows)
    return hasher.digest(CHECKSUM_BYTES)
