"""What the log of a page record store asks of its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from node.index.location import Location, Position
from node.record_change import RecordChange
from node.table import Table


class LocatedTable(Table, Protocol):
    """A table that also knows where the values lie and which part of the log it needs no more.

    A record has one value at most, so a key has one location at most.  A location stands only on a
    row that holds its value.
    """

    @property
    def covered(self) -> Position | None:
        """What the last durable checkpoint covers; None before the first."""

    @property
    def live_bytes(self) -> Mapping[int, int]:
        """Bytes of located values by segment; segments without any are absent.  Not a copy."""

    def location(self, key: bytes) -> Location | None:
        """Where the record's value lies; raises Corrupt or StorageFault."""

    def apply(
        self, change: RecordChange, located: Mapping[bytes, Location | None], position: Position
    ) -> None:
        """Make a change that is durable in the log, whose entry ends at `position`.

        Positions only rise; changes that share one are applied without an await in between.
        Rows first, then locations: None forgets one; one of a key without a row that holds a value
        is passed over, and a row that holds none loses its location by itself.  A row that says
        nothing of its location keeps it.  Raises Corrupt or StorageFault when the index cannot be
        read; then nothing was changed.
        """

    async def checkpoint(self) -> Position | None:
        """Bring all that was applied before the call into the index, durably; what is covered.

        Does nothing while a replay has not come to the end of a checkpoint that a crash cut short.
        Raises StorageFault, DiskFull or Corrupt; nothing is lost by that, and it
        may be tried again.
        """
