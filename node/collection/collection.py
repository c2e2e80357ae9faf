"""Looks through everything that has no live root, again and again, and sees off what may go.

Rules:
1.  What is decided: trash by time and room (trash.py), tombstones by everybody's word (purge.py),
    chunks by their claimants (collector.py).  Here is only the rhythm.
2.  It yields: one slice of the records at a time, batches one after the other, and longer pauses
    while nothing moves.
3.  A fault of the disk or of a peer ends a round and not the work; the next round begins anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from node.collection.collection_settings import CollectionSettings
from node.collection.collector import Collector, OnCollected, is_chunk
from node.collection.garbage_report import GarbageReport
from node.collection.garbage_verdicts import GarbageVerdicts
from node.collection.purge import Purge
from node.collection.trash import Trash
from node.cover_question import CoverQuestion
from node.handler import Response
from node.local_store import LocalRecordStore
from node.membership import Membership
from node.repair.peers import Peers
from ring.comparing import HintReason, HintRecords, HintReply
from ring.errors import HoldfastError
from ring.life import NodeId
from ring.messages import Request, StatesReply
from ring.purging import CollectGarbage, EarlierReply, FetchEarlier, HoldTombstones
from ring.record import RecordEntry, RecordKey
from ring.seams import Clock, Transport

SLICE_RECORDS: Final = 2_048
_REST_SHARE: Final = 20  # a look through everything is followed by so many times its length of rest

log = structlog.get_logger()


def nobody(keys: Sequence[RecordKey]) -> None:
    """The OnCollected of a node on which nobody wants to know."""


class Collection:
    """The last part of records' lives on one node.

    on_collected, on_purged: told which chunks and tombstones went; may be set until `run`.
    """

    def __init__(
        self,
        *,
        membership: Membership,
        store: LocalRecordStore,
        transport: Transport,
        clock: Clock,
        settings: CollectionSettings,
        counters: Counter[str],
    ) -> None:
        self.on_collected: OnCollected = nobody
        self.on_purged: OnCollected = nobody
        self._membership = membership
        self._store = store
        self._settings = settings
        self._counters = counters
        timeout_s = settings.call_timeout_s
        question = CoverQuestion(membership, store, transport, timeout_s=timeout_s)
        self._trash = Trash(store, clock, settings, counters)
        self._purge = Purge(
            membership,
            store,
            transport,
            counters,
            timeout_s=timeout_s,
            on_purged=self._tell_purged,
        )
        self._collector = Collector(
            store=store,
            question=question,
            clock=clock,
            settings=settings,
            counters=counters,
            on_collected=self._tell,
        )
        self._peers = Peers(membership, transport, timeout_s)
        self._collected: deque[RecordKey] = deque(maxlen=settings.hints_max)
        self._news = asyncio.Event()
        self._hinted: deque[RecordKey] = deque(maxlen=settings.hints_max)
        self._woken = asyncio.Event()
        self._is_wanted = False

    # --- for the other parts of a node ------------------------------------------------------------

    def garbage_verdicts(self) -> GarbageVerdicts:
        """Repair asks them before it fetches a chunk, and before it tells others of one."""
        return self._collector.garbage_verdicts()

    def was_collected(self, key: RecordKey) -> bool:
        """Whether a chunk was collected here a moment ago."""
        return self._collector.was_collected(key)

    def look_at(self, keys: Sequence[RecordKey]) -> None:
        """Another node collected these chunks; the oldest are forgotten when too many come."""
        self._hinted.extend(keys)
        self._woken.set()

    def begin(self) -> None:
        """Look through everything at once."""
        self._is_wanted = True
        self._woken.set()

    async def handle(self, request: Request) -> Response | None:
        """Answer a request about collection; None for any other."""
        membership = self._membership
        match request:
            case HoldTombstones(tombstones):
                states = await self._store.disposal.hold(tombstones)
                votes = [membership.votes(one.key.digest.partition) for one in tombstones]
                told = (s if vote else None for s, vote in zip(states, votes, strict=True))
                return Response(StatesReply(tuple(told)), None, all(votes))
            case HintRecords(reason, keys):
                if reason is not HintReason.COLLECTED:
                    return None
                self.look_at(keys)
                return Response(HintReply(len(keys)))
            case FetchEarlier(epoch):
                layouts = membership.layouts
                live = {layout.epoch: layout for layout in layouts.live.layouts}
                return Response(EarlierReply(layouts.earlier.get(epoch) or live.get(epoch)))
            case CollectGarbage(begin):
                if begin:
                    self.begin()
                report = GarbageReport(
                    self._store, self._settings, self._trash, self._collector, self._purge
                )
                return Response(await report.made())
        return None

    # --- the rhythm -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rounds())
            group.create_task(self._keep_room())
            group.create_task(self._tell_for_ever())

    async def round(self) -> int:
        """Look through everything once; how many records moved on.

        Raises what the store raises.
        """
        purges = await self._purge.begin_round()
        tombstones: list[RecordEntry] = []
        chunks: list[RecordEntry] = []
        trash: list[RecordKey] = []
        moved, after, done = 0, None, False
        while not done:
            found = await self._store.disposal.leaving(after, SLICE_RECORDS)
            after, done = found.upto, found.upto is None
            for entry in found.entries:
                state = entry.state
                if state.in_trash:
                    if self._trash.is_over(state):
                        trash.append(entry.key)
                elif state.is_tombstone:
                    if purges and (state.settled or self._trash.is_over(state)):
                        tombstones.append(entry)
                elif self._membership.votes(entry.key.digest.partition):
                    chunks.append(entry)
            moved += await self._deal(trash, chunks, tombstones, everything=done)
            if not done:
                await asyncio.sleep(SLICE_RECORDS / self._settings.records_per_s)
        return moved

    async def _deal(
        self,
        trash: list[RecordKey],
        chunks: list[RecordEntry],
        tombstones: list[RecordEntry],
        *,
        everything: bool,
    ) -> int:
        """Deal with full batches, with all that is left at the end; how many moved on."""
        size, moved = self._settings.batch, 0
        least = 1 if everything else size
        while len(trash) >= least:
            some, trash[:] = trash[:size], trash[size:]
            await self._trash.discard(some)
            moved += len(some)
        while len(chunks) >= least:
            due, chunks[:] = chunks[:size], chunks[size:]
            moved += await self._collector.look_at(due)
        while len(tombstones) >= least:
            ready, tombstones[:] = tombstones[:size], tombstones[size:]
            moved += await self._purge.advance(ready)
        return moved

    async def _rounds(self) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        wait_s = settings.interval_s
        next_s = loop.time() + wait_s  # of the next look; what others tell does not put it off
        while True:
            try:
                async with asyncio.timeout_at(next_s):
                    await self._woken.wait()
            except TimeoutError:
                self._is_wanted = True
            self._woken.clear()
            begun_s, is_round = loop.time(), self._is_wanted or loop.time() >= next_s
            try:
                await self._look_at_hinted()
                if is_round:
                    self._is_wanted = False
                    moved = await self.round()
                    wait_s = min(2 * wait_s, settings.interval_max_s)
                    wait_s = settings.interval_s if moved else wait_s
            except HoldfastError as error:
                log.warning("collection waits", reason=error.detail)
            if is_round:
                rest_s = _REST_SHARE * (loop.time() - begun_s)
                next_s = loop.time() + max(wait_s, min(rest_s, settings.interval_max_s))

    async def _tell_for_ever(self) -> None:
        """Other keepers of what was collected look at theirs at once: repair shall not copy it."""
        while True:
            await self._news.wait()
            self._news.clear()
            keys = [self._collected.popleft() for _ in range(len(self._collected))]
            by_node: dict[NodeId, list[RecordKey]] = {}
            for key in keys:
                placement = self._membership.layouts.live.placement(key.digest)
                for node in placement.eligible:
                    by_node.setdefault(node, []).append(key)
            by_node.pop(self._membership.node, None)
            for node in sorted(by_node):
                with suppress(HoldfastError):  # it will find out by itself
                    await self._peers.hint(node, HintReason.COLLECTED, by_node[node])

    def _tell(self, keys: Sequence[RecordKey]) -> None:
        self._collected.extend(keys)
        self._news.set()
        self.on_collected(keys)

    def _tell_purged(self, keys: Sequence[RecordKey]) -> None:
        self.on_purged(keys)

    async def _look_at_hinted(self) -> None:
        """Chunks that other nodes collected: mostly they may go here as well."""
        while self._hinted:
            keys = {self._hinted.popleft(): None for _ in range(len(self._hinted))}
            some = list(keys)
            for start in range(0, len(some), self._settings.batch):
                batch = some[start : start + self._settings.batch]
                states = await self._store.stat(batch)
                entries = [
                    RecordEntry(key, state)
                    for key, state in zip(batch, states, strict=True)
                    if is_chunk(state) and self._membership.votes(key.digest.partition)
                ]
                await self._collector.look_at(entries, hinted=True)

    async def _keep_room(self) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        wait_s = settings.room_interval_s
        while True:
            await asyncio.sleep(wait_s)
            begun_s, went = loop.time(), False
            with suppress(HoldfastError):
                went = await self._trash.make_room()
            spent_s = loop.time() - begun_s
            # What went is free only after the store has had time for it.
            wait_s = max(settings.room_interval_s * (6 if went else 1), _REST_SHARE * spent_s)
