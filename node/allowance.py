"""A bound on what is under way, with a queue for those who have to wait.

Rules:
1.  First come, first served: whoever waits is served before anybody who comes later.
2.  Something larger than the whole bound passes when nothing else is under way, so that nobody
    waits for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Allowance:
    """So much may be under way at once, in units of the owner."""

    def __init__(self, limit: int) -> None:
        assert limit > 0
        self._limit = limit
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether the bound is reached."""
        return self.used >= self._limit

    def take_now(self, amount: int) -> bool:
        """Take `amount` if it is free and nobody waits."""
        if self._waiting or not self._fits(amount):
            return False
        self.used += amount
        return True

    def overdraw(self, amount: int) -> None:
        """Take `amount` whether or not it is free: the owner stops before it takes more."""
        self.used += amount

    def wait(self, amount: int, granted: Callable[[], None]) -> None:
        """Have `granted` called once `amount` was taken in its name."""
        self._waiting.append((amount, granted))

    def withdraw(self, granted: Callable[[], None]) -> None:
        """Whoever waited with `granted` does not need it any more."""
        self._waiting = deque(entry for entry in self._waiting if entry[1] != granted)

    def give_back(self, amount: int) -> None:
        """What was taken is free again."""
        assert amount <= self.used, (amount, self.used)
        self.used -= amount
        while self._waiting and self._fits(self._waiting[0][0]):
            amount, granted = self._waiting.popleft()
            self.used += amount
            granted()

    def _fits(self, amount: int) -> bool:
        return self.used == 0 or self.used + amount <= self._limit
