"""Randomness that never repeats and is the same in every run."""

from __future__ import annotations

import itertools

from blake3 import blake3


class NumberedRandomness:
    """Hashes of 1, 2, 3 ..."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._numbers = itertools.count(1)

    def octets(self, count: int) -> bytes:
        number = f"{self._seed}.{next(self._numbers)}".encode()
        data: bytes = blake3(number).digest(count)
        return data
