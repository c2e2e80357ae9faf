"""What a connection is doing, and for how long it may: the deadlines of the door.

A machine without I/O.  The sweep of server.py shows it every connection once per `sweep_s`; in
between a connection only counts (its steps and its bytes), so a request pays for no timer.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final

from gateway.http.config import HttpConfig


class Phase(enum.IntEnum):
    """Who keeps the connection waiting, and for what."""

    FRESH = 0  # the client, for its first byte
    IDLE = 1  # the client, for its next request
    HEAD = 2  # the client, for the rest of a request's head
    BODY = 3  # the client, for more of a request's body
    STORE = 4  # the store
    ANSWER = 5  # the client, to take its answer
    LINGER = 6  # the client, to close


class Watch:
    """The clock of one connection.

    In BODY and ANSWER a client may pause, but over every grace that was spent waiting for it, it
    must move the minimum rate; the time in which the store was waited for does not count.  In every
    other phase the limit is on standing still.  A sweep that comes late, because this process had
    no time, is nobody's fault: it counts as two at most.
    """

    __slots__ = ("_bytes", "_pace", "_seen_s", "_step", "_still_s", "_waited_s")

    def __init__(self, now_s: float) -> None:
        self._seen_s = now_s
        self._step = -1
        self._still_s = 0.0
        self._pace: tuple[Phase, int] | None = None
        self._waited_s = 0.0
        self._bytes = 0

    def is_overdue(
        self,
        config: HttpConfig,
        now_s: float,
        phase: Phase,
        *,
        step: int,
        request: int,
        moved_bytes: int,
    ) -> bool:
        """Whether the patience with this connection is over.

        `step` changes whenever the phase does, `request` with every request; `moved_bytes` counts
        what the client sent of this body or took of this answer.
        """
        elapsed_s = min(now_s - self._seen_s, 2 * config.sweep_s)
        self._seen_s = now_s
        if phase is Phase.BODY or phase is Phase.ANSWER:
            return self._is_slow(config, elapsed_s, (phase, request), moved_bytes)
        if step != self._step:
            self._step, self._still_s = step, 0.0
            return False
        self._still_s += elapsed_s
        return self._still_s >= _LIMITS[phase](config)

    def _is_slow(
        self, config: HttpConfig, elapsed_s: float, pace: tuple[Phase, int], moved_bytes: int
    ) -> bool:
        if pace != self._pace:
            self._pace, self._waited_s, self._bytes = pace, 0.0, moved_bytes
            return False
        self._waited_s += elapsed_s
        grace_s = config.body_grace_s if pace[0] is Phase.BODY else config.answer_grace_s
        if self._waited_s < grace_s:
            return False
        expected_bytes = config.rate_min * self._waited_s
        slow = moved_bytes - self._bytes < expected_bytes
        self._waited_s, self._bytes = 0.0, moved_bytes
        return slow


_LIMITS: Final[Mapping[Phase, Callable[[HttpConfig], float]]] = {
    Phase.FRESH: lambda config: config.first_request_s,
    Phase.IDLE: lambda config: config.idle_s,
    Phase.HEAD: lambda config: config.first_request_s,
    Phase.STORE: lambda config: config.store_s,
    Phase.LINGER: lambda config: config.linger_s,
}
