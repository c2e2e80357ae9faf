"""The bytes that docs/STORAGE.md shows, and what this release writes for the same values."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from node.index.index_keys import SUMMARY, claim_key, partition_key, row_key
from node.index.located_row import with_location, with_row
from node.index.location import Location, Position
from node.index.partition_sum import PartitionSum
from node.index.sealed_value import seal as seal_value
from node.index.summary import Summary
from node.pages.manifest_format import Change, Frame, Snapshot
from node.record_change import RecordChange
from node.record_row import pack_row
from node.recordlog.batch import Batch, seal
from node.recordlog.extent import Extent
from node.recordlog.segment_head import LogEnd, SegmentHead, SegmentKind
from node.state_frames import FileHead, FileKind, frame
from ring.digest import Digest
from ring.record import RecordKey, RecordKind, RecordState, live

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "STORAGE.md"

STORE: Final = bytes(range(16))
ABC: Final = RecordKey(Digest.of(b"abc")).raw
GONE: Final = RecordKey(Digest.of(b"gone")).raw
STATE: Final = RecordState(RecordKind.DATA, 3, live(1), held=True, verified_at_s=1_800_000_000)
BEFORE: Final = LogEnd(segment=3, offset=4096, sequence=5, checksum=b"\xaa" * 16)

_BLOCK: Final = re.compile(r"^```vector (.+?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINE: Final = re.compile(r"^ *(\d+) +((?:[0-9a-f]+ ?)+)$")


def documented() -> dict[str, bytes]:
    """Vectors by name; bytes between two lines are zeros."""
    vectors = {}
    for name, lines in _BLOCK.findall(DOCUMENT.read_text("utf-8")):
        content = bytearray()
        for line in lines.splitlines():
            match = _LINE.match(line)
            assert match, line
            content = content.ljust(int(match[1]), b"\0") + bytes.fromhex(match[2])
        vectors[name] = bytes(content)
    return vectors


def _batch() -> bytes:
    change = RecordChange(rows={ABC: pack_row(STATE)}, dropped=[GONE], floors={7: 2})
    blocks, _ = seal(STORE, BEFORE, Batch(change, {ABC: b"abc"}, {GONE: None}).encode())
    return blocks


def _row() -> bytes:
    payload = with_location(with_row(None, pack_row(STATE)), Location(3, 4355, 3))
    assert payload is not None
    return row_key(ABC) + seal_value(row_key(ABC), payload)


def _claim() -> bytes:
    key = claim_key(ABC, Digest.of(b"blob").key)
    return key + seal_value(key, b"")


def _partition() -> bytes:
    sums = PartitionSum()
    sums.add_row(_row()[len(row_key(ABC)) :])
    return partition_key(0x643) + seal_value(partition_key(0x643), sums.encode())


def _summary() -> bytes:
    summary = Summary()
    summary.covered = Position(3, 8192)
    summary.floors = {7: 2}
    totals = summary.totals
    totals.records, totals.held, totals.bytes_stored, totals.live_bytes = 1, 1, 3, {3: 3}
    return SUMMARY + seal_value(SUMMARY, summary.encode())


def _manifest() -> bytes:
    frames = {b"\xab" * 16: Frame(0, b"s" * 16), b"\xcd" * 16: Frame(2, b"")}
    return Snapshot(frames, 3, 4096, 9).encode()


WRITTEN: Final[dict[str, Callable[[], bytes]]] = {
    "head of a log segment": lambda: SegmentHead(
        STORE, SegmentKind.LOG, 3, LogEnd(2, 8192, 5, b"\xaa" * 16), (Position(1, 4096),)
    ).encode(),
    "batch": _batch,
    "head of an extent": lambda: Extent(ABC, 1, Location(4, 8192, 70_000)).head(STORE),
    "row of the index": _row,
    "claim of the index": _claim,
    "sums of a partition": _partition,
    "summary of the index": _summary,
    "journal of a file store": lambda: (
        FileHead(STORE, FileKind.JOURNAL, 1, 0).encode()
        + frame(STORE, 1, RecordChange(rows={ABC: pack_row(STATE)}).encode())
    ),
    "manifest.bin": _manifest,
    "manifest.log": lambda: (
        Change(b"\xab" * 16, Frame(7, b"c" * 16), 5).encode()
        + Change(b"\xcd" * 16, None, 5).encode()
    ),
}


def shown(content: bytes) -> str:
    """Lines for the document, zeros left out where there are many."""
    lines = []
    for at in range(0, len(content), 32):
        row = content[at : at + 32]
        if any(row) or at + 32 >= len(content):
            groups = " ".join(row[start : start + 8].hex() for start in range(0, len(row), 8))
            lines.append(f"{at:5}  {groups}")
    return "\n".join(lines)
