"""Copies that could not be read: when to try again, and when to give one up.  A machine.

Rules:
1.  A copy is given up only after several tries over a while, and only when other copies of this
    node could be read at that moment: one bad sector must heal, a dead disk must not make the node
    forget everything.
2.  With more than `SUSPECTS_MAX` the disk is what is wrong, and nothing is given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ring.record import RecordKey

SUSPECTS_MAX: Final = 256


class Suspect(Struct):
    """first_s, next_s: of loop.time().  words: what the disk said last."""

    key: RecordKey
    first_s: float
    next_s: float
    words: str
    tries: int = 1


class Unreadable:
    """overflow: whether there were more suspects than fit; cleared when all of them are well."""

    def __init__(self, *, retry_s: float, tries: int, give_up_s: float) -> None:
        self.overflow = False
        self._retry_s = retry_s
        self._tries = tries
        self._give_up_s = give_up_s
        self._suspects: dict[RecordKey, Suspect] = {}

    def __len__(self) -> int:
        return len(self._suspects)

    def __contains__(self, key: object) -> bool:
        return key in self._suspects

    @property
    def suspects(self) -> list[Suspect]:
        """Those that are known, in the order in which they were found."""
        return list(self._suspects.values())

    def failed(self, key: RecordKey, now_s: float, words: str) -> bool:
        """It could not be read; whether that is news."""
        suspect = self._suspects.get(key)
        if suspect is not None:
            suspect.tries += 1
            suspect.next_s = now_s + self._retry_s
            suspect.words = words
            return False
        if len(self._suspects) >= SUSPECTS_MAX:
            self.overflow = True
            return False
        self._suspects[key] = Suspect(key, now_s, now_s + self._retry_s, words)
        return True

    def forget(self, key: RecordKey) -> None:
        """It could be read, or is gone."""
        self._suspects.pop(key, None)
        if not self._suspects:
            self.overflow = False

    def due(self, now_s: float) -> Sequence[Suspect]:
        """Those to be tried again."""
        return [suspect for suspect in self._suspects.values() if suspect.next_s <= now_s]

    def is_hopeless(self, key: RecordKey, now_s: float) -> bool:
        """Whether it may be given up if witnesses can be read now."""
        suspect = self._suspects.get(key)
        if suspect is None or self.overflow:
            return False
        return suspect.tries >= self._tries and now_s - suspect.first_s >= self._give_up_s
