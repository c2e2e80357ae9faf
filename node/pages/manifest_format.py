"""The formats of manifest.bin and manifest.log: which frame is in which slot.

Frames lie in blobs.dat, slot n at n times the page size.  All numbers are little-endian.

manifest.bin, a snapshot, version 7 (6 is holt's, read and written as it is there):

    0   8   magic "ARTSNMNF"
    8   2   version
    10  4   number of entries
    14  2   zero
    16  8   next slot: above every slot in use
    24      version 6 ends its head here
    24  4   page size in bytes
    28  4   zero
    32  8   sequence number of the last flush that is in this snapshot
    40      entries: guid 16, slot 8, and from version 7 on checksum 16 (frame_sums.py)
    end 16  from version 7 on: first bytes of BLAKE3 of all before

manifest.log, records one behind the other:

    0   4   magic "MLG1"
    4   4   length of the body
    8   1   type
    9       body: 1 set         guid 16, slot 8
                  2 delete      guid 16
                  3 set         guid 16, slot 8, sequence 8, checksum 16
                  4 delete      guid 16, sequence 8
    end 4   CRC-32 (IEEE) of all before

Types 1 and 2 are holt's; frames that came with them have no checksum until they are rewritten.

Rules:
1.  A flush appends its records with one write, all with the flush's sequence number, and one sync;
    after a failure the file is not appended to again.  So only the last sequence number may be
    torn, and numbers grow by one.
2.  A record is torn when the file ends in it, or when the part of it that lies in one sector is
    zeros to the end of that sector: a write that never arrived.  Torn records at the end, even with
    good ones of the same flush behind them, were promised to nobody: they are cut off.
3.  Everything else that cannot be read is damage, and the store is not opened.
4.  Records that a snapshot of version 7 covers, by their sequence number, are passed over; so are
    all that have none, for whoever wrote that snapshot had read them.

Source of version 6 and of the types 1 and 2: the published format of holt's FileBlobStore 0.9.2.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

from blake3 import blake3
from msgspec import Struct

from ring.errors import Corrupt

GUID_BYTES: Final = 16
SUM_BYTES: Final = 16
VERSION: Final = 7
VERSION_UNSUMMED: Final = 6
SECTOR_BYTES: Final = 512

_MAGIC: Final = b"ARTSNMNF"
_HEAD: Final = struct.Struct("<8sHIHQ")
_HEAD_MORE: Final = struct.Struct("<IIQ")
_ENTRY: Final = struct.Struct("<16sQ")
_ENTRY_SUMMED: Final = struct.Struct("<16sQ16s")

_LOG_MAGIC: Final = b"MLG1"
_RECORD: Final = struct.Struct("<4sIB")
_CRC: Final = struct.Struct("<I")
_SET, _DELETE, _SET_SUMMED, _DELETE_NUMBERED = 1, 2, 3, 4
_BODIES: Final = {
    _SET: struct.Struct("<16sQ"),
    _DELETE: struct.Struct("<16s"),
    _SET_SUMMED: struct.Struct("<16sQQ16s"),
    _DELETE_NUMBERED: struct.Struct("<16sQ"),
}
_RECORD_BYTES_MAX: Final = _RECORD.size + _BODIES[_SET_SUMMED].size + _CRC.size


class Frame(Struct, frozen=True):
    """Where the newest image of a guid is.  checksum: empty when it was written without one."""

    slot: int
    checksum: bytes


class Change(Struct, frozen=True):
    """From now on `guid` is at `frame`, or nowhere.

    sequence: of the flush; None writes and means the types that have none.
    """

    guid: bytes
    frame: Frame | None
    sequence: int | None = None

    def encode(self) -> bytes:
        """The record."""
        match self.frame, self.sequence:
            case Frame(slot=slot, checksum=checksum), int(sequence):
                assert len(checksum) == SUM_BYTES
                kind, values = _SET_SUMMED, (self.guid, slot, sequence, checksum)
            case Frame(slot=slot), None:
                return _sealed(_SET, self.guid, slot)
            case None, int(sequence):
                return _sealed(_DELETE_NUMBERED, self.guid, sequence)
            case _:
                return _sealed(_DELETE, self.guid)
        return _sealed(kind, *values)


class Snapshot(Struct, frozen=True):
    """The whole map.  page_size: 0 when the file does not say (version 6)."""

    frames: Mapping[bytes, Frame]
    next_slot: int
    page_size: int = 0
    sequence: int = 0

    def encode(self, version: int = VERSION) -> bytes:
        """The file.  Version 6 drops what it has no room for."""
        assert version in {VERSION, VERSION_UNSUMMED}, version
        head = _HEAD.pack(_MAGIC, version, len(self.frames), 0, self.next_slot)
        if version == VERSION_UNSUMMED:
            entries = (_ENTRY.pack(guid, frame.slot) for guid, frame in self.frames.items())
            return head + b"".join(entries)
        parts = [head, _HEAD_MORE.pack(self.page_size, 0, self.sequence)]
        for guid, frame in self.frames.items():
            checksum = frame.checksum or bytes(SUM_BYTES)
            parts.append(_ENTRY_SUMMED.pack(guid, frame.slot, checksum))
        body = b"".join(parts)
        return body + blake3(body).digest(SUM_BYTES)


def decode_snapshot(data: bytes, name: str) -> Snapshot:
    """The map of a manifest.bin; raises Corrupt, naming the file `name`, for anything odd."""
    if len(data) < _HEAD.size:
        raise Corrupt(f"{name} is cut short")
    magic, version, count, zero, next_slot = _HEAD.unpack_from(data)
    if magic != _MAGIC or zero:
        raise Corrupt(f"{name} does not begin like a manifest")
    if version == VERSION_UNSUMMED:
        return _checked(name, _ENTRY, data[_HEAD.size :], count, Snapshot({}, next_slot))
    if version != VERSION:
        raise Corrupt(f"{name} has version {version}; this release knows 6 and 7")
    body, checksum = data[:-SUM_BYTES], data[-SUM_BYTES:]
    if len(body) < _HEAD.size + _HEAD_MORE.size or blake3(body).digest(SUM_BYTES) != checksum:
        raise Corrupt(f"{name} does not match its checksum")
    page_size, _, sequence = _HEAD_MORE.unpack_from(data, _HEAD.size)
    entries = body[_HEAD.size + _HEAD_MORE.size :]
    return _checked(
        name, _ENTRY_SUMMED, entries, count, Snapshot({}, next_slot, page_size, sequence)
    )


def _checked(
    name: str, entry: struct.Struct, entries: bytes, count: int, head: Snapshot
) -> Snapshot:
    if len(entries) != count * entry.size:
        raise Corrupt(f"{name} does not have the length that its head says")
    frames: dict[bytes, Frame] = {}
    slots: set[int] = set()
    for guid, slot, *rest in entry.iter_unpack(entries):
        checksum = b"" if not rest or not any(rest[0]) else rest[0]
        if guid in frames:
            raise Corrupt(f"{name} names guid {guid.hex()} twice")
        if slot in slots or slot >= head.next_slot:
            raise Corrupt(f"{name} names slot {slot} twice, or beyond its next slot")
        frames[guid] = Frame(slot, checksum)
        slots.add(slot)
    return Snapshot(frames, head.next_slot, head.page_size, head.sequence)


class LogTail(Struct, frozen=True):
    """What is in a manifest.log.

    changes: in order, those that the snapshot does not cover.  last_flush_at: where the records of
    the last flush begin.  good_bytes: where the readable part ends.  sequence: of the last flush,
    or of the snapshot.
    """

    changes: list[Change]
    last_flush_at: int
    good_bytes: int
    sequence: int


def decode_log(data: bytes, name: str, covered: int | None) -> LogTail:
    """Read a log behind a snapshot; raises Corrupt for damage.

    covered: the snapshot's sequence number; None when it is of version 6, or when there is none.
    """
    changes = []
    last, at, last_flush_at = covered or 0, 0, 0
    while at < len(data):
        found = _record_at(data, at)
        if found is None:
            _require_torn(data, at, last, name)
            break
        change, size_bytes = found
        number = change.sequence or 0
        if covered is None or number > covered:
            changes.append(change)
        if number > last:
            last, last_flush_at = number, at
        at += size_bytes
    return LogTail(changes, last_flush_at, at, last)


def encode_log(changes: Iterable[tuple[bytes, Frame | None]], sequence: int) -> bytes:
    """The records of one flush."""
    return b"".join(Change(guid, frame, sequence).encode() for guid, frame in changes)


def _sealed(kind: int, *values: bytes | int) -> bytes:
    body = _BODIES[kind]
    record = _RECORD.pack(_LOG_MAGIC, body.size, kind) + body.pack(*values)
    return record + _CRC.pack(zlib.crc32(record))


def _record_at(data: bytes, at: int) -> tuple[Change, int] | None:
    """The good record at `at` and its length."""
    if len(data) - at < _RECORD.size:
        return None
    magic, body_bytes, kind = _RECORD.unpack_from(data, at)
    body = _BODIES.get(kind)
    if magic != _LOG_MAGIC or body is None or body.size != body_bytes:
        return None
    end = at + _RECORD.size + body_bytes
    if end + _CRC.size > len(data) or _CRC.unpack_from(data, end)[0] != zlib.crc32(data[at:end]):
        return None
    values = body.unpack_from(data, at + _RECORD.size)
    size_bytes = end + _CRC.size - at
    match kind:
        case 1:
            return Change(values[0], Frame(values[1], b"")), size_bytes
        case 2:
            return Change(values[0], None), size_bytes
        case 3:
            return Change(values[0], Frame(values[1], values[3]), values[2]), size_bytes
        case _:
            return Change(values[0], None, values[1]), size_bytes


def _require_torn(data: bytes, at: int, last: int, name: str) -> None:
    """Raise Corrupt unless the bad record at `at` is what is left of the last flush (rule 2)."""
    if not _is_torn(data, at):
        raise Corrupt(f"{name} is damaged at byte {at}")
    later = data.find(_LOG_MAGIC, at + 1)
    while later >= 0:
        found = _record_at(data, later)
        if found is not None and (found[0].sequence is None or found[0].sequence > last + 1):
            raise Corrupt(f"{name} is damaged at byte {at}: later flushes follow")
        later = data.find(_LOG_MAGIC, later + 1)


def _is_torn(data: bytes, at: int) -> bool:
    left = len(data) - at
    if left < _RECORD.size:
        return True
    magic, body_bytes, kind = _RECORD.unpack_from(data, at)
    body = _BODIES.get(kind)
    known = magic == _LOG_MAGIC and body is not None and body.size == body_bytes
    size_bytes = _RECORD.size + body_bytes + _CRC.size if known else _RECORD_BYTES_MAX
    if known and size_bytes > left:
        return True
    start, end = at, min(at + size_bytes, len(data))
    while start < end:
        boundary = min(start - start % SECTOR_BYTES + SECTOR_BYTES, len(data))
        if not any(data[start:boundary]):
            return True
        start = boundary
    return False
