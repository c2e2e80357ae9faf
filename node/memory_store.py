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

    values: what is kept, open to tests that let it rot.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        capacity_bytes: int = CAPACITY_BYTES,
        facts: Facts | None = None,
    ) -> None:
        self.values = MemoryValues(capacity_bytes)
        table = RecordTable(FactSums(facts))
        super().__init__(table=table, values=self.values, ledger=ApplyOnly(table), clock=clock)
