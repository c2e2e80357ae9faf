"""The rhythm and the bounds of repair."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ring.limits import KIB, MIB

RECORD_COST_BYTES: Final = 16 * KIB  # a small record costs as much as so many bytes of a large one


class RepairSettings(Struct, frozen=True):
    """interval_s: between two comparisons with one peer.  settle_s: a difference that a comparison
    found is looked at again after this long: most are writes on their way.
    absent_s: a node that is silent for so long is made up for.  call_timeout_s: of one question.
    queue_max: records that wait to be looked at.  copies_at_once: pulled at the same time.
    retry_s, retry_max_s: first and longest wait of a record that could not be repaired.
    bytes_per_s: copied while clients are quiet; busy_bytes_per_s: while they are not.
    """

    interval_s: float = 10.0
    settle_s: float = 5.0
    absent_s: float = 900.0
    call_timeout_s: float = 10.0
    queue_max: int = 100_000
    copies_at_once: int = 8
    retry_s: float = 2.0
    retry_max_s: float = 300.0
    bytes_per_s: float = 256 * MIB
    busy_bytes_per_s: float = 32 * MIB
