"""Places in the segments of a page record store.

Segment numbers are unique over the log and the large values and never used again.
"""

from __future__ import annotations

from msgspec import Struct


class Location(Struct, frozen=True, order=True):
    """Where the bytes of a value lie; the size is that of the value, in bytes."""

    segment: int
    offset: int
    size_bytes: int


class Position(Struct, frozen=True, order=True):
    """A point of the log, before its byte `offset` of `segment`; positions order as the log does.

    As a table's `covered`: everything before it is in the index.
    """

    segment: int
    offset: int
