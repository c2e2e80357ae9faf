"""One line of log per request that was refused or failed, and no flood of them.

Clients cause these lines, so their number per sweep is bounded; what is beyond is counted and said
in one line.  Absent blobs and failed conditions are answers, not faults, and whoever polls for
readiness wants the answer and not a line each time: these are counted only.
"""

from __future__ import annotations

from typing import Final

import structlog

from gateway.http.request import STATUS_BROKEN_OFF, Request

_QUIET: Final = frozenset(("not_found", "precondition_failed", "range_not_satisfiable"))
_QUIET_ROUTES: Final = frozenset(("readyz",))
_FIRST_SERVER_ERROR: Final = 500


class FaultLog:
    """Writes lines while there is room; `sweep` makes room again."""

    def __init__(self, lines_max: int) -> None:
        self._log: Final = structlog.get_logger("gateway.http")
        self._lines_max = lines_max
        self._lines = 0
        self._suppressed = 0

    def refused(self, request: Request, *, code: str, detail: str, peer: str) -> None:
        """A request was answered with an error, or its answer broken off."""
        if code in _QUIET or request.route in _QUIET_ROUTES or not self._has_room():
            return
        status = request.status
        ours = status == STATUS_BROKEN_OFF or status >= _FIRST_SERVER_ERROR
        say = self._log.warning if ours else self._log.info
        say(
            "answer broken off" if status == STATUS_BROKEN_OFF else "request refused",
            request=request.id,
            method=request.method,
            route=request.route,
            status=status,
            code=code,
            detail=detail,
            peer=peer,
        )

    def crashed(self, request: Request, *, peer: str) -> None:
        """A fault of our own, with its traceback; called while it is being handled."""
        self._log.exception(
            "request failed in an unforeseen way",
            request=request.id,
            method=request.method,
            route=request.route,
            peer=peer,
        )

    def noticed(self, event: str, **facts: object) -> None:
        """Something about a connection rather than a request."""
        if self._has_room():
            self._log.info(event, **facts)

    def sweep(self) -> None:
        """A new span of time: say how much was not said in the last one."""
        if self._suppressed:
            self._log.warning("refused requests not logged", count=self._suppressed)
        self._lines = self._suppressed = 0

    def _has_room(self) -> bool:
        if self._lines >= self._lines_max:
            self._suppressed += 1
            return False
        self._lines += 1
        return True
