"""How a node looks after its records in the background: periods, rates and bounds."""

from __future__ import annotations

from msgspec import Struct


class CareSettings(Struct, frozen=True):
    """One part for each kind of background work."""
