"""Writes that did not reach an owner: what repair would otherwise have to find by comparing.

Rule: a note is a hint and no more.  It may be wrong - the write may have arrived after all - and
it may be dropped: beyond the bound the oldest is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ring.life import NodeId
from ring.record import RecordKey

MISSED_MAX: Final = 4096


class MissedWrites:
    """Pairs of an owner and a record, each once, oldest first.

    on_missed: told of each new pair as it is noted; must not raise or wait.
    """

    def __init__(self, limit: int = MISSED_MAX) -> None:
        assert limit > 0
        self._limit = limit
        self._pairs: dict[tuple[NodeId, RecordKey], None] = {}
        self.on_missed: Callable[[NodeId, RecordKey], None] | None = None
        self.noted_total = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        return len(self._pairs)

    def note(self, node: NodeId, key: RecordKey) -> None:
        """The owner `node` did not say that it has what was written under `key`."""
        pair = (node, key)
        if pair in self._pairs:
            return
        self.noted_total += 1
        if len(self._pairs) >= self._limit:
            self.dropped_total += 1
            del self._pairs[next(iter(self._pairs))]
        self._pairs[pair] = None
        if self.on_missed is not None:
            self.on_missed(node, key)

    def take(self, limit: int) -> list[tuple[NodeId, RecordKey]]:
        """At most `limit` pairs, which are forgotten here."""
        taken = list(self._pairs)[:limit]
        for pair in taken:
            del self._pairs[pair]
        return taken
