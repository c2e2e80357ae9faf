"""How a node looks after its records in the background: periods, rates and bounds."""

from __future__ import annotations

from msgspec import Struct

from node.collection.collection_settings import CollectionSettings
from node.repair.repair_settings import RepairSettings
from node.scrub.scrub_settings import ScrubSettings


class CareSettings(Struct, frozen=True):
    """One part for each kind of background work."""

    repair: RepairSettings = RepairSettings()
    collection: CollectionSettings = CollectionSettings()
    scrub: ScrubSettings = ScrubSettings()
