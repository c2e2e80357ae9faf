"""A record's state as one integer: what a table of a million records keeps for each.

128 bits, least significant first; the same bits stand on disk (16 bytes, little-endian):

    2   kind; 3 is a settled tombstone, which has no value and no claims
    1   held
    1   claimed
    40  size in bytes
    34  second of the last verification; of the burial where the root is dead and nobody claims it
    50  root

An integer of this size takes 48 bytes in memory, a RecordState with its numbers about 150.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from node.value_check import value_bytes
from ring.limits import BLOB_BYTES_MAX, GENERATION_MAX
from ring.record import RecordKind, RecordState, Root, dead

ROW_BYTES: Final = 16

_SIZE_BITS: Final = 40
_VERIFIED_BITS: Final = 34
_ROOT_BITS: Final = 50
_SIZE_AT: Final = 4
_VERIFIED_AT: Final = _SIZE_AT + _SIZE_BITS
_ROOT_AT: Final = _VERIFIED_AT + _VERIFIED_BITS
_DATA: Final = int(RecordKind.DATA)
_SETTLED: Final = 3
_HELD: Final = 1 << 2
_CLAIMED: Final = 1 << 3
_SIZE_MAX: Final = (1 << _SIZE_BITS) - 1
_VERIFIED_MAX: Final = (1 << _VERIFIED_BITS) - 1

assert _ROOT_AT + _ROOT_BITS == 8 * ROW_BYTES
assert BLOB_BYTES_MAX < 1 << _SIZE_BITS
assert dead(GENERATION_MAX) < 1 << _ROOT_BITS
assert max(RecordKind) < _SETTLED


def pack_row(state: RecordState) -> int:
    """The state as an integer; its size and root must be within the limits of the format."""
    assert 0 <= state.size_bytes <= BLOB_BYTES_MAX, state
    assert 0 <= state.root <= dead(GENERATION_MAX), state
    assert not state.settled or state.is_tombstone, state
    return (
        (_SETTLED if state.settled else state.kind)
        | (_HELD if state.held else 0)
        | (_CLAIMED if state.claimed else 0)
        | state.size_bytes << _SIZE_AT
        | max(0, min(state.verified_at_s, _VERIFIED_MAX)) << _VERIFIED_AT
        | state.root << _ROOT_AT
    )


@lru_cache(maxsize=4096)
def unpack_row(row: int) -> RecordState:
    """The state behind an integer; cached because records read over and over are few."""
    is_settled = row & 3 == _SETTLED
    return RecordState(
        kind=RecordKind.NONE if is_settled else RecordKind(row & 3),
        size_bytes=row >> _SIZE_AT & _SIZE_MAX,
        root=Root(row >> _ROOT_AT),
        held=bool(row & _HELD),
        claimed=bool(row & _CLAIMED),
        verified_at_s=row >> _VERIFIED_AT & _VERIFIED_MAX,
        settled=is_settled,
    )


def kind_of(row: int) -> int:
    """The number of the RecordKind, 3 for a settled tombstone; quicker than the state."""
    return row & 3


def bytes_held(row: int) -> int | None:
    """Length of the value that is here, None when none is; quicker than the state."""
    if not row & _HELD:
        return None
    if row & 3 == _DATA:
        return row >> _SIZE_AT & _SIZE_MAX
    return value_bytes(RecordKind(row & 3), row >> _SIZE_AT & _SIZE_MAX)
