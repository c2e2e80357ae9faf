"""Everything a store remembers of its records, in memory: states, claims, floors, order, counts.

A machine without I/O.  It says what is durable: a store applies a change when it is on disk and not
before, so whatever is read here may be answered.

Memory: about 180 bytes for a record with a 32-byte digest, 120 more for a claimed chunk.
"""

from __future__ import annotations

from collections.abc import Iterator

from node.fact_sums import FactSums
from node.record_change import RecordChange
from node.record_claims import RecordClaims
from node.record_order import RecordOrder
from node.record_row import bytes_held, kind_of, unpack_row
from ring.digest import Digest
from ring.record import ABSENT, RecordKind, RecordState


class RecordTable:
    """Records by RecordKey.raw.

    records: rows, tombstones included.  held: rows whose value is here.  bytes_stored: of those
    values.  sums: what peers compare.
    """

    def __init__(self, sums: FactSums | None = None) -> None:
        self.sums = sums or FactSums()
        self.records = 0
        self.held = 0
        self.bytes_stored = 0
        self.order = RecordOrder()
        self._rows: dict[bytes, int] = {}
        self._claims = RecordClaims()
        self._floors: dict[int, int] = {}

    def state(self, key: bytes) -> RecordState:
        """The record's state, `ABSENT` when nothing is remembered."""
        row = self._rows.get(key)
        return ABSENT if row is None else unpack_row(row)

    glance = state

    def value_bytes(self, key: bytes, kind: RecordKind) -> int | None:
        """Length of the value that is here, None when none of this kind is; quicker than states."""
        row = self._rows.get(key)
        return None if row is None or kind_of(row) != kind else bytes_held(row)

    def floor(self, partition: int) -> int:
        """The highest generation ever purged there."""
        return self._floors.get(partition, 0)

    def floors(self) -> dict[int, int]:
        """Floors above 0 by partition, in order."""
        return dict(sorted(self._floors.items()))

    def is_claimed_by(self, key: bytes, claimant: Digest) -> bool:
        """Whether the claim is a row here."""
        return self._claims.has(key, claimant.key)

    def claimants(
        self, key: bytes, after: Digest | None, limit: int
    ) -> tuple[list[Digest], bool]:
        """At most `limit` claimants in order, and whether that was all."""
        start = None if after is None else after.key
        found = self._claims.after(key, start, limit + 1)
        return [Digest.from_key(claimant) for claimant in found[:limit]], len(found) <= limit

    def apply(self, change: RecordChange) -> None:
        """Make the change."""
        for key in change.dropped:
            self._drop(key)
        self._set_all(change.rows)
        for key, claimant in change.claims:
            if self._claims.add(key, claimant):
                self.sums.claim_added(key, claimant)
        for partition, generation in change.floors.items():
            self._floors[partition] = max(generation, self.floor(partition))

    def slices(self, most: int) -> Iterator[RecordChange]:
        """All that is remembered, as changes of about `most` rows each.

        The table may change between two slices: what changed after the first may be in or not.
        """
        yield RecordChange(floors=self.floors())
        after: bytes | None = None
        while keys := self.order.after(after, most):
            rows = {key: self._rows[key] for key in keys}
            claims = [claim for key in keys for claim in self._claims.rows(key)]
            yield RecordChange(rows=rows, claims=claims)
            after = keys[-1]

    def _set_all(self, rows: dict[bytes, int]) -> None:
        known, sums = self._rows, self.sums
        for key, row in rows.items():
            before = known.get(key)
            sums.record_changed(key, before, row)
            if before is None:
                self.records += 1
                self.order.add(key)
            else:
                self._uncount(before)
            known[key] = row
            size_bytes = bytes_held(row)
            if size_bytes is not None:
                self.held += 1
                self.bytes_stored += size_bytes

    def _drop(self, key: bytes) -> None:
        row = self._rows.pop(key, None)
        self.sums.record_changed(key, row, None)
        for chunk, claimant in self._claims.rows(key):
            self.sums.claim_dropped(chunk, claimant)
        self._claims.drop(key)
        if row is not None:
            self.records -= 1
            self.order.remove(key)
            self._uncount(row)

    def _uncount(self, row: int) -> None:
        size_bytes = bytes_held(row)
        if size_bytes is not None:
            self.held -= 1
            self.bytes_stored -= size_bytes
