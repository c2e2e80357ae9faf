"""The simulated twins of the host's clock and randomness."""

from __future__ import annotations

import asyncio
from random import Random

EPOCH_S = 1_800_000_000.0


class SimClock:
    """Virtual time as a wall shows it; `skew_s` is how far this wall is off."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s

    def now_s(self) -> float:
        return EPOCH_S + asyncio.get_running_loop().time() + self.skew_s


class SimRandomness:
    """Octets drawn from the seed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def octets(self, count: int) -> bytes:
        return self._rng.randbytes(count)
