"""How fast things move on this node: rates over the last minute, growth over the last day.

In memory, since the process started; nothing is decided by it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

SAMPLE_S: Final = 5.0
RATE_SAMPLES: Final = 13  # a minute
GROWTH_EVERY: Final = 12  # samples: once a minute
GROWTH_SAMPLES: Final = 24 * 60
GROWTH_LEAST_S: Final = 1_800.0


class Growth(Struct, frozen=True):
    """grown_bytes: what is stored more than span_s seconds ago; negative when it is less."""

    grown_bytes: int
    span_s: float


class Trends:
    """counters: those of the node.  stored: bytes of values at the moment."""

    def __init__(self, counters: Counter[str], stored: Callable[[], int]) -> None:
        self._counters = counters
        self._stored = stored
        self._moved: deque[tuple[float, dict[str, int]]] = deque(maxlen=RATE_SAMPLES)
        self._grown: deque[tuple[float, int]] = deque(maxlen=GROWTH_SAMPLES)

    async def run(self) -> None:
        """Until cancelled."""
        samples = 0
        while True:
            now_s = asyncio.get_running_loop().time()
            self._moved.append((now_s, dict(self._counters)))
            if samples % GROWTH_EVERY == 0:
                self._grown.append((now_s, self._stored()))
            samples += 1
            await asyncio.sleep(SAMPLE_S)

    def rate(self, name: str) -> float | None:
        """What a counter gained in a second, over the last minute; None when it is too early."""
        if not self._moved:
            return None
        then_s, before = self._moved[0]
        elapsed_s = asyncio.get_running_loop().time() - then_s
        if elapsed_s < SAMPLE_S:
            return None
        return (self._counters[name] - before.get(name, 0)) / elapsed_s

    def growth(self) -> Growth | None:
        """Of what is stored; None before half an hour is known."""
        if not self._grown:
            return None
        then_s, before = self._grown[0]
        span_s = asyncio.get_running_loop().time() - then_s
        return Growth(self._stored() - before, span_s) if span_s >= GROWTH_LEAST_S else None
