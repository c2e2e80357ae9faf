"""Frames: how snapshots and journals of a store's state stand on disk.

    0   4   magic "HFsf"
    4   4   length of the body in bytes, little-endian
    8   8   sequence number, little-endian: 0 for the head of the file
    16  16  first bytes of BLAKE3(file id, body length, sequence number, body)
    32      body

The head's body is file id (16 random bytes), kind, format version, number of the file, and the
sequence number that the next frame follows; its checksum is taken with an empty file id.  Frames
are numbered on from there by one, through all the journals of a store.  After the last frame come
zeros or the end of the file.

Rules:
1.  A file gets its name when its head is durable; a head that cannot be read is damage.
2.  Whoever appends syncs a frame before the next one is written.  So a bad frame with a good later
    one is damage, and a bad frame with nothing after it is a torn write that nobody was told of.
3.  A file that may end in a torn write is never appended to: the next start begins a new one.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from ring.errors import Corrupt
from ring.limits import MIB
from ring.seams import File

MAGIC: Final = b"HFsf"
VERSION: Final = 1
FILE_ID_BYTES: Final = 16
END_BODY: Final = b""  # of the last frame of a snapshot
_FRAME: Final = struct.Struct("<4sIQ16s")
_COUNTED: Final = struct.Struct("<IQ")
_HEAD: Final = struct.Struct(f"<{FILE_ID_BYTES}sBBQQ")
_CHECKSUM_BYTES: Final = 16
_WINDOW_BYTES: Final = MIB


class FileKind(enum.IntEnum):
    """What a file of frames is."""

    SNAPSHOT = 1
    JOURNAL = 2


@dataclass(frozen=True, slots=True)
class FileHead:
    """The first frame of a file.

    number: of the file.  follows: sequence number of the last change before this file; a snapshot
    holds everything up to it.
    """

    file_id: bytes
    kind: FileKind
    number: int
    follows: int

    def encode(self) -> bytes:
        """The frame."""
        body = _HEAD.pack(self.file_id, self.kind, VERSION, self.number, self.follows)
        return frame(b"", 0, body)


def frame(file_id: bytes, sequence: int, body: bytes) -> bytes:
    """A frame, ready to be written."""
    checksum = _checksum(file_id, sequence, body)
    return _FRAME.pack(MAGIC, len(body), sequence, checksum) + body


class FrameReader:
    """Reads the frames of a file from its start.

    sequence: of the last good frame (a head's is the one that it follows).  offset: where that
    frame ends.
    """

    def __init__(self, name: str, file: File, size_bytes: int) -> None:
        self.name = name
        self.sequence = 0
        self.offset = 0
        self._file = file
        self._size_bytes = size_bytes
        self._file_id = b""
        self._window = b""
        self._window_at = 0

    async def head(self) -> FileHead:
        """The first frame; raises Corrupt."""
        assert not self.offset
        body = await self._body_at(0, 0)
        if body is None or len(body) != _HEAD.size:
            raise Corrupt(f"{self.name} is damaged at its start")
        file_id, kind, version, number, follows = _HEAD.unpack(body)
        if version != VERSION:
            raise Corrupt(f"{self.name} has format {version}, this release knows {VERSION}")
        self._file_id = file_id
        self.sequence = follows
        self.offset = _FRAME.size + len(body)
        return FileHead(file_id, FileKind(kind), number, follows)

    async def next(self) -> bytes | None:
        """The body of the next frame, None at the end; raises Corrupt for damage before it."""
        body = await self._body_at(self.offset, self.sequence + 1)
        if body is None:
            await self._require_nothing_later()
            return None
        self.sequence += 1
        self.offset += _FRAME.size + len(body)
        return body

    async def close(self) -> None:
        """Let go of the file."""
        await self._file.close()

    async def _body_at(self, offset: int, sequence: int | None) -> bytes | None:
        """The body of the good frame at `offset` that has this number, or any number."""
        header = await self._peek(offset, _FRAME.size)
        if len(header) < _FRAME.size or not header.startswith(MAGIC):
            return None
        _, body_bytes, number, checksum = _FRAME.unpack(header)
        if sequence is not None and number != sequence:
            return None
        if body_bytes > self._size_bytes - offset - _FRAME.size:
            return None
        body = await self._peek(offset + _FRAME.size, body_bytes)
        return body if checksum == _checksum(self._file_id, number, body) else None

    async def _require_nothing_later(self) -> None:
        """Raise Corrupt if a good frame follows the place where the next one should be."""
        at = self.offset + 1
        while at < self._size_bytes:
            window = await self._peek(at, _WINDOW_BYTES)
            found = window.find(MAGIC)
            if found < 0:
                at += max(1, len(window) - len(MAGIC) + 1)
                continue
            if await self._body_at(at + found, None) is not None:
                raise Corrupt(
                    f"{self.name} is damaged at byte {self.offset}: frames follow that were written"
                    " later.  Do not repair it by hand: replace the node and let it fetch its"
                    " records from the others"
                )
            at += found + 1

    async def _peek(self, offset: int, size_bytes: int) -> bytes:
        start = offset - self._window_at
        if start < 0 or start + size_bytes > len(self._window):
            wanted = min(max(size_bytes, _WINDOW_BYTES), max(0, self._size_bytes - offset))
            self._window = await self._file.read(offset, wanted) if wanted else b""
            self._window_at, start = offset, 0
        return self._window[start : start + size_bytes]


def _checksum(file_id: bytes, sequence: int, body: bytes) -> bytes:
    hasher = blake3(file_id)
    hasher.update(_COUNTED.pack(len(body), sequence))
    hasher.update(body)
    return hasher.digest(_CHECKSUM_BYTES)
