"""What the keepers of a record must agree on, as numbers that add up.

A *fact* is a keyed hash of one thing that two nodes must both know: a record in its state, or a
claim on a chunk.  A set of facts is compared by its sum modulo 2^256, which changes with every
record at the cost of a hash and an addition, in whatever order.  (Set hashing by addition:
Bellare and Micciancio, 1997; the key keeps clients from building sets that collide.)

Rules:
1.  Left out is what nobody needs to have: settled tombstones, unfinished uploads (chunks without a
    claim), trash (the bytes of a buried record that no recipe claims), when a copy was verified.
2.  A record that must have its bytes and does not has another fact than one that has them.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from msgspec import Struct

from ring.record import NO_ROOT, RecordState, is_live

FINGERPRINT_BYTES: Final = 16
EMPTY_FINGERPRINT: Final = bytes(FINGERPRINT_BYTES)
SHORT_FACT_BYTES: Final = 8

_FACT_BYTES: Final = 32
_MASK: Final = (1 << 8 * _FACT_BYTES) - 1  # of the remainder modulo 2^256
_RECORD: Final = struct.Struct("<cQBQ")


class FactSum(Struct):
    """A set of facts.  count: how many they are; total: their sum modulo 2^256."""

    count: int = 0
    total: int = 0

    def add(self, fact: int, sign: int = 1) -> None:
        """Bring a fact into the set, or take it out."""
        self.count += sign
        self.total = (self.total + sign * fact) & _MASK

    def add_all(self, other: FactSum) -> None:
        """Bring another set in."""
        self.count += other.count
        self.total = (self.total + other.total) & _MASK

    @property
    def fingerprint(self) -> bytes:
        """FINGERPRINT_BYTES that are equal for equal sets; zeros for the empty one."""
        if not self.count and not self.total:
            return EMPTY_FINGERPRINT
        total = self.total.to_bytes(_FACT_BYTES, "little")
        return hashlib.blake2b(total, digest_size=FINGERPRINT_BYTES).digest()


def needs_value(state: RecordState) -> bool:
    """Whether the bytes of the record must be kept: GET may show them, or a recipe names them."""
    return is_live(state.root) or state.claimed


class Facts:
    """Makes the facts of one cluster.

    cluster_id: part of the key, so that sums of two clusters never agree.
    """

    __slots__ = ("_key",)

    def __init__(self, cluster_id: str) -> None:
        self._key = hashlib.blake2b(cluster_id.encode(), digest_size=32, person=b"facts").digest()

    def of_record(self, key: bytes, state: RecordState) -> int | None:
        """The fact of a record (RecordKey.raw), None when there is nothing to agree on."""
        is_needed = needs_value(state)
        if not is_needed and (state.root == NO_ROOT or state.settled):
            return None
        content = size_bytes = 0
        if state.held and is_needed:
            content, size_bytes = 1 + state.kind, state.size_bytes
        return self._hash(_RECORD.pack(b"r", state.root, content, size_bytes) + key)

    def of_claim(self, key: bytes, claimant: bytes) -> int:
        """The fact of a claim: RecordKey.raw of the chunk, Digest.key of the blob."""
        return self._hash(b"c" + key + claimant)

    def _hash(self, what: bytes) -> int:
        digest = hashlib.blake2b(what, key=self._key, digest_size=_FACT_BYTES).digest()
        return int.from_bytes(digest, "little")


def short(fact: int) -> int:
    """A fact as it stands in a list: what is not found by it is found by the next comparison."""
    return fact & ((1 << 8 * SHORT_FACT_BYTES - 1) - 1)
