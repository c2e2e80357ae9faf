"""A row that rots in the file of a running store's index: refused, remembered, made anew."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from node.index.index_keys import row_key
from node.index.lmdb_index import LmdbHome
from node.local_store import LocalRecordStore
from node.posix_disk import PosixDisk
from node.store_holder import StoreHolder
from ring.digest import Digest
from ring.errors import Corrupt
from ring.record import RecordKey, RecordKind
from tests.fakes.damageable_page_store import SMALL_PAGES, DamageablePageStore
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.fakes.manual_clock import ManualClock
from tests.node.recordlog.load import everything, everything_unread
from tests.sim.host import SimRandomness

SEAL_AT = 16 + 16 + 8  # of a row whose value has a place: its last byte comes before this
VALUES = [b"%d," % number * 300 for number in range(300)]
KEYS = [RecordKey(Digest.of(value)) for value in VALUES]
PATIENCE_S = 30.0


def damage_row(index: Path, key: RecordKey) -> None:
    """Flip a bit of the row's seal, wherever it stands in the file."""
    content = (index / "data.mdb").read_bytes()
    full_key = row_key(key.raw)
    at = content.find(full_key)
    assert at >= 0
    with (index / "data.mdb").open("r+b") as file:
        while at >= 0:
            seal = at + len(full_key) + SEAL_AT - 1
            file.seek(seal)
            file.write(bytes((content[seal] ^ 1,)))
            at = content.find(full_key, at + 1)


@asynccontextmanager
async def opened(root: Path) -> AsyncIterator[DamageablePageStore]:
    """The store in a directory."""
    disk = PosixDisk(str(root), threads=2)
    store = await on(disk, root)
    try:
        yield store
    finally:
        await store.close()
        await disk.close()


async def on(disk: PosixDisk, root: Path) -> DamageablePageStore:
    return await DamageablePageStore.open(
        disk,
        LmdbHome(disk, str(root)),
        clock=ManualClock(),
        randomness=SimRandomness(Random(1)),
        settings=SMALL_PAGES,
    )


async def fill(store: DamageablePageStore) -> None:
    """Values, a tombstone, and all of it in the index."""
    for key, value in zip(KEYS, VALUES, strict=True):
        await store.put_root(key, RecordKind.DATA, len(value), 1, value)
    await store.bury(KEYS[-1], 1)
    await store.upkeep.checkpoint()


async def for_ever(_: LocalRecordStore) -> None:
    await asyncio.Event().wait()


async def test_a_running_store_mends_its_index(tmp_path: Path) -> None:
    disk = PosixDisk(str(tmp_path), threads=2)
    stores: list[DamageablePageStore] = []

    async def open_store() -> LocalRecordStore:
        stores.append(await on(disk, tmp_path))
        return stores[-1]

    holder = StoreHolder(open_store)
    await holder.open()
    await fill(stores[0])
    before = await everything_unread(stores[0])
    running = asyncio.get_running_loop().create_task(holder.run(for_ever))
    damage_row(tmp_path / "index", KEYS[7])

    with pytest.raises(Corrupt):
        await stores[0].get(KEYS[7])
    async with asyncio.timeout(PATIENCE_S):
        while not holder.mended_total:
            await asyncio.sleep(0.001)

    assert await everything(stores[1]) == before
    assert (await stores[1].get(KEYS[7]))[1] == VALUES[7]
    assert (tmp_path / "index" / "discarded.mdb").exists()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await holder.close()
    await disk.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20, 100, 400])
async def test_a_node_may_be_stopped_at_any_moment_of_the_mending(
    tmp_path: Path, turns: int
) -> None:
    disk = PosixDisk(str(tmp_path), threads=2)
    holder = StoreHolder(lambda: on(disk, tmp_path))
    await holder.open()
    store = holder.store
    assert isinstance(store, DamageablePageStore)
    await fill(store)
    before = await everything_unread(store)
    running = asyncio.get_running_loop().create_task(holder.run(for_ever))
    damage_row(tmp_path / "index", KEYS[7])
    with pytest.raises(Corrupt):
        await store.get(KEYS[7])

    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await holder.close()

    again = await on(disk, tmp_path)
    assert await everything(again) == before
    assert await again.table.verify() is None
    await again.close()
    await disk.close()


async def test_what_a_process_found_is_known_to_the_one_after_its_death(tmp_path: Path) -> None:
    async with opened(tmp_path / "node") as store:
        await fill(store)
        before = await everything_unread(store)
        damage_row(tmp_path / "node" / "index", KEYS[7])
        with pytest.raises(Corrupt):
            await store.get(KEYS[7])
        shutil.copytree(tmp_path / "node", tmp_path / "left")  # what a killed process leaves

    for name in ("left", "node"):
        async with opened(tmp_path / name) as store:
            assert await everything(store) == before
            assert store.table.damage is None
        assert (tmp_path / name / "index" / "discarded.mdb").exists()
        os.unlink(tmp_path / name / "index" / "discarded.mdb")
        async with opened(tmp_path / name) as store:  # it is not made anew for ever
            assert await store.table.verify() is None
        assert not (tmp_path / name / "index" / "discarded.mdb").exists()


@pytest.mark.parametrize("room_bytes", [0, 1 << 30])
async def test_a_discarded_index_is_kept_where_there_is_room_for_both(
    tmp_path: Path, room_bytes: int
) -> None:
    async with opened(tmp_path) as store:
        await fill(store)
    disk = PosixDisk(str(tmp_path), threads=2)

    await LmdbHome(FaultyDisk(disk, Trouble(room_bytes=room_bytes)), str(tmp_path)).discard()

    left = sorted(path.name for path in (tmp_path / "index").iterdir())
    assert left == (["discarded.mdb", "guard"] if room_bytes else ["guard"])
    await disk.close()
