"""Peers that this comparison names and does not measure, each with the reason in words.

An adapter is written when it can be run and checked: an unchecked one would measure something and
call it a peer.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.peers.door import Skipped


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A peer without an adapter. binary: its program's name. wanting: what the adapter would need
    and why nobody has checked one.
    """

    key: str
    name: str
    binary: str
    wanting: str


UNMEASURED: Final = (
    Unmeasured(
        "garage", "Garage", "garage",
        "S3 with signed requests only, so every put of a load has to be signed beforehand; its "
        "crate did not build in the time there was",
    ),
)


def skip(peer: Unmeasured, find: Callable[[str], str | None] = shutil.which) -> Skipped:
    """Why this peer is not measured: its binary is not there, or nobody has checked an adapter."""
    place = find(peer.binary)
    if place is None:
        why = f"no `{peer.binary}` on PATH, and no adapter that was ever checked ({peer.wanting})"
    else:
        why = f"{place} is there, but no adapter that was ever checked ({peer.wanting})"
    return Skipped(peer.key, peer.name, why)
