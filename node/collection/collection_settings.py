"""The rhythm and the bounds of collection.  No promise rests on any of these numbers."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ring.limits import MIB

DAY_S: Final = 86_400.0


class CollectionSettings(Struct, frozen=True):
    """grace_s: a chunk is left alone for so long after it was last put or verified; uploads end
    within half of it.  trash_s: how long deleted bytes wait in the trash, if there is room.
    interval_s, interval_max_s: between two looks through everything, when something moves and when
    nothing does.  records_per_s: how fast such a look goes.
    batch: records that are dealt with together.  call_timeout_s: of one question to a node.
    free_bytes_min: when less room is left, the oldest trash goes before its time; room_interval_s:
    how often that is looked at.
    alive_memory_s: a blob that was seen alive is not asked about again for so long.
    collected_memory_s: how long repair does not fetch back what was collected.
    hints_max: records that other nodes named and that wait to be looked at.
    """

    grace_s: float = DAY_S
    trash_s: float = DAY_S
    interval_s: float = 60.0
    interval_max_s: float = 600.0
    records_per_s: float = 100_000.0
    batch: int = 1_024
    call_timeout_s: float = 10.0
    free_bytes_min: int = 256 * MIB
    room_interval_s: float = 5.0
    alive_memory_s: float = 3_600.0
    collected_memory_s: float = 900.0
    hints_max: int = 16_384
