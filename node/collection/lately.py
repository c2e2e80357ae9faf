"""Keys that something happened to a moment ago: remembered for a while, and never too many."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT")


class Lately(Generic[KeyT]):
    """To be used inside one running loop; forgets the oldest first."""

    def __init__(self, memory_s: float, keys_max: int) -> None:
        self._memory_s = memory_s
        self._keys_max = keys_max
        self._until_s: dict[KeyT, float] = {}

    def add(self, key: KeyT) -> None:
        """It happened now."""
        self._until_s.pop(key, None)
        if len(self._until_s) >= self._keys_max:
            del self._until_s[next(iter(self._until_s))]
        self._until_s[key] = asyncio.get_running_loop().time() + self._memory_s

    def discard(self, key: KeyT) -> None:
        """It is of no more interest."""
        self._until_s.pop(key, None)

    def has(self, key: KeyT) -> bool:
        """Whether it happened within the time that is remembered."""
        until_s = self._until_s.get(key)
        if until_s is None:
            return False
        if until_s > asyncio.get_running_loop().time():
            return True
        del self._until_s[key]
        return False
