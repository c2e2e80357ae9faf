"""Brings an overlay into the index, some thousand entries a transaction.

Rules:
1.  Each transaction leaves rows, sums and summary in agreement; only the last one moves `covered`,
    the others say how far they came (`ahead`).  After a crash between two the log is replayed for
    the keys that were not reached; to the others its changes have happened already.
2.  The overlay does not change any more, so a thread may read it; a transaction may be repeated.
3.  Rows go in key order: a leaf of the index is written once, and no transaction touches many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from node.index.index import IndexReader, IndexWriter
from node.index.index_keys import (
    SUMMARY,
    claim_key,
    claims_end,
    partition_key,
    partition_of,
    row_key,
)
from node.index.overlay import Overlay
from node.index.partition_sum import PartitionSum
from node.index.sealed_value import seal, unseal
from node.index.summary import Ahead, Summary

ENTRIES_MAX: Final = 4096  # of one transaction: about as many leaves of 4 KiB are in memory at once

_CLAIMS_PAGE: Final = 512
_ABOVE_KEYS: Final = b"\xff"


def transactions(overlay: Overlay, entries_max: int) -> Iterator[Callable[[IndexWriter], None]]:
    """What to do one after the other; after the last one the index covers the overlay.

    entries_max: rows or claims of one; the claims of one chunk are not divided.
    """
    after: bytes | None = None
    while keys := overlay.order.after(after, entries_max):
        yield partial(_merge_rows, overlay, keys)
        after = keys[-1]
    after = None
    while chunks := overlay.chunks.after(after, entries_max):
        entries = 0
        for count, chunk in enumerate(chunks, start=1):
            entries += 1 + len(overlay.claims.get(chunk, ()))
            if entries >= entries_max:
                chunks = chunks[:count]
                break
        yield partial(_merge_claims, overlay, chunks)
        after = chunks[-1]
    yield partial(_cover, overlay)


def read_summary(reader: IndexReader) -> Summary | None:
    """The summary, None when there is none; raises Corrupt or StorageFault."""
    value = reader.get(SUMMARY)
    return None if value is None else Summary.decode(unseal(SUMMARY, value))


class _Sums:
    """The sums of the partitions that one transaction touches."""

    def __init__(self, writer: IndexWriter) -> None:
        self._writer = writer
        self._sums: dict[int, PartitionSum] = {}

    def of(self, key: bytes) -> PartitionSum:
        """Those of the partition that the record is in."""
        partition = partition_of(key)
        found = self._sums.get(partition)
        if found is None:
            found = self._sums[partition] = read_sum(self._writer, partition)
        return found

    def store(self) -> None:
        for partition, found in self._sums.items():
            _put(self._writer, partition_key(partition), found.encode())


def read_sum(reader: IndexReader, partition: int) -> PartitionSum:
    """What the partition adds up to; raises Corrupt or StorageFault."""
    key = partition_key(partition)
    value = reader.get(key)
    return PartitionSum() if value is None else PartitionSum.decode(unseal(key, value))


def _merge_rows(overlay: Overlay, keys: Sequence[bytes], writer: IndexWriter) -> None:
    summary = read_summary(writer) or Summary()
    sums = _Sums(writer)
    for key in keys:
        full_key = row_key(key)
        before = writer.get(full_key)
        payload_before = None if before is None else unseal(full_key, before)
        payload = overlay.rows[key]
        if payload == payload_before:
            continue
        summary.totals.replace(payload_before, payload)
        found = sums.of(key)
        if before is not None:
            found.add_row(before, -1)
        if payload is None:
            writer.delete(full_key)
        else:
            found.add_row(_put(writer, full_key, payload))
    sums.store()
    _reach(overlay, summary, keys[-1], b"")
    _put(writer, SUMMARY, summary.encode())


def _merge_claims(overlay: Overlay, chunks: Sequence[bytes], writer: IndexWriter) -> None:
    summary = read_summary(writer) or Summary()
    sums = _Sums(writer)
    for chunk in chunks:
        found = sums.of(chunk)
        if chunk in overlay.unclaimed:
            _delete_claims(writer, chunk, found)
        for claimant in overlay.claims.get(chunk, ()):
            full_key = claim_key(chunk, claimant)
            if writer.get(full_key) is None:
                found.add_claim(_put(writer, full_key, b""))
    sums.store()
    _reach(overlay, summary, _ABOVE_KEYS, chunks[-1])
    _put(writer, SUMMARY, summary.encode())


def _delete_claims(writer: IndexWriter, chunk: bytes, found: PartitionSum) -> None:
    start, end = claim_key(chunk, b""), claims_end(chunk)
    while pairs := writer.after(start, _CLAIMS_PAGE, below=end):
        for full_key, value in pairs:
            unseal(full_key, value)
            found.add_claim(value, -1)
            writer.delete(full_key)


def _reach(overlay: Overlay, summary: Summary, last_row: bytes, last_chunk: bytes) -> None:
    """Remember how far this checkpoint came; an earlier try of it may have come further."""
    assert overlay.position is not None
    before = summary.ahead
    if before is not None and before.position == overlay.position:
        last_row, last_chunk = max(last_row, before.last_row), max(last_chunk, before.last_chunk)
    summary.ahead = Ahead(overlay.position, last_row, last_chunk)


def _cover(overlay: Overlay, writer: IndexWriter) -> None:
    summary = read_summary(writer) or Summary()
    summary.covered, summary.ahead = overlay.position, None
    summary.raise_floors(overlay.floors)
    _put(writer, SUMMARY, summary.encode())


def _put(writer: IndexWriter, key: bytes, payload: bytes) -> bytes:
    value = seal(key, payload)
    writer.put(key, value)
    return value
