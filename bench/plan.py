"""How much a run measures: sizes, counts, seconds.

Rows name these numbers, so a smaller run can never be mistaken for a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

SMALL_BYTES: Final = KIB
CONNECTIONS: Final = 64
REPLICAS: Final = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does.

    small_seconds: length of each load by wrk. small_pairs, large_pairs: comparisons per row.
    get_blobs: distinct small blobs that are read. large_bytes: size of a large blob.
    start_blobs: blobs on a node that starts. start_rounds: restarts per figure.
    upload_count, upload_bytes: concurrent uploads of the memory row, and the size of each.
    serve_arguments: passed on to `holdfast serve`.
    """

    folder: Path
    small_seconds: int = 3
    small_pairs: int = 5
    get_blobs: int = 4_000
    large_bytes: int = GIB
    large_pairs: int = 3
    start_blobs: int = 10_000
    start_rounds: int = 3
    upload_count: int = 64
    upload_bytes: int = 64 * MIB
    serve_arguments: tuple[str, ...] = ()


def quick(folder: Path, *, serve_arguments: tuple[str, ...] = ()) -> Plan:
    """A run of about a minute that shows whether everything works; its rows say how small it is."""
    return Plan(
        folder=folder,
        small_seconds=1,
        small_pairs=1,
        get_blobs=500,
        large_bytes=128 * MIB,
        large_pairs=1,
        start_blobs=500,
        start_rounds=1,
        upload_bytes=8 * MIB,
        serve_arguments=serve_arguments,
    )


def size_words(size_bytes: int) -> str:
    """1 GiB, 64 MiB, 1 KiB: the largest unit that divides it."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes % unit == 0:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} bytes"
