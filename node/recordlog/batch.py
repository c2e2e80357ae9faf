"""A batch: what one data sync of the log makes durable.  Whole blocks, at multiples of a block.

    0   4   magic "HFlb"
    4   4   length of the body in bytes, little-endian as all numbers are
    8   8   sequence number: one more than that of the batch before
    16  16  checksum of the batch before
    32  16  first bytes of BLAKE3(store id, segment and offset in 8 bytes each, bytes 0 to 31, body)
    48      body, then zeros up to a multiple of 4096

The body:

    0   4   length of the change
    4   4   count of places
    8       change (node/record_change.py)
            places, each: length of the key, kind of place, 6 zeros, segment, offset, size in 8
            bytes each, key
            small values one after the other

Kinds of places: 0 in this batch, its offset counted from the start of the body (segment 0);
1 elsewhere, in a segment of this store; 2 nowhere any more.
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
HEADER_BYTES: Final = 48
_LINK: Final = struct.Struct(f"<4sIQ{CHECKSUM_BYTES}s")
_ADDRESS: Final = struct.Struct("<QQ")
_COUNTS: Final = struct.Struct("<II")
_PLACE: Final = struct.Struct("<BB6xQQQ")
_HERE: Final = 0
_ELSEWHERE: Final = 1
_NOWHERE: Final = 2

assert _LINK.size + CHECKSUM_BYTES == HEADER_BYTES


@dataclass(slots=True)
class Batch:
    """A change, small values that travel with it, and where other values lie (None: nowhere)."""

    change: RecordChange = field(default_factory=RecordChange)
    values: dict[bytes, Buffer] = field(default_factory=dict)
    places: dict[bytes, Location | None] = field(default_factory=dict)

    def add(self, other: Batch) -> None:
        """Become both; they must not touch the same keys."""
        self.change.add(other.change)
        self.values.update(other.values)
        self.places.update(other.places)

    def encode(self) -> bytes:
        """The body."""
        change = self.change.encode()
        offset = _COUNTS.size + len(change)
        offset += sum(_PLACE.size + len(key) for key in (*self.values, *self.places))
        places: list[bytes] = []
        for key, value in self.values.items():
            places.append(_PLACE.pack(len(key), _HERE, 0, offset, len(value)) + key)
            offset += len(value)
        for key, at in self.places.items():
            places.append(_encoded_place(key, at))
        counts = _COUNTS.pack(len(change), len(places))
        return b"".join((counts, change, *places, *self.values.values()))


class StoredBatch(Struct, frozen=True):
    """A batch that checks, as it stands in a segment.

    end: where it ends.  previous: checksum of the batch that it follows.
    """

    start: int
    end: LogEnd
    previous: bytes
    body: bytes

    def contents(self) -> tuple[RecordChange, dict[bytes, Location | None]]:
        """The change and where its values lie; raises Corrupt."""
        body_at = self.start + HEADER_BYTES
        try:
            change_bytes, count = _COUNTS.unpack_from(self.body)
            at = _COUNTS.size + change_bytes
            change = RecordChange.decode(self.body[_COUNTS.size : at])
            places: dict[bytes, Location | None] = {}
            for _ in range(count):
                key_bytes, kind, segment, offset, size_bytes = _PLACE.unpack_from(self.body, at)
                at += _PLACE.size + key_bytes
                key = self.body[at - key_bytes : at]
                if kind == _HERE:
                    places[key] = Location(self.end.segment, body_at + offset, size_bytes)
                else:
                    there = Location(segment, offset, size_bytes)
                    places[key] = there if kind == _ELSEWHERE else None
        except struct.error as error:
            raise Corrupt(f"the batch at {self.end.position} is broken: {error}") from error
        return change, places


def batch_bytes(body_bytes: int) -> int:
    """Room that a batch takes."""
    return -(-(HEADER_BYTES + body_bytes) // BLOCK_BYTES) * BLOCK_BYTES


def seal(store_id: bytes, end: LogEnd, body: bytes) -> tuple[bytes, StoredBatch]:
    """The blocks of the batch that follows `end`, and what they will be once they are written."""
    link = _LINK.pack(MAGIC, len(body), end.sequence + 1, end.checksum)
    checksum = _checksum(store_id, end.segment, end.offset, link, body)
    size_bytes = batch_bytes(len(body))
    padding = bytes(size_bytes - HEADER_BYTES - len(body))
    after = LogEnd(end.segment, end.offset + size_bytes, end.sequence + 1, checksum)
    blocks = b"".join((link, checksum, body, padding))
    return blocks, StoredBatch(end.offset, after, end.checksum, body)


def body_bytes_at(block: Buffer) -> int | None:
    """How long the body is if a batch begins with this block, else None."""
    if len(block) < HEADER_BYTES or bytes(block[:4]) != MAGIC:
        return None
    length: int = _LINK.unpack_from(block)[1]
    return length


def opened(store_id: bytes, segment: int, offset: int, data: Buffer) -> StoredBatch | None:
    """The batch whose header and body `data` is, None if it does not check there."""
    view = memoryview(data)
    link, body = view[: _LINK.size], view[HEADER_BYTES:]
    magic, length, sequence, previous = _LINK.unpack(link)
    checksum = bytes(view[_LINK.size : HEADER_BYTES])
    if magic != MAGIC or length != len(body):
        return None
    if checksum != _checksum(store_id, segment, offset, link, body):
        return None
    end = LogEnd(segment, offset + batch_bytes(length), sequence, checksum)
    return StoredBatch(offset, end, previous, bytes(body))


def _encoded_place(key: bytes, at: Location | None) -> bytes:
    if at is None:
        return _PLACE.pack(len(key), _NOWHERE, 0, 0, 0) + key
    return _PLACE.pack(len(key), _ELSEWHERE, at.segment, at.offset, at.size_bytes) + key


def _checksum(store_id: bytes, segment: int, offset: int, link: Buffer, body: Buffer) -> bytes:
    hasher = blake3(store_id)
    hasher.update(_ADDRESS.pack(segment, offset))
    hasher.update(link)
    hasher.update(body)
    return hasher.digest(CHECKSUM_BYTES)
