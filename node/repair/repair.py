"""The repair of one node: comparisons, the queue, handoff.

Every node does this by itself; there is no leader and nothing to be started.

Rules:
1.  A node repairs, and answers others' comparisons, only while it votes everywhere.
2.  With each peer it compares what both keep, one peer after the other, every `interval_s`.
3.  A peer that is silent for `absent_s` is made up for: its spares compare as if they were owners
    (ring/keepers.py), and hand over what they copied when it is back.
4.  A round that the disk or a layout ends early is tried again with the next one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
from msgspec import Struct

from node.collection.garbage_verdicts import GarbageVerdicts
from node.handler import Asker, Response
from node.incidents import Incidents
from node.local_store import LocalRecordStore
from node.membership import Membership
from node.repair.comparison import Compared, Comparison
from node.repair.copier import Copier
from node.repair.handoff import Handoff
from node.repair.pace import Pace
from node.repair.peers import Peers
from node.repair.repair_queue import RepairQueue, RepairTask
from node.repair.repair_settings import RepairSettings
from ring.comparing import (
    DescribeRecords,
    DescriptionsReply,
    FactsReply,
    HintReason,
    HintRecords,
    HintReply,
    ListFacts,
    SumPrefixes,
    SumsReply,
)
from ring.errors import HoldfastError, NotAdmitted
from ring.keepers import Shared
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.messages import Request
from ring.record import RecordKey
from ring.seams import Transport

DIFFERENCES_MAX: Final = 8_192
_BATCH: Final = 256
_IDLE_S: Final = 0.5
_SHARED_KNOWN_MAX: Final = 64

log = structlog.get_logger()


class LastComparison(Struct, frozen=True):
    """How the last comparison with a peer went.  at_s: of loop.time()."""

    at_s: float
    compared: Compared


class Repair:
    """See the module.

    served: how many requests of clients the node has answered.  last: by peer.
    rounds: how many were completed.  agreed: records that differed, and when (of loop.time()) it
    was found that they do not any more.  left_over: chunks that differ and that nobody needs, and
    when that was found.
    """

    def __init__(
        self,
        *,
        membership: Membership,
        store: LocalRecordStore,
        transport: Transport,
        settings: RepairSettings,
        counters: Counter[str],
        served: Callable[[], int],
        incidents: Incidents,
        garbage: Callable[[], GarbageVerdicts] | None = None,
    ) -> None:
        self.last: dict[NodeId, LastComparison] = {}
        self.rounds = 0
        self.agreed: dict[RecordKey, float] = {}
        self.left_over: dict[RecordKey, float] = {}
        self._is_in_round = False
        self.queue = RepairQueue(
            settings.queue_max, retry_s=settings.retry_s, retry_max_s=settings.retry_max_s
        )
        self._membership = membership
        self._store = store
        self._settings = settings
        self._counters = counters
        self._peers = Peers(membership, transport, settings.call_timeout_s)
        self.copier = Copier(
            membership,
            store,
            self._peers,
            Pace(settings, served),
            counters,
            incidents=incidents,
            copies_at_once=settings.copies_at_once,
            garbage=garbage,
            when_agreed=partial(self._note, self.agreed),
            when_left=partial(self._note, self.left_over),
        )
        self.handoff = Handoff(membership, store, self._peers, counters, incidents)
        self._shared: dict[tuple[NodeId, tuple[NodeId, ...]], Shared] = {}
        self._shared_of: LiveLayouts | None = None
        self._wanted = asyncio.Event()  # somebody asked for a round at once
        self._compared = asyncio.Event()  # a round is over
        self._work = asyncio.Event()  # something was put into the queue

    async def run(self) -> None:
        """Until cancelled."""
        self._store.watch_losses(self.lost)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._compare_for_ever())
            group.create_task(self._attend_for_ever())
            group.create_task(self._hand_over_for_ever())

    # --- what others tell and ask -----------------------------------------------------------------

    def start_now(self) -> int:
        """Begin a round of comparisons at once; what `rounds` will be when it is over."""
        self._wanted.set()
        return self.rounds + (2 if self._is_in_round else 1)

    def lost(self, key: RecordKey) -> None:
        """The copy that was here turned out bad or missing."""
        self.look_at((key,), "lost copy")

    def look_at(
        self, keys: Sequence[RecordKey], reason: str, node: NodeId | None = None
    ) -> int:
        """Look at records soon; how many found room."""
        now_s = asyncio.get_running_loop().time()
        accepted = sum(self.queue.add(key, reason, now_s, node) for key in keys)
        self._work.set()
        return accepted

    async def handle(self, request: Request, asker: Asker) -> Response | None:
        """Answer a peer; None for what is no question of repair."""
        facts, votes = self._store.facts, self._membership.votes_everywhere
        match request:
            case SumPrefixes(prefixes, absent):
                shared = self._shared_with(asker, absent)
                sums = await facts.fingerprints(prefixes, shared)
                return Response(SumsReply(sums), None, votes)
            case ListFacts(prefixes, absent):
                shared = self._shared_with(asker, absent)
                listed = await facts.listed(prefixes, shared)
                return Response(FactsReply(listed), None, votes)
            case DescribeRecords(keys):
                voting = [self._membership.votes(key.digest.partition) for key in keys]
                described = tuple(
                    facts.describe(key) if vote else None
                    for key, vote in zip(keys, voting, strict=True)
                )
                return Response(DescriptionsReply(described), None, all(voting))
            case HintRecords(reason, keys):
                node = NodeId(asker.name) if asker.is_peer else None
                words = f"hint: {reason.name.lower().replace('_', ' ')}"
                if reason is HintReason.COLLECTED:
                    return None
                return Response(HintReply(self.look_at(keys, words, node)))
        return None

    def _shared_with(self, asker: Asker, absent: tuple[NodeId, ...]) -> Shared:
        if not asker.is_peer:
            raise NotAdmitted("only nodes compare what they keep")
        return self._partitions_shared(NodeId(asker.name), absent)

    def _partitions_shared(self, peer: NodeId, absent: tuple[NodeId, ...]) -> Shared:
        live = self._membership.layouts.live
        if live is not self._shared_of or len(self._shared) > _SHARED_KNOWN_MAX:
            self._shared.clear()
            self._shared_of = live
        shared = self._shared.get((peer, absent))
        if shared is None:
            shared = Shared(live, self._membership.node, peer, absent)
            self._shared[peer, absent] = shared
        return shared

    # --- rounds -----------------------------------------------------------------------------------

    async def _compare_for_ever(self) -> None:
        while True:
            self._wanted.clear()
            if self._membership.votes_everywhere:
                self._is_in_round = True
                await self._round()
                self._is_in_round = False
                self.rounds += 1
                self._compared.set()
            try:
                async with asyncio.timeout(self._settings.interval_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def _round(self) -> None:
        """Compare with everybody."""
        membership = self._membership
        absent = membership.silent_for(self._settings.absent_s)
        if absent != self.copier.absent:
            log.warning("nodes that are made up for changed", node=membership.node, absent=absent)
            self.copier.absent = absent
        for peer in membership.others():
            if peer not in absent:
                await self._compare(peer, absent)

    async def _hand_over_for_ever(self) -> None:
        """Look at what is kept for others after each round, and not instead of the next ones.

        Owners hash every copy before it is dropped here, which takes hours where there are many.
        """
        while True:
            await self._compared.wait()
            self._compared.clear()
            try:
                await self.handoff.round(self.copier.absent)
            except HoldfastError as error:
                self._counters["repair_failures_total"] += 1
                log.info("handoff: a round ended early", error=error.detail)

    async def _compare(
        self, peer: NodeId, absent: tuple[NodeId, ...]
    ) -> None:
        shared = self._partitions_shared(peer, absent)
        comparison = Comparison(
            self._store.facts, self._peers, peer, shared, absent, limit=DIFFERENCES_MAX
        )
        try:
            compared = await comparison.run()
        except HoldfastError as error:
            self._counters["repair_comparisons_failed_total"] += 1
            log.debug("repair: no comparison", peer=peer, error=error.detail)
            return
        now_s = asyncio.get_running_loop().time()
        await self._look_again_at_left_over(compared, peer)
        self.last[peer] = LastComparison(now_s, compared)
        self._counters["repair_comparisons_total"] += 1
        self._counters["repair_differences_total"] += len(compared.differing)
        due_s = now_s + self._settings.settle_s
        for key in compared.differing:
            if key not in self.left_over:
                self.queue.add(key, "comparison", due_s, peer)
        self._work.set()

    async def _look_again_at_left_over(self, compared: Compared, peer: NodeId) -> None:
        """Chunks that were left to the collector differ in every comparison, until they go.

        That nobody needs them is asked anew each time, and at once, so that the ledger never counts
        as left over what a blob has come to need.
        """
        now_s = asyncio.get_running_loop().time()
        known = [key for key in compared.differing if self.left_over.pop(key, None) is not None]
        for begin in range(0, len(known), _BATCH):
            batch = known[begin : begin + _BATCH]
            tasks = [RepairTask(key, "comparison", now_s, askable=(peer,)) for key in batch]
            try:
                await self.copier.attend(tasks)
            except HoldfastError as error:
                self._counters["repair_failures_total"] += 1
                log.info("repair: a batch ended early", error=error.detail)

    def _note(self, notes: dict[RecordKey, float], key: RecordKey) -> None:
        """When something was found of a record; what is older than all comparisons gives room."""
        if len(notes) >= DIFFERENCES_MAX:
            oldest_s = min((last.at_s for last in self.last.values()), default=0.0)
            for one in [one for one, at_s in notes.items() if at_s < oldest_s]:
                del notes[one]
        if len(notes) < DIFFERENCES_MAX:
            notes[key] = asyncio.get_running_loop().time()

    async def _attend_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            tasks = []
            if self._membership.votes_everywhere:
                tasks = self.queue.take(loop.time(), _BATCH)
            if not tasks:
                await self._wait_for_work()
                continue
            try:
                unfinished = await self.copier.attend(tasks)
            except HoldfastError as error:
                self._counters["repair_failures_total"] += 1
                log.info("repair: a batch ended early", error=error.detail)
                unfinished = tasks
            for task in unfinished:
                self.queue.again(task, loop.time())

    async def _wait_for_work(self) -> None:
        self._work.clear()
        due_s = self.queue.next_due_s()
        wait_s = _IDLE_S
        if due_s is None:
            wait_s = self._settings.interval_s
        elif self._membership.votes_everywhere:
            wait_s = max(0.0, due_s - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(wait_s):
                await self._work.wait()
        except TimeoutError:
            pass
