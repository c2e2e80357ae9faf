"""The records that a load writes, and how it opens the store.

An item is a number; its key and value follow from it.  Its state: root, whether a copy is here, and
a bit for each blob that claims it; NOTHING when the store knows nothing of it.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from node.file_store import FileRecordStore
from node.host import HostClock, HostRandomness
from node.index.index import IndexHome, OpenedIndex
from node.index.lmdb_index import LmdbHome
from node.local_store import LocalRecordStore
from node.posix_disk import PosixDisk
from node.recordlog.bulk_writer import BulkSizes
from node.recordlog.inspection import check
from node.recordlog.log_tail import LogSizes
from node.recordlog.page_store import PageRecordStore, PageSettings
from node.recordlog.upkeep import UpkeepSettings
from ring.digest import Algorithm, Digest
from ring.errors import HoldfastError
from ring.limits import KIB, MIB
from ring.record import RecordKey, RecordKind, live
from tests.powercut.history import NOTHING, State, Wrong

ITEMS: Final = 96
_SIZES: Final = (0, 5, 700, 3000, 9000, 66_000, 100, 1024, 150_000, 20_000, 4096, 300)
_BLOCK: Final = 4096
_LATE: Final = 1_000_000  # a generation above all that a load uses

# So small that a second of load fills, closes, compacts and removes segments of both kinds.
SETTINGS: Final = PageSettings(
    log=LogSizes(
        segment_bytes=48 * _BLOCK,
        step_bytes=4 * _BLOCK,
        step_bytes_max=16 * _BLOCK,
        reserve_bytes=16 * _BLOCK,
        batch_bytes=32 * KIB,
    ),
    bulk=BulkSizes(segment_bytes=120 * _BLOCK, step_bytes=40 * _BLOCK),
    upkeep=UpkeepSettings(
        interval_s=0.01,
        checkpoint_bytes=16 * _BLOCK,
        checkpoint_s=0.1,
        live_share_min=1.0,
        live_share_max=0.6,
        compaction_bytes_per_s=64.0 * MIB,
    ),
)
# For looking at what is there, without anything that goes on in the background.
CALM: Final = replace(SETTINGS, upkeep=replace(SETTINGS.upkeep, interval_s=60.0))
CLAIMANTS: Final = [Digest.of(b"claimant %d" % number) for number in range(4)]
_CLAIMANT_BITS: Final = {claimant: 1 << number for number, claimant in enumerate(CLAIMANTS)}


@lru_cache(maxsize=ITEMS)
def value_of(item: int) -> bytes:
    """Its bytes."""
    return (b"%d," % item * 75_000)[: _SIZES[item % len(_SIZES)] + item // len(_SIZES)]


@lru_cache(maxsize=ITEMS)
def key_of(item: int) -> RecordKey:
    """Its key."""
    return RecordKey(Digest.of(value_of(item), list(Algorithm)[item % len(Algorithm)]))


async def state_of(store: LocalRecordStore, item: int) -> State:
    """What the store says of an item; raises Wrong for wrong bytes."""
    key = key_of(item)
    state, value = await store.get(key)
    if (value is not None) != state.held:
        raise Wrong(f"item {item}: held is {state.held}, with a value: {value is not None}")
    if value is not None and bytes(value) != value_of(item):
        raise Wrong(f"item {item} ({key.digest}) came back with wrong bytes")
    claims = 0
    for claimant in (await store.claims(key, None, 100))[0]:
        claims |= _CLAIMANT_BITS[claimant]
    found = (state.root, int(state.held), claims)
    return found if any(found) else NOTHING


class WatchedHome:
    """An IndexHome that says why it gave an index up; given_up: one line each."""

    def __init__(self, home: IndexHome) -> None:
        self.given_up: list[str] = []
        self._home = home

    async def open(self) -> OpenedIndex:
        opened = await self._home.open()
        if opened.discarded is not None:
            self.given_up.append(opened.discarded)
        return opened

    async def discard(self) -> None:
        asked_by = traceback.extract_stack(limit=2)[0].name
        self.given_up.append(f"{asked_by} discards it")
        await self._home.discard()


class Opened(Struct):
    """An open store; given_up: why its index was made anew."""

    store: LocalRecordStore
    given_up: list[str]


@asynccontextmanager
async def opened_store(
    kind: str, root: str, settings: PageSettings = SETTINGS
) -> AsyncIterator[Opened]:
    """The store of this kind ("records" or "files") in the directory; raises HoldfastError."""
    disk = PosixDisk(root, threads=4)
    clock, randomness = HostClock(), HostRandomness()
    try:
        home = WatchedHome(LmdbHome(disk, root))
        store: LocalRecordStore
        if kind == "files":
            store = await FileRecordStore.open(
                disk, clock=clock, randomness=randomness, compact_bytes_min=8 * KIB
            )
        else:
            store = await PageRecordStore.open(
                disk, home, clock=clock, randomness=randomness, settings=settings
            )
        try:
            yield Opened(store, home.given_up)
        finally:
            await store.close()
    finally:
        await disk.close()


async def judge(
    store: LocalRecordStore, allowed: Mapping[int, frozenset[State]]
) -> dict[int, frozenset[State]]:
    """What every item is; raises Wrong unless that is what it may be, with the right bytes."""
    now: dict[int, frozenset[State]] = {}
    for item in range(ITEMS):
        may_be = allowed.get(item, frozenset({NOTHING}))
        found = await state_of(store, item)
        if found not in may_be:
            raise Wrong(f"item {item} is {found}, allowed {sorted(may_be)}")
        now[item] = frozenset({found})
    usage = store.usage()
    if (usage.quarantined_total, usage.lost_total) != (0, 0):
        raise Wrong(f"{usage.quarantined_total} bad copies, {usage.lost_total} missing ones")
    return now


async def put_again(store: LocalRecordStore) -> None:
    """Some puts, which must succeed on a healthy disk; raises Wrong."""
    for item in range(0, ITEMS, 7):
        value = value_of(item)
        await store.put_root(key_of(item), RecordKind.DATA, len(value), _LATE, value)
        if (await state_of(store, item))[:2] != (live(_LATE), 1):
            raise Wrong(f"item {item} was put and is not there")


async def inspect(root: str) -> None:
    """What `holdfast node check` says; raises Wrong when it finds anything."""
    disk = PosixDisk(root, threads=2)
    try:
        report = await check(disk, LmdbHome(disk, root), lambda _: None)
    except HoldfastError as error:
        raise Wrong(f"the check could not be done: {error!r}") from error
    finally:
        await disk.close()
    if report.findings:
        raise Wrong(f"the check found {report.findings[0]}")
