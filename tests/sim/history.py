"""What clients asked, when, and what they were told: the raw material of the cluster's checks.

Stamps are positions in one sequence of beginnings and ends, so that "before" is exact even within
one microsecond.  Every message that an operation causes is charged to it (a context variable
follows it through tasks and callbacks), so that the checks know the generations it wrote.
"""

from __future__ import annotations

import enum
import itertools
from contextvars import ContextVar
from dataclasses import dataclass, field

from ring.digest import Digest
from ring.messages import BuryRecord, PutRecord, Request

current: ContextVar[Operation | None] = ContextVar("operation", default=None)
"""The operation on whose behalf the running code runs."""


class Kind(enum.Enum):
    """What a client wants."""

    PUT = "put"
    DELETE = "delete"
    GET = "get"
    HEAD = "head"
    LIST = "list"


class Verdict(enum.Enum):
    """What a client was told."""

    OPEN = "open"  # nothing yet
    DONE = "done"  # the write is acknowledged
    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"  # an error, or silence: a write may take effect at any later time


@dataclass(slots=True, eq=False)
class Operation:
    """One request of one client; list has no digest.

    began, ended: stamps.  confirmed: a read that enough nodes answered.  generation: of a read.
    put_generations, bury_generations: what it wrote to nodes, in order.
    """

    number: int
    kind: Kind
    digest: Digest | None
    began: int
    ended: int = 0
    verdict: Verdict = Verdict.OPEN
    confirmed: bool = True
    generation: int = 0
    put_generations: list[int] = field(default_factory=list)
    bury_generations: list[int] = field(default_factory=list)

    @property
    def acked(self) -> bool:
        """Whether a write was acknowledged."""
        return self.verdict is Verdict.DONE

    def charge(self, request: Request) -> None:
        """Note a message that this operation caused."""
        match request:
            case PutRecord(key=key, generation=generation) if key.digest == self.digest:
                if generation:
                    self.put_generations.append(generation)
            case BuryRecord(key=key, generation=generation) if key.digest == self.digest:
                self.bury_generations.append(generation)


class History:
    """All operations, by digest."""

    def __init__(self) -> None:
        self._stamps = itertools.count(1)
        self._numbers = itertools.count(1)
        self.operations: list[Operation] = []

    def begin(self, kind: Kind, digest: Digest | None) -> Operation:
        """A client asks."""
        operation = Operation(next(self._numbers), kind, digest, next(self._stamps))
        self.operations.append(operation)
        return operation

    def end(self, operation: Operation, verdict: Verdict) -> None:
        """The client was told something."""
        assert operation.verdict is Verdict.OPEN
        operation.ended = next(self._stamps)
        operation.verdict = verdict

    def of(self, kind: Kind, digest: Digest) -> list[Operation]:
        """All operations of a kind on a digest so far, by beginning."""
        return [
            operation
            for operation in self.operations
            if operation.kind is kind and operation.digest == digest
        ]
