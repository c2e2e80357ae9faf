"""The first block of a segment, and the place where a log ends.

    0   4   magic "HFsg"
    4   2   format version, little-endian as all numbers are
    6   1   kind: 1 log, 2 bulk
    7   1   count of cuts
    8   16  store id, random
    24  8   number of the segment
    32  40  the end of the log that a log segment follows: segment, offset, sequence number of the
            last batch, its checksum; zeros for the first one and for bulk segments
    72  16  for each cut: segment, offset
    ..      zeros
    4080 16 first bytes of BLAKE3 over everything before

A cut says where an earlier segment ends whose last write failed: what stands behind it was never
part of the log, though it may look like that.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

from blake3 import blake3
from msgspec import Struct

from node.index.location import Position
from ring.errors import Corrupt
from ring.seams import BLOCK_BYTES

MAGIC: Final = b"HFsg"
VERSION: Final = 2
STORE_ID_BYTES: Final = 16
CHECKSUM_BYTES: Final = 16
CUTS_MAX: Final = 200
_HEAD: Final = struct.Struct(f"<4sHBB{STORE_ID_BYTES}sQ")
_END: Final = struct.Struct(f"<QQQ{CHECKSUM_BYTES}s")
_CUT: Final = struct.Struct("<QQ")
_CONTENT_BYTES: Final = BLOCK_BYTES - CHECKSUM_BYTES

assert _HEAD.size + _END.size + CUTS_MAX * _CUT.size <= _CONTENT_BYTES


class SegmentKind(enum.IntEnum):
    """What a segment is for."""

    LOG = 1
    BULK = 2


class LogEnd(Struct, frozen=True):
    """Where a log ends: the next batch begins there and follows this number and checksum."""

    segment: int = 0
    offset: int = 0
    sequence: int = 0
    checksum: bytes = bytes(CHECKSUM_BYTES)

    @property
    def position(self) -> Position:
        """The same as a place only."""
        return Position(self.segment, self.offset)


class SegmentHead(Struct, frozen=True):
    """See the module."""

    store_id: bytes
    kind: SegmentKind
    number: int
    follows: LogEnd = LogEnd()
    cuts: tuple[Position, ...] = ()

    def encode(self) -> bytes:
        """The block."""
        count = len(self.cuts)
        assert count <= CUTS_MAX, count
        head = _HEAD.pack(MAGIC, VERSION, self.kind, count, self.store_id, self.number)
        follows = self.follows
        end = _END.pack(follows.segment, follows.offset, follows.sequence, follows.checksum)
        cuts = b"".join(_CUT.pack(cut.segment, cut.offset) for cut in self.cuts)
        content = (head + end + cuts).ljust(_CONTENT_BYTES, b"\0")
        return content + blake3(content).digest(CHECKSUM_BYTES)

    @classmethod
    def decode(cls, name: str, block: bytes) -> SegmentHead:
        """Read `encode`; raises Corrupt."""
        content = block[:_CONTENT_BYTES]
        checksum = blake3(content).digest(CHECKSUM_BYTES)
        if len(block) != BLOCK_BYTES or block[_CONTENT_BYTES:] != checksum:
            raise Corrupt(f"{name} is damaged at its start")
        magic, version, kind, count, store_id, number = _HEAD.unpack_from(content)
        if magic != MAGIC or version != VERSION:
            raise Corrupt(f"{name} has format {magic!r} {version}, this release knows {VERSION}")
        follows = LogEnd(*_END.unpack_from(content, _HEAD.size))
        first = _HEAD.size + _END.size
        last = first + count * _CUT.size
        cuts = tuple(Position(*cut) for cut in _CUT.iter_unpack(content[first:last]))
        return cls(store_id, SegmentKind(kind), number, follows, cuts)
