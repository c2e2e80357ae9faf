"""The keys of the index.

    c chunk claimant    a claim (RecordKey.raw, Digest.key); its payload is empty
    h                   the summary (node/index/summary.py)
    p partition         sums over a partition's rows and claims (node/index/partition_sum.py)
    r key               a record (RecordKey.raw; node/index/located_row.py)

Every value is sealed (node/index/sealed_value.py).  The length of a chunk's key follows from its
second byte, so no claim of one chunk stands between those of another.
"""

from __future__ import annotations

from typing import Final

from ring.limits import PARTITION_BITS

SUMMARY: Final = b"h"
ROWS: Final = b"r"
ROWS_END: Final = b"s"
CLAIMS: Final = b"c"

_ABOVE_CLAIMANTS: Final = b"\xff"  # claimants begin with the number of an algorithm


def row_key(key: bytes) -> bytes:
    """Of a record."""
    return b"r" + key


def claim_key(chunk: bytes, claimant: bytes) -> bytes:
    """Of a claim."""
    return b"c" + chunk + claimant


def claims_end(chunk: bytes) -> bytes:
    """Above all claims on a chunk; `claim_key(chunk, b"")` is below them."""
    return b"c" + chunk + _ABOVE_CLAIMANTS


def partition_key(partition: int) -> bytes:
    """Of the sums over a partition."""
    return b"p" + partition.to_bytes(2, "big")


def partition_of(key: bytes) -> int:
    """Of a RecordKey.raw, as Digest.partition has it."""
    return int.from_bytes(key[2:4], "big") >> (16 - PARTITION_BITS)


def partition_start(space: int, algorithm: int, partition: int) -> bytes:
    """Below every RecordKey.raw of the partition and above those of the partitions before."""
    first = (algorithm << 16) + (partition << (16 - PARTITION_BITS))  # 4096: the next algorithm
    return bytes((space,)) + first.to_bytes(3, "big")
