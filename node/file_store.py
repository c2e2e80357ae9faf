"""A record store that keeps one file for each value and a journal of what it knows of them.

Made of node/record_keeper.py (what is done when), node/file_values.py (the bytes),
node/state_journal.py (the rows) and node/file_sweep.py (making both agree at the start).
"""

from __future__ import annotations

import asyncio

import structlog

from node.fact_sums import FactSums
from node.file_paths import STATE_DIRECTORY
from node.file_sweep import FileSweep
from node.file_values import FileValues
from node.local_store import BeforeNew
from node.record_keeper import RecordKeeper
from node.record_table import RecordTable
from node.state_files import StateDirectory
from node.state_journal import COMPACT_BYTES_MIN, StateJournal
from node.value_check import Offload, in_place
from ring.facts import Facts
from ring.seams import Clock, Disk, Randomness

log = structlog.get_logger()


class FileRecordStore(RecordKeeper):
    """node.local_store.LocalRecordStore over a disk; made by `open`."""

    @classmethod
    async def open(
        cls,
        disk: Disk,
        *,
        clock: Clock,
        randomness: Randomness,
        offload: Offload = in_place,
        compact_bytes_min: int = COMPACT_BYTES_MIN,
        before_new: BeforeNew | None = None,
        facts: Facts | None = None,
    ) -> FileRecordStore:
        """Read the state back and sweep the files.

        before_new: see BeforeNew.  facts: how they are made in this cluster.
        Raises Corrupt when the state is damaged other than by a torn last write (the node has to be
        replaced), StorageFault or DiskFull when the disk does not let it go on.
        """
        table = RecordTable(FactSums(facts))
        directory = StateDirectory(disk, STATE_DIRECTORY, randomness)
        journal = StateJournal(directory, table, compact_bytes_min=compact_bytes_min)
        values = FileValues(disk, randomness)
        sweep = FileSweep(disk, values, table)
        found = await journal.recover()
        try:
            await sweep.remove_unfinished()
            if found:
                change = await sweep.corrections()
                if change:
                    await journal.commit(change, essential=True)
            else:
                adopted = await sweep.adopt()
                if before_new is not None:
                    await before_new()
                await journal.begin()
                if adopted:
                    log.warning("records were adopted, for there was no state", records=adopted)
        except (Exception, asyncio.CancelledError):
            await journal.close()
            raise
        return cls(
            table=table,
            values=values,
            ledger=journal,
            clock=clock,
            offload=offload,
            had_state=found,
        )
