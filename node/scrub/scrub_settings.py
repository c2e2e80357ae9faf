"""The rhythm and the bounds of the scrub."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ring.limits import KIB, MIB

WEEK_S: Final = 7 * 86_400.0


class ScrubSettings(Struct, frozen=True):
    """period_s: every copy is read again within it.
    quiet_share, busy_share: what part of the period one lap takes while clients are quiet, and
    while they are not.  fresh_share: a copy that was hashed so recently is left for the next lap.
    batch, batch_bytes: copies that are read together, so that their rows are one commit.
    bytes_per_s_min: never slower than that.  idle_s: how often to look when nothing is due.
    bytes_per_s, busy_bytes_per_s: of a lap that somebody asked for.
    retry_s: a copy that could not be read is tried again so often.  tries, give_up_s: after so many
    tries over so long it is given up, if others can be read.  witnesses: how many others.
    call_timeout_s: of one question to a peer.
    """

    period_s: float = WEEK_S
    quiet_share: float = 0.5
    busy_share: float = 0.85
    fresh_share: float = 0.05
    batch: int = 64
    batch_bytes: int = 4 * MIB
    bytes_per_s_min: float = 16 * KIB
    idle_s: float = 60.0
    bytes_per_s: float = 128 * MIB
    busy_bytes_per_s: float = 16 * MIB
    retry_s: float = 30.0
    tries: int = 3
    give_up_s: float = 60.0
    witnesses: int = 4
    call_timeout_s: float = 30.0
