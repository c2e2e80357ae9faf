"""A wall clock that stands where a test puts it."""

from __future__ import annotations


class ManualClock:
    """ring.seams.Clock; `seconds` is the time."""

    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds

    def now_s(self) -> float:
        return self.seconds
