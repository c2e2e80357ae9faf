"""The time that a whole run may take.

Every wait of the harness asks here for its share, so that the run ends in time even when every
part of it is slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.failure import RowFailed


class Deadline:
    """A point in time from which on nothing may begin.

    total_s: seconds from now on. clock: monotonic seconds.
    """

    def __init__(self, total_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._end_s = clock() + total_s

    def remaining_s(self) -> float:
        """Seconds left, 0 when the time is over."""
        return max(0.0, self._end_s - self._clock())

    def share_s(self, wanted_s: float, what: str) -> float:
        """At most `wanted_s` seconds of what is left; RowFailed when nothing is left for `what`."""
        left_s = self.remaining_s()
        if left_s <= 0:
            raise RowFailed(f"no time left for {what}")
        return min(wanted_s, left_s)
