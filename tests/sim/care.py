"""How simulated nodes look after their records: often enough for a run of minutes."""

from __future__ import annotations

from node.care_settings import CareSettings
from node.collection.collection_settings import CollectionSettings
from node.repair.repair_settings import RepairSettings
from node.scrub.scrub_settings import ScrubSettings
from tests.sim.options import Options


def care_settings(options: Options) -> CareSettings:
    """Of every node of a world."""
    return CareSettings(
        repair=RepairSettings(
            interval_s=options.repair_s,
            settle_s=options.repair_s / 4,
            absent_s=options.absent_s,
            call_timeout_s=2.0,
            retry_s=0.5,
            retry_max_s=8.0,
        ),
        collection=CollectionSettings(
            grace_s=options.grace_s,
            trash_s=options.trash_s,
            interval_s=1.0,
            interval_max_s=2.0,
            call_timeout_s=2.0,
            free_bytes_min=0,
            alive_memory_s=5.0,
            collected_memory_s=10.0,
        ),
        scrub=ScrubSettings(
            period_s=options.scrub_s,
            idle_s=1.0,
            retry_s=1.0,
            give_up_s=4.0,
            call_timeout_s=2.0,
        ),
    )
