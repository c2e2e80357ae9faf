"""How much the comparison measures, and its loads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from bench.plan import GIB, MIB, SMALL_BYTES, size_words

CONNECTIONS: Final = (1, 16, 64)
TOTAL_S: Final = 1_080.0  # a whole run promises 20 minutes, clearing up included


@dataclass(frozen=True, slots=True)
class Scale:
    """small_s: length of each load by wrk. rounds: measurements per figure, of which the median
    counts. stock_blobs: distinct small blobs that are read. large_bytes: size of a large blob.
    rest_s: how long the machine is waited for to come to rest before each measurement.
    """

    small_s: int = 4
    rounds: int = 3
    stock_blobs: int = 4_000
    large_bytes: int = GIB
    rest_s: float = 4.0


QUICK: Final = Scale(small_s=1, rounds=1, stock_blobs=300, large_bytes=128 * MIB, rest_s=1.0)


class Kind(Enum):
    """What a load does."""

    PUT_SMALL = "PUT"
    GET_SMALL = "GET"
    PUT_LARGE = "PUT large"
    GET_LARGE = "GET large"


@dataclass(frozen=True, slots=True)
class Load:
    """One row of the table; connections is 1 for the large ones."""

    key: str
    name: str
    unit: str
    kind: Kind
    connections: int


def loads(scale: Scale) -> list[Load]:
    """The rows of a run at this scale, in the order in which they are measured."""
    rows = []
    for kind in (Kind.PUT_SMALL, Kind.GET_SMALL):
        for count in CONNECTIONS:
            counted = "1 connection" if count == 1 else f"{count} connections"
            name = f"{kind.value} {size_words(SMALL_BYTES)}, {counted}"
            rows.append(Load(f"{kind.value.lower()}-1k-{count}", name, "requests/s", kind, count))
    large = size_words(scale.large_bytes)
    rows.append(Load("put-large", f"PUT {large}", "MB/s", Kind.PUT_LARGE, 1))
    rows.append(Load("get-large", f"GET {large}", "MB/s", Kind.GET_LARGE, 1))
    return rows
