"""A change to a table of records, and its form on disk.

Absolute values, so that applying a change twice is applying it once: a snapshot may be taken while
changes go on, as long as all changes since its beginning are applied after it.

Format (integers little-endian): six counts of 4 bytes, then

    rows of 34-byte keys     key, row of 16 bytes (node/record_row.py)
    rows of 66-byte keys     likewise
    dropped 34-byte keys     key
    dropped 66-byte keys     key
    claims                   length of the key, length of the claimant, key, claimant
    floors                   partition in 2 bytes, generation in 8 bytes

Applied in the order drops, rows, claims, floors.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from node.record_row import ROW_BYTES
from ring.errors import Corrupt

_COUNTS: Final = struct.Struct("<6I")
_CLAIM: Final = struct.Struct("<BB")
_FLOOR: Final = struct.Struct("<HQ")
_KEY_BYTES: Final = (34, 66)
_ROWS: Final = tuple(struct.Struct(f"{size}s{ROW_BYTES}s") for size in _KEY_BYTES)


@dataclass(slots=True)
class RecordChange:
    """Rows and floors to set, keys to forget with their claims, claims to add.

    Keys are RecordKey.raw, claimants are Digest.key.
    """

    rows: dict[bytes, int] = field(default_factory=dict)
    dropped: list[bytes] = field(default_factory=list)
    claims: list[tuple[bytes, bytes]] = field(default_factory=list)
    floors: dict[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rows or self.dropped or self.claims or self.floors)

    @classmethod
    def all_of(cls, changes: Sequence[RecordChange]) -> RecordChange:
        """All changes in one; they must not touch the same keys, floors may only rise."""
        if len(changes) == 1:
            return changes[0]
        every = cls()
        rows, dropped, floors = every.rows, every.dropped, every.floors
        count = 0
        for change in changes:
            count += len(change.rows)
            rows.update(change.rows)
            dropped += change.dropped
            every.claims += change.claims
            for partition, generation in change.floors.items():
                floors[partition] = max(floors.get(partition, 0), generation)
        assert len(rows) == count, "two changes of one row"
        for change in changes:
            own = change.rows
            assert all(key in own or key not in rows for key in change.dropped), "dropped and set"
        return every

    def encode(self) -> bytes:
        """See the module."""
        rows: tuple[list[bytes], list[bytes]] = ([], [])
        for key, row in self.rows.items():
            rows[_KEY_BYTES.index(len(key))].append(key + row.to_bytes(ROW_BYTES, "little"))
        dropped = tuple([key for key in self.dropped if len(key) == size] for size in _KEY_BYTES)
        counts = (*map(len, rows), *map(len, dropped), len(self.claims), len(self.floors))
        claims = (_CLAIM.pack(len(key), len(who)) + key + who for key, who in self.claims)
        floors = (_FLOOR.pack(*floor) for floor in self.floors.items())
        columns = (*rows, *dropped, claims, floors)
        return _COUNTS.pack(*counts) + b"".join(b"".join(column) for column in columns)

    @classmethod
    def decode(cls, body: bytes) -> RecordChange:
        """Read `encode`; raises Corrupt when the lengths do not add up."""
        try:
            change, end = cls._decode(memoryview(body))
        except (struct.error, IndexError) as error:
            raise Corrupt(f"a change of {len(body)} bytes is broken: {error}") from error
        if end != len(body):
            raise Corrupt(f"a change of {len(body)} bytes ends at {end}")
        return change

    @classmethod
    def _decode(cls, body: memoryview) -> tuple[RecordChange, int]:
        counts = _COUNTS.unpack_from(body)
        at = _COUNTS.size
        change = cls()
        number = int.from_bytes
        for form, count in zip(_ROWS, counts[:2], strict=True):
            end = at + count * form.size
            pairs = form.iter_unpack(body[at:end])
            change.rows.update((key, number(row, "little")) for key, row in pairs)
            at = end
        for size, count in zip(_KEY_BYTES, counts[2:4], strict=True):
            end = at + count * size
            change.dropped += [bytes(body[key : key + size]) for key in range(at, end, size)]
            at = end
        for _ in range(counts[4]):
            key_bytes, claimant_bytes = _CLAIM.unpack_from(body, at)
            key_at = at + _CLAIM.size
            claimant_at = key_at + key_bytes
            at = claimant_at + claimant_bytes
            change.claims.append((bytes(body[key_at:claimant_at]), bytes(body[claimant_at:at])))
        for _ in range(counts[5]):
            partition, generation = _FLOOR.unpack_from(body, at)
            change.floors[partition] = generation
            at += _FLOOR.size
        return change, at
