"""What a record store's reading half and its keeper ask of the table of its records.

Two tables fill it: node/record_table.py keeps everything in memory, node/index/indexed_table.py
keeps what changed lately in memory and the rest in an index.
"""

from __future__ import annotations

from typing import Protocol

from node.fact_sums import FactSums
from ring.digest import Digest
from ring.record import RecordKind, RecordState


class Order(Protocol):
    """The keys of a table in order."""

    def after(self, key: bytes | None, limit: int) -> list[bytes]:
        """The first `limit` keys after `key`, or the first of all; fewer at the end only."""


class Table(Protocol):
    """Records by RecordKey.raw; all that it says is durable, and it says it without waiting.

    A table that reads a disk may raise Corrupt or StorageFault from every call.
    """

    sums: FactSums
    """What peers compare; told of every change."""

    @property
    def records(self) -> int:
        """Rows, tombstones included."""

    @property
    def held(self) -> int:
        """Rows whose value is here."""

    @property
    def bytes_stored(self) -> int:
        """Bytes of those values."""

    @property
    def order(self) -> Order:
        """The keys of all rows."""

    def state(self, key: bytes) -> RecordState:
        """The record's state, `ABSENT` when nothing is remembered."""

    def glance(self, key: bytes) -> RecordState:
        """As `state`, for whoever walks over many: what is looked up is not remembered."""

    def value_bytes(self, key: bytes, kind: RecordKind) -> int | None:
        """Length of the value that is here, None when none of this kind is; quicker than states."""

    def floor(self, partition: int) -> int:
        """The highest generation ever purged there."""

    def floors(self) -> dict[int, int]:
        """Floors above 0 by partition, in order."""

    def is_claimed_by(self, key: bytes, claimant: Digest) -> bool:
        """Whether the claim is a row here."""

    def claimants(
        self, key: bytes, after: Digest | None, limit: int
    ) -> tuple[list[Digest], bool]:
        """At most `limit` claimants in order, and whether that was all."""
