"""How fast repair copies and the scrub reads: a bucket of bytes that fills slower for clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from node.repair.repair_settings import RECORD_COST_BYTES

_LOOK_S: Final = 0.25
_BUSY_REQUESTS_PER_S: Final = 20.0
_BURST_S: Final = 0.25


class Rates(Protocol):
    """How many bytes may be moved in a second, while clients are quiet and while they are not."""

    @property
    def bytes_per_s(self) -> float:
        """While they are quiet."""

    @property
    def busy_bytes_per_s(self) -> float:
        """While they are not."""


class Pace:
    """served: how many requests of clients this node has answered so far."""

    def __init__(self, settings: Rates, served: Callable[[], int]) -> None:
        self._settings = settings
        self._served = served
        self._seen = served()
        self._looked_s = self._filled_s = asyncio.get_running_loop().time()
        self._allowance = 0.0
        self.is_busy = False

    @property
    def bytes_per_s(self) -> float:
        """What may be moved at the moment."""
        settings = self._settings
        return settings.busy_bytes_per_s if self.is_busy else settings.bytes_per_s

    async def spend(self, size_bytes: int) -> None:
        """Wait until a record of this size may be moved."""
        self._fill()
        self._allowance -= max(size_bytes, RECORD_COST_BYTES)
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / self.bytes_per_s)

    def _fill(self) -> None:
        now_s = asyncio.get_running_loop().time()
        elapsed_s = now_s - self._looked_s
        if elapsed_s >= _LOOK_S:
            served = self._served()
            self.is_busy = (served - self._seen) / elapsed_s > _BUSY_REQUESTS_PER_S
            self._seen, self._looked_s = served, now_s
        rate = self.bytes_per_s
        filled = self._allowance + rate * (now_s - self._filled_s)
        self._allowance = min(filled, rate * _BURST_S)
        self._filled_s = now_s
