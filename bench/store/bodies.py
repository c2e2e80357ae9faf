"""Values that no store has seen, with their keys, made before anything is timed."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ring.digest import Algorithm, Digest
from ring.record import RecordKey


@dataclass(frozen=True, slots=True)
class Body:
    """A value and the key that it hashes to."""

    key: RecordKey
    value: bytes


def make(count: int, size_bytes: int) -> list[Body]:
    """Random and unlike each other and all others."""
    return [body_of(os.urandom(size_bytes)) for _ in range(count)]


def tiny(number: int) -> Body:
    """The same short value for the same number in every process."""
    return body_of(b"record %d" % number)


def body_of(value: bytes) -> Body:
    """The value under its BLAKE3."""
    return Body(RecordKey(Digest.of(value, Algorithm.BLAKE3)), value)
