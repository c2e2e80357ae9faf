"""Where the bytes of records are kept: the protocol, and the one that keeps them in memory."""

from __future__ import annotations

from typing import Protocol

from node.file_span import FileSpan
from ring.digest import Buffer
from ring.record import RecordKey, RecordKind


class Values(Protocol):
    """Values by key and kind.  Callers hold the key's lock for everything that changes them.

    Absent values raise FileNotFoundError; faults raise DiskFull or StorageFault.
    """

    async def read(self, key: RecordKey, kind: RecordKind) -> Buffer:
        """The value as it is, right or not."""

    def read_now(self, key: RecordKey, kind: RecordKind) -> Buffer | None:
        """As `read` when that needs no waiting, else None.  Never blocks."""

    async def write(self, key: RecordKey, kind: RecordKind, value: Buffer) -> None:
        """Store it in place of what is there, all or nothing.

        Durable and seen at the latest when the next commit of this record's row returns; if that
        fails, it may be forgotten.
        """

    def write_now(self, key: RecordKey, kind: RecordKind, value: Buffer) -> bool:
        """As `write` when that needs no waiting, else false and nothing was done.

        What was written like that is forgotten by itself if the commit of the row fails.
        """

    async def remove(self, key: RecordKey, kind: RecordKind) -> None:
        """Forget it; absent is fine."""

    async def quarantine(self, key: RecordKey, kind: RecordKind) -> None:
        """Put a bad copy aside durably, where nothing reads it; absent is fine."""

    async def quarantined(self, key: RecordKey) -> list[str]:
        """Where bad copies of the record are, below the data directory."""

    async def open_span(self, key: RecordKey, kind: RecordKind) -> FileSpan | None:
        """The value ready to be sent, None where there is no such thing."""

    async def bytes_free(self) -> int:
        """Room for more, in bytes."""


class MemoryValues:
    """Values in a dictionary; there is always room for as much as the store was given.

    values, in_quarantine: what is kept, and copies found bad in the order in which they were.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.values: dict[tuple[RecordKey, RecordKind], bytes] = {}
        self.in_quarantine: list[tuple[RecordKey, RecordKind, bytes]] = []
        self._capacity_bytes = capacity_bytes

    async def read(self, key: RecordKey, kind: RecordKind) -> Buffer:
        return self._value(key, kind)

    def read_now(self, key: RecordKey, kind: RecordKind) -> Buffer | None:
        return self._value(key, kind)

    async def write(self, key: RecordKey, kind: RecordKind, value: Buffer) -> None:
        self.values[key, kind] = bytes(value)

    def write_now(self, key: RecordKey, kind: RecordKind, value: Buffer) -> bool:
        self.values[key, kind] = bytes(value)
        return True  # and commits in memory do not fail

    async def remove(self, key: RecordKey, kind: RecordKind) -> None:
        self.values.pop((key, kind), None)

    async def quarantine(self, key: RecordKey, kind: RecordKind) -> None:
        value = self.values.pop((key, kind), None)
        if value is not None:
            self.in_quarantine.append((key, kind, value))

    async def quarantined(self, key: RecordKey) -> list[str]:
        return [
            f"memory, number {number}"
            for number, (bad, _, _) in enumerate(self.in_quarantine)
            if bad == key
        ]

    async def open_span(self, key: RecordKey, kind: RecordKind) -> FileSpan | None:
        return None

    async def bytes_free(self) -> int:
        return max(0, self._capacity_bytes - sum(map(len, self.values.values())))

    def _value(self, key: RecordKey, kind: RecordKind) -> bytes:
        value = self.values.get((key, kind))
        if value is None:
            raise FileNotFoundError(f"{key.digest} is not in memory")
        return value
