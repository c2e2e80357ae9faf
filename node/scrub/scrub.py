"""Reads every copy again within a period, so that what rots is found while there are good copies.

Rules:
1.  Partitions take turns, the one whose copies were hashed longest ago first.  When a copy was last
    hashed stands in its row, so a restart goes on where the process before it was.
2.  The pace follows from what is stored and the period; it yields to clients, and copies are read a
    few at a time, so that remembering it costs one commit for all of them.
3.  A bad copy is put aside by the store, which tells repair.  One that cannot be read is tried
    again, and given up only by the rules of unreadable.py and while a peer has a good one.
4.  The first keeper of a large blob hashes it as a whole, once in each lap (blob_check.py).
5.  A lap that is asked for reads everything, however fresh, and does not disturb the usual one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from node.incidents import Incidents
from node.local_store import LocalRecordStore
from node.membership import SILENT_S, Membership
from node.repair.pace import Pace
from node.repair.peers import Peers
from node.repair.repair_settings import RECORD_COST_BYTES
from node.scrub.blob_check import BlobCheck, BlobVerdict
from node.scrub.scrub_settings import ScrubSettings
from node.scrub.unreadable import Suspect, Unreadable
from node.value_check import value_bytes
from ring.errors import HoldfastError, StorageFault
from ring.facts import needs_value
from ring.keepers import keepers
from ring.messages import CopyVerdict
from ring.operating import IncidentKind
from ring.record import RecordKey, RecordKind, RecordState
from ring.seams import Clock, Transport

WRONG_RECIPES_MAX: Final = 100
_FOUND_BY: Final = "found by the scrub"

log = structlog.get_logger()


class EvenRates:
    """The pace of the usual lap, made anew for each partition; see Rates."""

    def __init__(self) -> None:
        self.bytes_per_s = 1.0
        self.busy_bytes_per_s = 1.0


class Scrub:
    """laps_asked, laps_done: of those that somebody asked for.  left: partitions, copies and bytes
    that the one under way has still to read.  wrong_recipes: blobs by key, in words.
    """

    def __init__(
        self,
        *,
        membership: Membership,
        store: LocalRecordStore,
        transport: Transport,
        clock: Clock,
        settings: ScrubSettings,
        counters: Counter[str],
        served: Callable[[], int],
        incidents: Incidents,
    ) -> None:
        self.laps_asked = 0
        self.laps_done = 0
        self.left = (0, 0, 0)
        self.wrong_recipes: dict[RecordKey, str] = {}
        self.unreadable = Unreadable(
            retry_s=settings.retry_s, tries=settings.tries, give_up_s=settings.give_up_s
        )
        self._membership = membership
        self._store = store
        self._clock = clock
        self._settings = settings
        self._counters = counters
        self._served = served
        self._incidents = incidents
        self._peers = Peers(membership, transport, settings.call_timeout_s)
        self._blobs = BlobCheck(membership, store, self._peers, counters)
        self._visited: dict[int, int] = {}  # wall-clock second of this process's last visit
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._scrub_for_ever())
            group.create_task(self._scrub_when_asked())
            group.create_task(self._try_again_for_ever())

    def start_now(self) -> int:
        """Read everything soon; the lap which does, by its number."""
        self.laps_asked += 1
        self._wanted.set()
        return self.laps_asked

    # --- laps -------------------------------------------------------------------------------------

    async def _scrub_for_ever(self) -> None:
        rates = EvenRates()
        pace = Pace(rates, self._served)
        await asyncio.sleep(self._settings.idle_s)  # a start has better things to do
        while True:
            partition = await self._most_due()
            if partition is None:
                await asyncio.sleep(self._settings.idle_s)
                continue
            self._set_rates(rates)
            fresh_s = self._settings.period_s * self._settings.fresh_share
            await self._visit(partition, pace, self._now_s() - fresh_s)

    async def _scrub_when_asked(self) -> None:
        pace = Pace(self._settings, self._served)
        while True:
            if self.laps_done == self.laps_asked:
                self._wanted.clear()
                await self._wanted.wait()
            lap = self.laps_asked
            await self._lap(pace)
            self.laps_done = lap

    async def _lap(self, pace: Pace) -> None:
        """Every copy that is here now."""
        waiting = [(p, one.held, one.held_bytes) for p, one in await self._store.facts.kept()]
        copies, size_bytes = sum(one[1] for one in waiting), sum(one[2] for one in waiting)
        for number, (partition, held, held_bytes) in enumerate(waiting):
            self.left = (len(waiting) - number, copies, size_bytes)
            await self._visit(partition, pace, None)
            copies, size_bytes = copies - held, size_bytes - held_bytes
        self.left = (0, 0, 0)

    def _set_rates(self, rates: EvenRates) -> None:
        """Rule 2; large blobs are read once more, by one of their keepers."""
        usage, settings = self._store.usage(), self._settings
        cost_bytes = 2 * usage.bytes_stored + usage.held * RECORD_COST_BYTES
        least = settings.bytes_per_s_min
        period_s = settings.period_s
        rates.bytes_per_s = max(least, cost_bytes / (period_s * settings.quiet_share))
        rates.busy_bytes_per_s = max(least / 2, cost_bytes / (period_s * settings.busy_share))

    async def _most_due(self) -> int | None:
        """The partition whose copies were hashed longest ago, None when all of that is fresh."""
        chosen: tuple[int, int] | None = None
        now_s = self._now_s()
        for partition, found in await self._store.facts.kept():
            if found.oldest_s is None or not found.held:
                continue
            hashed_s = max(found.oldest_s, self._visited.get(partition, 0))
            if hashed_s > now_s:
                hashed_s = 0  # the clock was set back: nothing is known
            if chosen is None or hashed_s < chosen[0]:
                chosen = (hashed_s, partition)
        if chosen is None:
            return None
        fresh_s = self._settings.period_s * self._settings.fresh_share
        return chosen[1] if chosen[0] <= now_s - fresh_s else None

    async def _visit(self, partition: int, pace: Pace, before_s: float | None) -> None:
        """Read a partition's copies that were hashed before; recipes last, None for all of them."""
        batch: list[RecordKey] = []
        cost = 0
        recipes: list[RecordKey] = []
        now_s = self._now_s()
        for key, state in await self._store.facts.walk(partition):
            if not _is_due(state, before_s, now_s):
                continue
            if state.kind is RecordKind.RECIPE:
                recipes.append(key)
                continue
            batch.append(key)
            cost += max(value_bytes(state.kind, state.size_bytes), RECORD_COST_BYTES)
            if len(batch) >= self._settings.batch or cost >= self._settings.batch_bytes:
                await self._look_at(batch)
                await pace.spend(cost)
                batch, cost = [], 0
        if batch:
            await self._look_at(batch)
            await pace.spend(cost)
        for key in recipes:
            await self._look_at_blob(key, pace)
            await self._look_at((key,))
            await pace.spend(RECORD_COST_BYTES)
        await self._store.facts.count_ages(partition)
        self._visited[partition] = self._now_s()

    # --- copies -----------------------------------------------------------------------------------

    async def _look_at(self, keys: Sequence[RecordKey]) -> None:
        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(self._verify(key))

    async def _verify(self, key: RecordKey) -> bool:
        """Hash one copy; false when it could not be read.  Raises none of the world's errors."""
        try:
            (state,) = await self._store.stat((key,))
            with self._incidents.looking(key, _FOUND_BY):
                verdict = await self._store.verify(key)
        except StorageFault as error:
            self._counters["scrub_unreadable_total"] += 1
            now_s = asyncio.get_running_loop().time()
            if self.unreadable.failed(key, now_s, error.detail):
                log.warning(
                    "a copy cannot be read", digest=str(key.digest), error=error.detail
                )
                self._incidents.note(key, IncidentKind.UNREADABLE, error.detail)
            return False
        except HoldfastError as error:
            log.info("scrub: a copy was not looked at", error=error.detail)
            return False
        self.unreadable.forget(key)
        if verdict is CopyVerdict.ABSENT:
            after = self._store.stat_now((key,))
            if state.held and after and needs_value(after[0]) and not after[0].held:
                self._counters["scrub_missing_copies_total"] += 1
            return True
        self._counters["scrub_copies_total"] += 1
        self._counters["scrub_bytes_total"] += value_bytes(state.kind, state.size_bytes)
        if verdict is CopyVerdict.QUARANTINED:
            self._counters["scrub_bad_copies_total"] += 1
        return True

    async def _look_at_blob(self, key: RecordKey, pace: Pace) -> None:
        """Rule 4."""
        if not self._is_first_keeper(key):
            return
        try:
            verdict, words = await self._blobs.run(key, pace)
        except HoldfastError as error:
            verdict, words = BlobVerdict.UNKNOWN, error.detail
        self._counters[f"scrub_blobs_{verdict.value}_total"] += 1
        if verdict is BlobVerdict.WRONG:
            log.error("a large blob is not what its digest says", digest=str(key.digest))
            self._incidents.note(key, IncidentKind.WRONG_RECIPE, words)
            if len(self.wrong_recipes) < WRONG_RECIPES_MAX:
                self.wrong_recipes[key] = words
        elif verdict is BlobVerdict.GOOD:
            self.wrong_recipes.pop(key, None)
        else:
            log.info("a large blob could not be hashed", digest=str(key.digest), reason=words)

    def _is_first_keeper(self, key: RecordKey) -> bool:
        membership = self._membership
        if not membership.votes(key.digest.partition):
            return False
        silent = membership.silent_for(SILENT_S)
        nodes = keepers(membership.layouts.live.placement(key.digest), silent)
        return bool(nodes) and nodes[0] == membership.node

    # --- copies that cannot be read ---------------------------------------------------------------

    async def _try_again_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.retry_s / 2)
            for suspect in self.unreadable.due(loop.time()):
                if await self._verify(suspect.key):
                    continue
                if self.unreadable.is_hopeless(suspect.key, loop.time()):
                    await self._give_up(suspect)

    async def _give_up(self, suspect: Suspect) -> None:
        """Rule 3."""
        key = suspect.key
        if not await self._is_good_elsewhere(key) or not await self._others_can_be_read(key):
            return
        try:
            with self._incidents.looking(key, "while other copies here could be read"):
                verdict = await self._store.give_up(key)
        except HoldfastError as error:
            log.warning("a copy is not given up", digest=str(key.digest), error=error.detail)
            return
        self.unreadable.forget(key)
        if verdict is CopyVerdict.QUARANTINED:
            self._counters["scrub_given_up_total"] += 1
            self._incidents.note(key, IncidentKind.GIVEN_UP, suspect.words)

    async def _is_good_elsewhere(self, key: RecordKey) -> bool:
        membership = self._membership
        for node in membership.layouts.live.placement(key.digest).eligible:
            if node == membership.node:
                continue
            try:
                (found,) = await self._peers.describe(node, (key,))
                if found is None or not found.state.held:
                    continue
                if await self._peers.verify(node, key) is CopyVerdict.GOOD:
                    return True
            except HoldfastError as error:
                log.debug("scrub: a peer is silent", node=node, error=error.detail)
        return False

    async def _others_can_be_read(self, key: RecordKey) -> bool:
        """Whether some other copies here can be read now, and none of those tried cannot."""
        tried = 0
        start = key.digest.partition
        kept = await self._store.facts.kept()
        turned = [pair for pair in kept if pair[0] >= start] + [p for p in kept if p[0] < start]
        for partition, found in turned:
            if not found.held:
                continue
            for other, state in await self._store.facts.walk(partition):
                if other in self.unreadable or not _is_due(state, None, 0):
                    continue
                if not await self._verify(other):
                    return False
                tried += 1
                if tried >= self._settings.witnesses:
                    return True
        return tried > 0

    def _now_s(self) -> int:
        return int(self._clock.now_s())


def _is_due(state: RecordState, before_s: float | None, now_s: int) -> bool:
    """Whether a copy is to be read; what was hashed in the future was hashed by a wrong clock."""
    if not (state.held and needs_value(state)):
        return False
    return before_s is None or state.verified_at_s <= before_s or state.verified_at_s > now_s
