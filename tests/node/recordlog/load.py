"""A load on a page record store that knows at every moment what the store has promised.

Each record is worked on by one writer at a time, so what it may be is what was acknowledged last or
what is being asked for; of what failed, either for ever after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from random import Random

from node.index.location import Location
from node.record_change import RecordChange
from node.record_row import pack_row
from node.recordlog.bulk_writer import BulkSizes
from node.recordlog.log_tail import LogSizes
from node.recordlog.page_store import PageSettings
from node.recordlog.upkeep import UpkeepSettings
from ring.digest import Algorithm, Digest
from ring.errors import HoldfastError
from ring.limits import KIB
from ring.record import NO_ROOT, RecordKey, RecordKind, Root, dead, generation_of, is_live, live
from ring.seams import Disk
from tests.fakes.damageable_page_store import DamageablePageStore
from tests.fakes.file_index import FileIndexHome
from tests.fakes.manual_clock import ManualClock
from tests.sim.host import SimRandomness

DATA = RecordKind.DATA
BLOCK = 4096

# So small that a short run fills, closes, compacts and removes segments of both kinds.
TINY = PageSettings(
    log=LogSizes(
        segment_bytes=24 * BLOCK,
        step_bytes=4 * BLOCK,
        step_bytes_max=8 * BLOCK,
        reserve_bytes=12 * BLOCK,
        batch_bytes=8 * KIB,
    ),
    bulk=BulkSizes(segment_bytes=60 * BLOCK, step_bytes=20 * BLOCK),
    upkeep=UpkeepSettings(
        interval_s=0.01,
        checkpoint_bytes=10 * BLOCK,
        checkpoint_s=0.1,
        live_share_min=1.0,
        live_share_max=0.6,
        compaction_bytes_per_s=64.0 * 1024 * KIB,
    ),
)

SIZES = (0, 5, 700, 3000, 9000, 66_000, 70_000, 100)
VALUES = [(b"%d," % number * 40_000)[:size] for number, size in enumerate(SIZES * 3)]
KEYS = [
    RecordKey(Digest.of(value, list(Algorithm)[number % 3])) for number, value in enumerate(VALUES)
]
VALUE_OF = dict(zip(KEYS, VALUES, strict=True))
CLAIMANTS = [Digest.of(b"blob %d" % number) for number in range(4)]



@dataclass(frozen=True, slots=True)
class Essence:
    """What matters of a record: root, whether its value is here, who claims it."""

    root: Root = NO_ROOT
    held: bool = False
    claims: frozenset[Digest] = frozenset()


@dataclass(slots=True)
class Promise:
    """What each record may be, and the floor that was promised."""

    records: dict[RecordKey, frozenset[Essence]] = field(default_factory=dict)
    floor: int = 0
    had_state: bool = False

    def copy(self) -> Promise:
        return Promise(dict(self.records), self.floor, self.had_state)


async def open_store(
    disk: Disk, seed: int, *, broken: str | None = None, settings: PageSettings = TINY
) -> DamageablePageStore:
    """broken: have the index thrown away first."""
    return await DamageablePageStore.open(
        disk,
        FileIndexHome(disk, broken=broken),
        clock=ManualClock(),
        randomness=SimRandomness(Random(seed)),
        settings=settings,
    )


class Load:
    """Writers, each with its own records.

    promise: see there.  refusals: operations that failed.  reads_fail: a copy that cannot be read
    may go into quarantine.
    """

    def __init__(self, rng: Random, writers: int = 3, *, reads_fail: bool = False) -> None:
        self._reads_fail = reads_fail
        self._unsure: dict[RecordKey, frozenset[Essence]] = {}  # since something failed
        self.promise = Promise(dict.fromkeys(VALUE_OF, frozenset({Essence()})))
        self.refusals = 0
        self._rng = rng
        keys = list(VALUE_OF)
        self._shares = [keys[number::writers] for number in range(writers)]

    async def work(self, store: DamageablePageStore, operations: int) -> None:
        """Have every writer do that many operations."""
        self.promise.had_state = True
        rngs = [Random(self._rng.randrange(1 << 30)) for _ in self._shares]
        await asyncio.gather(
            *(
                self._write(store, keys, rng, operations)
                for keys, rng in zip(self._shares, rngs, strict=True)
            )
        )

    async def witness(self, store: DamageablePageStore) -> None:
        """What the store says now is a promise too: others may act on it."""
        for key, state in zip(VALUE_OF, await store.stat(list(VALUE_OF)), strict=True):
            now = Essence(state.root, state.held, await claims_of(store, key))
            self.promise.records[key] = frozenset({now})
        self._unsure.clear()

    async def _write(
        self, store: DamageablePageStore, keys: list[RecordKey], rng: Random, operations: int
    ) -> None:
        for _ in range(operations):
            key = rng.choice(keys)
            try:
                await self._operate(store, key, rng)
            except HoldfastError:
                self.refusals += 1
                self._unsure[key] = self.promise.records[key]
                await asyncio.sleep(0.01)

    async def _operate(self, store: DamageablePageStore, key: RecordKey, rng: Random) -> None:
        value, draw = VALUE_OF[key], rng.random()
        state = (await store.stat([key]))[0]
        now = Essence(state.root, state.held, await claims_of(store, key))
        assert now in self.promise.records[key], (key, now, self.promise.records[key])
        generation = generation_of(now.root)
        if draw < 0.45:
            if not is_live(now.root):
                generation = max(generation, store.table.floor(key.digest.partition)) + 1
            self._may_become(key, now, Essence(live(generation), True, now.claims))
            answer = await store.put_root(key, DATA, len(value), generation, value)
            assert answer.root == live(generation)
        elif draw < 0.65:
            root = max(now.root, dead(generation))
            keeps = now.held and (bool(now.claims) or is_live(root))
            self._may_become(key, now, Essence(root, keeps, now.claims))
            await store.bury(key, generation)
        elif draw < 0.75:
            self._may_become(key, now, Essence())
            await store.drop(key)
        elif draw < 0.9:
            claimant = rng.choice(CLAIMANTS)
            self._may_become(key, now, Essence(now.root, True, now.claims | {claimant}))
            await store.put_chunk(key, claimant, value)
        elif draw < 0.97:
            await store.verify(key)
            self._may_become(key, now, now)
        else:
            await store.raise_floor(7, store.table.floor(7) + 1)
            self.promise.floor = max(self.promise.floor, store.table.floor(7))
            self._may_become(key, now, now)
        last = self.promise.records[key]
        state = (await store.stat([key]))[0]
        after = Essence(state.root, state.held, await claims_of(store, key))
        assert after in last, (key, after, last)
        if after != now:  # so the log went on, and what failed before can come no more
            self._unsure.pop(key, None)
        self.promise.records[key] = frozenset({after}) | self._unsure.get(key, frozenset())

    def _may_become(self, key: RecordKey, now: Essence, after: Essence) -> None:
        if self._reads_fail:
            lost = Essence(now.root, False, now.claims)
            self.promise.records[key] = self.promise.records[key] | {lost}
        self.promise.records[key] = self.promise.records[key] | {now, after}


async def claims_of(store: DamageablePageStore, key: RecordKey) -> frozenset[Digest]:
    return frozenset((await store.claims(key, None, 100))[0])


async def judge(
    store: DamageablePageStore, promise: Promise, *, reads_failed: bool = False
) -> None:
    """Raise unless the store keeps the promise and has nothing but right copies."""
    assert store.table.floor(7) >= promise.floor
    for key, allowed in promise.records.items():
        state, value = await store.get(key)
        now = Essence(state.root, state.held, await claims_of(store, key))
        assert now in allowed, (key, now, allowed)
        assert (value is not None) == state.held
        assert value is None or bytes(value) == VALUE_OF[key], key
    usage = store.usage()
    assert reads_failed or (usage.quarantined_total, usage.lost_total) == (0, 0)


async def everything(
    store: DamageablePageStore,
) -> tuple[RecordChange, dict[bytes, Location | None], dict[int, int]]:
    """All that the table says, with where values lie."""
    whole = RecordChange(floors=store.table.floors())
    places: dict[bytes, Location | None] = {}
    entries, done = await store.page(None, 10_000, roots_only=False)
    assert done
    for entry in entries:
        raw = entry.key.raw
        whole.rows[raw] = pack_row(store.table.state(raw))
        places[raw] = store.table.location(raw)
        claimants, _ = store.table.claimants(raw, None, 1000)
        whole.claims += [(raw, claimant.key) for claimant in claimants]
    return whole, places, dict(sorted(store.table.live_bytes.items()))


async def everything_unread(
    store: DamageablePageStore,
) -> tuple[RecordChange, dict[bytes, Location | None], dict[int, int]]:
    """The same, and the table has forgotten that it was asked: what it says next it reads."""
    await store.raise_floor(9, store.table.floor(9) + 1)
    found = await everything(store)
    await store.upkeep.checkpoint()
    return found


def values_put_again(store: DamageablePageStore) -> Iterator[Awaitable[object]]:
    """Puts that must succeed on a healthy disk, whatever happened before."""
    for key, value in VALUE_OF.items():
        yield store.put_root(key, DATA, len(value), 1000, value)
