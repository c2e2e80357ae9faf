"""When to try again, and how long to wait before: decisions only, no clock and no sleep.

Rules:
1.  Only what a later attempt can change is tried again: 503 in all its forms, a connection that
    broke, an answer that did not come.  Every call of the HTTP API can be repeated safely.
2.  Waits double and are jittered, so that clients that failed together do not return together; a
    gateway's Retry-After is a lower bound.
3.  All attempts of one call share a deadline; progress in a long download starts it anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from ring.errors import HoldfastError
from ring.seams import Randomness

_SERVICE_UNAVAILABLE = 503
_JITTER_OCTETS = 4


class GatewayRefused(Exception):
    """Marks the cause of an Unreachable that means: nobody listens at that address."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a client is.

    deadline_s: from the first attempt to the start of the last.  wait_first_s, wait_max_s: bounds
    of the waits between.  refused_max: attempts at an address where nobody listens, which is more
    often a wrong address than a gateway that is just starting.
    """

    deadline_s: float = 30.0
    wait_first_s: float = 0.1
    wait_max_s: float = 5.0
    refused_max: int = 4


class Attempts:
    """The attempts of one call.  `now_s` is any clock that does not jump."""

    __slots__ = ("_failed", "_policy", "_randomness", "_refused", "_started_s")

    def __init__(self, policy: RetryPolicy, randomness: Randomness, now_s: float) -> None:
        self._policy = policy
        self._randomness = randomness
        self._started_s = now_s
        self._failed = 0
        self._refused = 0

    def progressed(self, now_s: float) -> None:
        """Bytes arrived: the next fault is a new one."""
        self._started_s = now_s
        self._failed = 0

    def wait_s(self, error: HoldfastError, now_s: float) -> float | None:
        """How long to wait before the next attempt; None to give up with `error`."""
        if not error.retryable or error.status != _SERVICE_UNAVAILABLE:
            return None
        if isinstance(error.__cause__, GatewayRefused):
            self._refused += 1
            if self._refused >= self._policy.refused_max:
                return None
        ceiling_s = min(self._policy.wait_max_s, self._policy.wait_first_s * 2.0**self._failed)
        self._failed += 1
        wait_s = max(ceiling_s * self._between_half_and_one(), _retry_after_s(error))
        if now_s + wait_s > self._started_s + self._policy.deadline_s:
            return None
        return wait_s

    def _between_half_and_one(self) -> float:
        drawn = int.from_bytes(self._randomness.octets(_JITTER_OCTETS), "big")
        return 0.5 + drawn / (1 << 8 * _JITTER_OCTETS) / 2


def _retry_after_s(error: HoldfastError) -> float:
    value = error.facts.get("retry_after_s", 0)
    return float(value) if isinstance(value, int) else 0.0
