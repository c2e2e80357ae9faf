"""Compares what is in the index with the sums that were kept over it.

A checksum finds a value that changed; only a sum finds one that the index does not find any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from node.index.index import IndexReader
from node.index.index_keys import CLAIMS, ROWS, partition_of, partition_start
from node.index.merge import read_sum, read_summary
from node.index.partition_sum import PartitionSum
from node.index.sealed_value import unseal
from ring.digest import Algorithm
from ring.errors import Corrupt
from ring.limits import PARTITIONS
from ring.record import Space

_PAGE: Final = 512

Check = Callable[[IndexReader], str | None]
"""What is wrong with a state of the index, None when nothing is; raises Corrupt or StorageFault."""


def partitions_check(first: int, stop: int) -> Check:
    """Checks every row and claim of the partitions from `first` to below `stop`."""

    def check(reader: IndexReader) -> str | None:
        found = {partition: PartitionSum() for partition in range(first, stop)}
        for space in Space:
            for algorithm in Algorithm:
                start = partition_start(space, algorithm, first)
                end = partition_start(space, algorithm, stop)
                for key, value in _pairs(reader, ROWS + start, ROWS + end):
                    found[partition_of(key[1:])].add_row(value)
                for key, value in _pairs(reader, CLAIMS + start, CLAIMS + end):
                    found[partition_of(key[1:])].add_claim(value)
        for partition, there in found.items():
            kept = read_sum(reader, partition)
            if there != kept:
                return f"partition {partition} of the index has {there}, but {kept} were put there"
        return None

    return check


def check_summary(reader: IndexReader) -> str | None:
    """Compares the partitions with the summary."""
    rows = sum(read_sum(reader, partition).rows for partition in range(PARTITIONS))
    summary = read_summary(reader)
    kept = 0 if summary is None else summary.totals.records
    if rows == kept:
        return None
    return f"the partitions of the index have {rows} rows, but its summary says {kept}"


def _pairs(reader: IndexReader, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The sound ones with keys from `start` to below `end`; no key is `start` itself."""
    while pairs := reader.after(start, _PAGE, below=end):
        for key, value in pairs:
            unseal(key, value)
            if reader.get(key) != value:  # walking along finds what looking it up may not
                raise Corrupt(f"the index is damaged: {key.hex()} is there and not found")
            yield key, value
        start = pairs[-1][0]
