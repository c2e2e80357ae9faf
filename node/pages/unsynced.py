"""Which frames a data sync still owes, and which one failed them.

Rules:
1.  A sync covers the writes that were over before it began (`mark`).
2.  When a sync fails, every frame written since the last good one is *suspect*, those too whose
    write was under way: a later sync may say yes although their bytes are lost.  A suspect is
    durable only after it was read back, found right, and written to another slot.

Not thread-safe.
"""

from __future__ import annotations


class Unsynced:
    """Slots by their fate.  failures: how many syncs failed so far."""

    def __init__(self) -> None:
        self.failures = 0
        self._count = 0
        self._done = 0
        self._owed: dict[int, tuple[int, bytes]] = {}
        self._suspect: dict[int, bytes] = {}

    @property
    def suspects(self) -> list[tuple[bytes, int]]:
        """Guid and slot of each suspect, oldest first."""
        return [(guid, slot) for slot, guid in self._suspect.items()]

    @property
    def is_owed(self) -> bool:
        """Whether a sync has something to do."""
        return self._count > self._done or bool(self._suspect)

    def written(self, guid: bytes, slot: int, failures_before: int) -> None:
        """A write is over; `failures_before` is what `failures` was when it began."""
        self._count += 1
        self._suspect.pop(slot, None)
        if failures_before == self.failures:
            self._owed[slot] = (self._count, guid)
        else:
            self._suspect[slot] = guid

    def cleared(self, slot: int) -> None:
        """This suspect's frame is not the newest of its guid any more."""
        self._suspect.pop(slot, None)

    def mark(self) -> int:
        """What a sync that begins now covers."""
        return self._count

    def synced(self, mark: int) -> None:
        """A sync that began at `mark` went well."""
        self._done = max(self._done, mark)
        self._owed = {slot: owed for slot, owed in self._owed.items() if owed[0] > mark}

    def failed(self) -> None:
        """A sync failed."""
        self.failures += 1
        self._suspect.update((slot, guid) for slot, (_, guid) in self._owed.items())
        self._owed = {}
