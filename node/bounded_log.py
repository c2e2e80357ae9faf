"""Lines of log that strangers can cause, so their number is bounded.

In each period at most so many are written; what is beyond is counted, and the first line after says
how many there were.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

log = structlog.get_logger()


class BoundedLog:
    """now_s: a clock that only goes forward, in seconds."""

    def __init__(
        self, now_s: Callable[[], float], *, lines_max: int = 20, period_s: float = 60.0
    ) -> None:
        self._now_s = now_s
        self._lines_max = lines_max
        self._period_s = period_s
        self._ends_s = now_s() + period_s
        self._lines = 0
        self._suppressed = 0

    def warning(self, event: str, **facts: object) -> None:
        """Write a line, if there is room for it."""
        now_s = self._now_s()
        if now_s >= self._ends_s:
            self._ends_s = now_s + self._period_s
            self._lines = 0
            if self._suppressed:
                log.warning("lines about peers were not written", count=self._suppressed)
                self._suppressed = 0
        if self._lines < self._lines_max:
            self._lines += 1
            log.warning(event, **facts)
        else:
            self._suppressed += 1
