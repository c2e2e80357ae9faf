"""When checkpoints are made: few and large ones write least, but memory and replays are bounded."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from node.index.indexed_table import PENDING_MIN
from node.record_row import pack_row
from node.recordlog.upkeep import UpkeepSettings
from ring.digest import Digest
from ring.record import RecordKey, RecordState, dead
from tests.fakes.damageable_page_store import DamageablePageStore
from tests.node.recordlog.load import BLOCK, TINY, open_store
from tests.sim.disk import SimDisk
from tests.sim.loop import run

NEVER = UpkeepSettings(interval_s=1e9, checkpoint_bytes=1 << 60, checkpoint_s=1e9)


async def new_store(upkeep: UpkeepSettings) -> DamageablePageStore:
    log = replace(TINY.log, segment_bytes=1 << 30)
    disk = SimDisk(Random(0), latency_s=0.0001)
    return await open_store(disk, 0, settings=replace(TINY, log=log, upkeep=upkeep))


async def bury(store: DamageablePageStore, first: int, count: int) -> None:
    row = pack_row(RecordState(root=dead(1)))
    keys = (RecordKey(Digest.of(b"%d" % number)) for number in range(first, first + count))
    await store.remember({key.raw: row for key in keys})


def test_a_full_table_is_brought_into_the_index_when_it_has_enough() -> None:
    async def main() -> None:
        rows_min = PENDING_MIN + 100
        store = await new_store(replace(NEVER, checkpoint_rows_min=rows_min))
        await bury(store, 0, rows_min - 1)
        assert store.table.is_full
        await store.upkeep.look()
        assert store.upkeep.checkpoints_total == 0
        await bury(store, rows_min, 1)
        await store.upkeep.look()
        assert (store.upkeep.checkpoints_total, store.table.pending) == (1, 0)
        await store.close()

    run(main())


def test_much_log_or_much_time_makes_a_checkpoint_of_few_rows() -> None:
    async def main() -> None:
        for settings in (
            replace(NEVER, checkpoint_bytes=3 * BLOCK),
            replace(NEVER, checkpoint_s=0.0),
        ):
            store = await new_store(settings)
            for number in range(3):
                await bury(store, number, 1)
            assert store.table.pending == 3
            await store.upkeep.look()
            assert (store.upkeep.checkpoints_total, store.table.pending) == (1, 0)
            await store.close()

    run(main())
