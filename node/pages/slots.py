"""Which slots may be written: the rule that makes frames whole.

Rules:
1.  A slot that a durable map may name is never given out.  A replaced or deleted frame's slot waits
    for the flush that makes its successor durable, and then for the last reader who holds it.
2.  The slots that the last flush freed are given out first, in the order in which their frames were
    replaced, so that what was written in a row stays in a row; then older ones.  After an opening
    the lowest hole comes first.  Slots that were never used come last.
3.  A slot where a write failed is given out again only when enough others failed as well.

Not thread-safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

_FAILED_MAX: Final = 16


class Slots:
    """Slots of a file that has room for `room` of them.

    next_slot: the lowest that was never given out.
    """

    def __init__(self, used: Iterable[int], room: int) -> None:
        taken = set(used)
        self.next_slot = max(taken, default=-1) + 1
        holes = range(min(self.next_slot, room))  # a map of a file cut short may say anything
        self._free = [slot for slot in reversed(holes) if slot not in taken]
        self._failed: deque[int] = deque()
        self._waiting: list[int] = []
        self._leaving: set[int] = set()
        self._readers: dict[int, int] = {}

    @property
    def free_count(self) -> int:
        """Slots that could be given out without growing."""
        return len(self._free) + len(self._failed)

    @property
    def waiting_count(self) -> int:
        """Slots of replaced frames that wait for a flush or a reader."""
        return len(self._waiting) + len(self._leaving)

    def take(self) -> int:
        """A slot to write."""
        if self._free:
            return self._free.pop()
        if len(self._failed) > _FAILED_MAX:
            return self._failed.popleft()
        self.next_slot += 1
        return self.next_slot - 1

    def take_below(self, slot: int) -> int | None:
        """The slot that `take` would give, after `sort` the lowest, if it is below `slot`."""
        if not self._free or self._free[-1] >= slot:
            return None
        return self._free.pop()

    def sort(self) -> None:
        """Give out the lowest slots first."""
        self._free.sort(reverse=True)

    def take_all_free(self) -> list[int]:
        """Every free slot, lowest first, to be given back with `give_back_all`."""
        taken, self._free = sorted(self._free), []
        return taken

    def give_back(self, slot: int) -> None:
        """Nothing was written."""
        self._free.append(slot)

    def give_back_all(self, slots: Iterable[int]) -> None:
        """The lowest comes first again."""
        self._free += slots
        self.sort()

    def failed(self, slot: int) -> None:
        """A write to it failed."""
        self._failed.append(slot)

    def replaced(self, slot: int) -> None:
        """Its frame is no longer the newest."""
        self._waiting.append(slot)

    def cut(self) -> int:
        """A mark for `flushed`: what was replaced before now."""
        return len(self._waiting)

    def flushed(self, mark: int) -> None:
        """What was replaced before the mark is named by no durable map any more."""
        done, self._waiting = self._waiting[:mark], self._waiting[mark:]
        for slot in reversed(done):
            if slot in self._readers:
                self._leaving.add(slot)
            else:
                self._free.append(slot)

    def hold(self, slot: int) -> None:
        """A reader needs it as it is."""
        self._readers[slot] = self._readers.get(slot, 0) + 1

    def release(self, slot: int) -> None:
        """The reader is done."""
        left = self._readers[slot] - 1
        if left:
            self._readers[slot] = left
            return
        del self._readers[slot]
        if slot in self._leaving:
            self._leaving.remove(slot)
            self._free.append(slot)

    def shrink(self) -> None:
        """Forget free slots at the end."""
        free = {*self._free, *self._failed}
        while self.next_slot - 1 in free:
            self.next_slot -= 1
        self._free = [slot for slot in self._free if slot < self.next_slot]
        self._failed = deque(slot for slot in self._failed if slot < self.next_slot)
