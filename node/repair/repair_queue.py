"""Which records are to be looked at, and when.  A machine: no I/O, no clock.

Rules:
1.  A record stands in it once; being told of it again can only bring it forward, and never to
    less than `retry_s` after a try that failed: two nodes that keep telling each other of what
    neither can repair must not keep each other busy.
2.  It is bounded.  What finds no room is counted and forgotten: the next comparison finds it again.
3.  A record that was looked at is not looked at again within `retry_s`, whoever tells of it: what
    several nodes tell each other ends, whatever they make of it.
4.  A record that could not be repaired comes back later, each time after twice as long a wait.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from typing import Final

from msgspec import Struct

from ring.life import NodeId
from ring.record import RecordKey

_DOUBLINGS_MAX: Final = 30
_LOOKS_FORGOTTEN: Final = 1_024  # at most at once; more than are ever taken at once


class RepairTask(Struct):
    """One record.  reason: who or what told of it first, a word for counters and operators.

    askable: nodes to ask beside those that the layouts name.  due_s: not before.  earliest_s: nor
    before this, however often it is told of.
    """

    key: RecordKey
    reason: str
    due_s: float
    attempts: int = 0
    earliest_s: float = 0.0
    askable: tuple[NodeId, ...] = ()


class RepairQueue:
    """limit: records in it.  overflow_total: those that found no room.

    by_reason: how many were ever taken in.
    """

    def __init__(self, limit: int, *, retry_s: float, retry_max_s: float) -> None:
        assert limit > 0
        self._limit = limit
        self._retry_s = retry_s
        self._retry_max_s = retry_max_s
        self._tasks: dict[RecordKey, RepairTask] = {}
        self._heap: list[tuple[float, int, RecordKey]] = []
        self._number = 0
        self._looked_at_s: dict[RecordKey, float] = {}  # the latest, oldest first; rule 3
        self.overflow_total = 0
        self.by_reason: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._tasks)

    def has(self, key: RecordKey) -> bool:
        """Whether it waits to be looked at."""
        return key in self._tasks

    def add(
        self, key: RecordKey, reason: str, due_s: float, node: NodeId | None = None
    ) -> bool:
        """Look at a record; `node` has something of it.  False when there is no room."""
        task = self._tasks.get(key)
        due_s = max(due_s, self._looked_at_s.get(key, -math.inf) + self._retry_s)
        if task is None:
            if len(self._tasks) >= self._limit:
                self.overflow_total += 1
                return False
            task = self._tasks[key] = RepairTask(key, reason, due_s)
            self.by_reason[reason] += 1
            self._push(task)
        elif max(due_s, task.earliest_s) < task.due_s:
            task.due_s = max(due_s, task.earliest_s)
            self._push(task)
        if node is not None and node not in task.askable:
            task.askable = (*task.askable, node)
        return True

    def take(self, now_s: float, limit: int) -> list[RepairTask]:
        """Those that are due, at most `limit`, by their due times; each ends or is put `again`."""
        taken: list[RepairTask] = []
        while self._heap and self._heap[0][0] <= now_s and len(taken) < limit:
            due_s, _, key = heapq.heappop(self._heap)
            task = self._tasks.get(key)
            if task is not None and task.due_s == due_s:
                del self._tasks[key]
                self._looked_at_s.pop(key, None)
                self._looked_at_s[key] = now_s
                taken.append(task)
        self._forget_looks(now_s - self._retry_s)
        return taken

    def again(self, task: RepairTask, now_s: float) -> None:
        """It could not be repaired; rule 4."""
        wait_s = min(self._retry_s * 2.0 ** min(task.attempts, _DOUBLINGS_MAX), self._retry_max_s)
        told = self._tasks.pop(task.key, None)  # meanwhile, of the same record
        task.attempts += 1
        task.earliest_s = now_s + self._retry_s
        task.due_s = now_s + wait_s
        if told is not None:
            task.askable = tuple(dict.fromkeys((*task.askable, *told.askable)))
            task.due_s = max(min(task.due_s, told.due_s), task.earliest_s)
        self._tasks[task.key] = task
        self._push(task)

    def next_due_s(self) -> float | None:
        """When the next one is due, None when there is none."""
        while self._heap:
            due_s, _, key = self._heap[0]
            task = self._tasks.get(key)
            if task is not None and task.due_s == due_s:
                return due_s
            heapq.heappop(self._heap)
        return None

    def _forget_looks(self, before_s: float) -> None:
        for key in list(itertools.islice(self._looked_at_s, _LOOKS_FORGOTTEN)):
            if len(self._looked_at_s) <= self._limit and self._looked_at_s[key] > before_s:
                return
            del self._looked_at_s[key]

    def _push(self, task: RepairTask) -> None:
        self._number += 1
        heapq.heappush(self._heap, (task.due_s, self._number, task.key))
