"""A record store that forgets everything when its process ends: for tests and trials."""

from __future__ import annotations

from typing import Final

from node.fact_sums import FactSums
from node.ledger import ApplyOnly
from node.record_keeper import RecordKeeper
from node.record_table import RecordTable
from node.values import MemoryValues
from ring.facts import Facts
from ring.limits import GIB
from ring.seams import Clock

CAPACITY_BYTES: Final = 64 * GIB


class MemoryRecordStore(RecordKeeper):
    """node.local_store.LocalRecordStore in memory.

    values, table: what is kept, open to tests that let it rot and to what fills a store quickly.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        capacity_bytes: int = CAPACITY_BYTES,
        facts: Facts | None = None,
        values: MemoryValues | None = None,
    ) -> None:
        self.values = values or MemoryValues(capacity_bytes)
        self.table = RecordTable(FactSums(facts))
        super().__init__(
            table=self.table, values=self.values, ledger=ApplyOnly(self.table), clock=clock
        )
