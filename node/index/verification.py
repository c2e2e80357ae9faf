"""Compares what is in the index with the sums that were kept over it.

A checksum finds a value that changed; only a sum finds one that the index does not find any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from node.index.index import IndexReader
from node.index.index_keys import CLAIMS, ROWS, partition_start
from node.index.merge import read_sum, read_summary
from node.index.partition_sum import PartitionSum
from node.index.sealed_value import unseal
from ring.digest import Algorithm
from ring.limits import PARTITIONS
from ring.record import Space

_PAGE: Final = 512

Check = Callable[[IndexReader], str | None]
"""What is wrong with a state of the index, None when nothing is; raises Corrupt or StorageFault."""


def partition_check(partition: int) -> Check:
    """Checks every row and claim of one partition."""

    def check(reader: IndexReader) -> str | None:
        found = PartitionSum()
        for space in Space:
            for algorithm in Algorithm:
                start = partition_start(space, algorithm, partition)
                end = partition_start(space, algorithm, partition + 1)
                for value in _values(reader, ROWS + start, ROWS + end):
                    found.add_row(value)
                for value in _values(reader, CLAIMS + start, CLAIMS + end):
                    found.add_claim(value)
        kept = read_sum(reader, partition)
        if found == kept:
            return None
        return f"partition {partition} of the index has {found}, but {kept} were put there"

    return check


def check_summary(reader: IndexReader) -> str | None:
    """Compares the partitions with the summary."""
    rows = sum(read_sum(reader, partition).rows for partition in range(PARTITIONS))
    summary = read_summary(reader)
    kept = 0 if summary is None else summary.totals.records
    if rows == kept:
        return None
    return f"the partitions of the index have {rows} rows, but its summary says {kept}"


def _values(reader: IndexReader, start: bytes, end: bytes) -> Iterator[bytes]:
    """The values of keys from `start` to below `end`; no key is `start` itself."""
    while pairs := reader.after(start, _PAGE, below=end):
        for key, value in pairs:
            unseal(key, value)
            yield value
        start = pairs[-1][0]
