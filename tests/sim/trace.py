"""What happened in a run, in order: hashed always, printed on request.

Two runs of one seed must agree in every event, in whatever process they run; comparing the hashes
shows it.  So facts are numbers and names, never addresses or anything that hashing a str decides.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter

Fact = str | int


class Trace:
    """Events with the virtual time at which they happened.

    faults: what the world did to the cluster, by kind.
    """

    def __init__(self, *, echo: bool = False) -> None:
        self.events = 0
        self.faults: Counter[str] = Counter()
        self._echo = echo
        self._hash = hashlib.sha256()

    def event(self, kind: str, *facts: Fact) -> None:
        """Something happened now."""
        now_us = round(asyncio.get_running_loop().time() * 1e6)
        line = f"{now_us:>12} {kind} {' '.join(map(str, facts))}"
        self.events += 1
        self._hash.update(line.encode() + b"\n")
        if self._echo:
            print(line)

    def fault(self, kind: str, *facts: Fact) -> None:
        """The world did something to the cluster."""
        self.faults[kind] += 1
        self.event(f"fault:{kind}", *facts)

    def digest(self) -> str:
        """Hash of everything so far."""
        return self._hash.hexdigest()[:32]
