"""What the index remembers of one record: its row and where its value lies.

Form: the row in 16 bytes (node/record_row.py), then, when the value's place is known, segment in 4
bytes, offset in 8, size in 4, all little-endian.  A row that holds no value has no place.
"""

from __future__ import annotations

import struct
from typing import Final

from node.index.location import Location
from node.record_row import ROW_BYTES, bytes_held

_LOCATION: Final = struct.Struct("<IQI")


def row_of(payload: bytes) -> int:
    """The row as its integer."""
    return int.from_bytes(payload[:ROW_BYTES], "little")


def location_of(payload: bytes) -> Location | None:
    """Where the value lies, None when that is not known."""
    if len(payload) == ROW_BYTES:
        return None
    return Location(*_LOCATION.unpack_from(payload, ROW_BYTES))


def with_row(payload: bytes | None, row: int) -> bytes:
    """The record with another row; its value stays where it is as long as there is one."""
    packed = row.to_bytes(ROW_BYTES, "little")
    if payload is None or bytes_held(row) is None:
        return packed
    return packed + payload[ROW_BYTES:]


def with_location(payload: bytes | None, location: Location | None) -> bytes | None:
    """The record with its value elsewhere; unchanged when it holds none."""
    if payload is None or bytes_held(row_of(payload)) is None:
        return payload
    if location is None:
        return payload[:ROW_BYTES]
    place = _LOCATION.pack(location.segment, location.offset, location.size_bytes)
    return payload[:ROW_BYTES] + place
