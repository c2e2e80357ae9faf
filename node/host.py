"""The machine's wall clock and its randomness: the only file that touches either."""

from __future__ import annotations

import secrets
import time


class HostClock:
    """ring.seams.Clock over the system's clock, which people and NTP may set back."""

    def now_s(self) -> float:
        return time.time()


class HostRandomness:
    """ring.seams.Randomness over the system's cryptographic source."""

    def octets(self, count: int) -> bytes:
        return secrets.token_bytes(count)
