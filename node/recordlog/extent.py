"""An extent: a block that says whose value follows, then the value, then zeros up to a block's end.

    0   4   magic "HFlx"
    4   1   length of the key
    5   1   kind of the record
    6   2   zeros
    8   8   length of the value in bytes, little-endian
    16  66  key, zeros behind it
    82  16  first bytes of BLAKE3(store id, segment and offset of this block in 8 bytes each,
            bytes 0 to 81)
    98      zeros up to 4096

The value needs no checksum of its own: the key is the hash of its bytes, or it is a recipe, which
has one.
"""

from __future__ import annotations

import struct
from typing import Final

from blake3 import blake3
from msgspec import Struct

from node.index.location import Location
from node.recordlog.segment_head import CHECKSUM_BYTES
from ring.digest import Buffer
from ring.limits import DIGEST_KEY_BYTES_MAX
from ring.seams import BLOCK_BYTES

MAGIC: Final = b"HFlx"
_HEAD: Final = struct.Struct(f"<4sBBxxQ{DIGEST_KEY_BYTES_MAX}s")
_ADDRESS: Final = struct.Struct("<QQ")


class Extent(Struct, frozen=True):
    """Whose value lies where; the location is that of the value's bytes, behind the head."""

    key: bytes
    kind: int
    location: Location

    @property
    def end(self) -> int:
        """Where the next extent may begin."""
        return self.location.offset - BLOCK_BYTES + extent_bytes(self.location.size_bytes)

    def head(self, store_id: bytes) -> bytes:
        """The block before the value."""
        at = self.location
        content = _HEAD.pack(MAGIC, len(self.key), self.kind, at.size_bytes, self.key)
        checksum = _checksum(store_id, at.segment, at.offset - BLOCK_BYTES, content)
        return (content + checksum).ljust(BLOCK_BYTES, b"\0")


def extent_bytes(value_bytes: int) -> int:
    """Room that an extent takes."""
    return BLOCK_BYTES - (-value_bytes // BLOCK_BYTES) * BLOCK_BYTES


def padding_bytes(value_bytes: int) -> int:
    """Zeros behind the value."""
    return -value_bytes % BLOCK_BYTES


def extent_at(store_id: bytes, segment: int, offset: int, block: Buffer) -> Extent | None:
    """The extent whose head is this block of a segment, None if it does not check there."""
    content = bytes(block[: _HEAD.size])
    if len(content) < _HEAD.size or not content.startswith(MAGIC):
        return None
    checksum = bytes(block[_HEAD.size : _HEAD.size + CHECKSUM_BYTES])
    if checksum != _checksum(store_id, segment, offset, content):
        return None
    _, key_bytes, kind, size_bytes, key = _HEAD.unpack(content)
    return Extent(key[:key_bytes], kind, Location(segment, offset + BLOCK_BYTES, size_bytes))


def _checksum(store_id: bytes, segment: int, offset: int, content: bytes) -> bytes:
    hasher = blake3(store_id)
    hasher.update(_ADDRESS.pack(segment, offset))
    hasher.update(content)
    return hasher.digest(CHECKSUM_BYTES)
