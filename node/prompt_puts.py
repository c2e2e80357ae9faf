"""Puts of small blobs that are new here, which is most of them, without a task for each.

They do what RecordKeeper does with a task, in the same order and under the same locks; what has to
wait for anything but the commit is left to that.
"""

from __future__ import annotations

import asyncio

from node.key_locks import KeyLocks
from node.ledger import Ledger
from node.operations import Operations
from node.record_change import RecordChange
from node.record_row import pack_row
from node.table import Table
from node.values import Values
from ring import admission
from ring.admission import PutAnswer
from ring.digest import Buffer
from ring.errors import HoldfastError
from ring.record import RecordKey, RecordKind
from ring.seams import Clock


class PromptPuts:
    """Over what a RecordKeeper is over."""

    def __init__(
        self,
        *,
        table: Table,
        values: Values,
        ledger: Ledger,
        clock: Clock,
        locks: KeyLocks,
        operations: Operations,
    ) -> None:
        self._table = table
        self._values = values
        self._ledger = ledger
        self._clock = clock
        self._locks = locks
        self._operations = operations

    def begin(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> asyncio.Future[PutAnswer] | None:
        """A put of a value that was checked, None when it needs a task."""
        raw = key.raw
        before = self._table.state(raw)
        floor = self._table.floor(key.digest.partition)
        if before.held or admission.refuses_put(before, floor, generation):
            return None
        if not self._operations.may_track or not self._locks.take_now(raw):
            return None
        if not self._values.write_now(key, kind, value):
            self._locks.release(raw)
            return None
        answer = self._operations.track()
        after = admission.put_root(
            before,
            kind=kind,
            size_bytes=size_bytes,
            generation=generation,
            now_s=int(self._clock.now_s()),
        )

        def ended(error: HoldfastError | None) -> None:
            self._locks.release(raw)
            self._operations.untrack(answer)
            if answer.done():
                return  # the store was closed before its disk answered
            if error is None:
                answer.set_result(PutAnswer(after.root, floor, had=False))
            else:
                answer.set_exception(error)
                answer.exception()  # that nobody waits any more is no fault

        self._ledger.submit(RecordChange(rows={raw: pack_row(after)}), ended)
        return answer
