"""How long a node usually takes, and how many extra questions may be asked because of it.

A running estimate of the 95th percentile: a sample above it moves it up by nineteen steps, one
below moves it down by one, so it rests where one sample in twenty is above.  Steps are relative, so
the estimate follows a node from microseconds to seconds.  (Frugal streaming: Ma, Muthukrishnan,
Sandler, 2013.)
"""

from __future__ import annotations

from typing import Final

_STEP: Final = 0.005
_QUANTILE: Final = 0.95
_FLOOR_S: Final = 0.000_2
_START_S: Final = 0.02


class Latency:
    """The p95 of one node's answers, in seconds."""

    __slots__ = ("p95_s",)

    def __init__(self) -> None:
        self.p95_s = _START_S

    def observe(self, elapsed_s: float) -> None:
        """An answer came."""
        if elapsed_s > self.p95_s:
            self.p95_s *= 1 + _STEP * _QUANTILE * 20
        else:
            self.p95_s = max(_FLOOR_S, self.p95_s * (1 - _STEP * (1 - _QUANTILE) * 20))


class HedgeBudget:
    """Lets at most one question in twenty be an extra one, so that trouble does not double load."""

    __slots__ = ("_tokens",)

    RATIO: Final = 0.05
    BURST: Final = 20.0

    def __init__(self) -> None:
        self._tokens = self.BURST

    def earn(self) -> None:
        """A regular question was asked."""
        if self._tokens < self.BURST:
            self._tokens += self.RATIO

    def spend(self) -> bool:
        """Whether an extra question may be asked now."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
