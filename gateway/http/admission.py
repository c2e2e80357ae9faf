"""How much the door does at once: requests in flight, and memory for bodies that come in.

What is beyond the bound is refused at once with Busy (503 and Retry-After): a queue in front of a
store that is too slow makes everybody late and helps nobody.
"""

from __future__ import annotations

from gateway.http.config import HttpConfig
from ring.errors import Busy
from ring.limits import CHUNK_BYTES


class Admission:
    """Counters with a ceiling; whoever enters leaves again."""

    __slots__ = ("_body_bytes_max", "_requests_max", "body_bytes", "refused", "requests")

    def __init__(self, config: HttpConfig) -> None:
        self._requests_max = config.requests_in_flight_max
        self._body_bytes_max = config.body_bytes_in_flight_max
        self.requests = 0
        self.body_bytes = 0
        self.refused = 0

    def enter(self) -> None:
        """Count a request; raises Busy."""
        if self.requests >= self._requests_max:
            self.refused += 1
            raise Busy(f"{self.requests} requests are in flight, and more are not taken")
        self.requests += 1

    def leave(self) -> None:
        """The request is over."""
        self.requests -= 1

    def reserve(self, size_bytes: int | None) -> int:
        """Memory for a body of that size, None when unknown; bytes to `free`.  Raises Busy."""
        reserved = CHUNK_BYTES if size_bytes is None else min(size_bytes, CHUNK_BYTES)
        if self.body_bytes + reserved > self._body_bytes_max:
            self.refused += 1
            raise Busy(f"{self.body_bytes} bytes of bodies are on their way, and more do not fit")
        self.body_bytes += reserved
        return reserved

    def free(self, reserved: int) -> None:
        """The body is stored or given up."""
        self.body_bytes -= reserved
