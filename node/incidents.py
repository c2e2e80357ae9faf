"""What happened to records on this node, in memory: for whoever asks why a blob is as it is.

Rules:
1.  Bounded: the oldest incident goes when there are more than `limit`.  It is no log and no proof;
    a restart begins anew.
2.  The same again in a row is one incident that happened so many times.
3.  Nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from ring.operating import (
    INCIDENTS_TOLD_MAX,
    REMARK_CHARACTERS_MAX,
    Incident,
    IncidentKind,
)
from ring.record import RecordKey
from ring.seams import Clock

INCIDENTS_MAX: Final = 10_000
_BY_A_READER: Final = "found as it was read or written again"


class Incidents:
    """See the module."""

    def __init__(self, clock: Clock, limit: int = INCIDENTS_MAX) -> None:
        assert limit > 0
        self._clock = clock
        self._limit = limit
        self._numbers = count()
        self._all: dict[int, RecordKey] = {}  # by number, so in order
        self._of: dict[RecordKey, dict[int, Incident]] = {}
        self._lookers: dict[RecordKey, str] = {}

    def __len__(self) -> int:
        return len(self._all)

    def note(self, key: RecordKey, kind: IncidentKind, words: str) -> None:
        """It happened just now."""
        words = words[:REMARK_CHARACTERS_MAX]
        now_s = max(0, int(self._clock.now_s()))
        own = self._of.setdefault(key, {})
        if own:
            number, last = next(reversed(own.items()))
            if (last.kind, last.words) == (kind, words):
                own[number] = Incident(now_s, kind, words, last.times + 1)
                return
        number = next(self._numbers)
        own[number] = Incident(now_s, kind, words)
        self._all[number] = key
        if len(self._all) > self._limit:
            self._forget_oldest()

    def of(self, key: RecordKey) -> tuple[Incident, ...]:
        """The last INCIDENTS_TOLD_MAX of a record, oldest first."""
        return tuple(self._of.get(key, {}).values())[-INCIDENTS_TOLD_MAX:]

    @contextmanager
    def looking(self, key: RecordKey, words: str) -> Iterator[None]:
        """While a copy is looked at, say who looks: "found by the scrub"."""
        self._lookers[key] = words
        try:
            yield
        finally:
            self._lookers.pop(key, None)

    def bad_copy(self, key: RecordKey, words: str, *, is_gone: bool) -> None:
        """A store put a copy aside, or found it gone."""
        looker = self._lookers.get(key, _BY_A_READER)
        kind = IncidentKind.MISSING if is_gone else IncidentKind.PUT_ASIDE
        self.note(key, kind, f"{words}; {looker}")

    def _forget_oldest(self) -> None:
        number, key = next(iter(self._all.items()))
        del self._all[number]
        own = self._of[key]
        del own[number]
        if not own:
            del self._of[key]
