"""Drives ring/purge.py: tombstones that everybody has seen leave this node.

Rules:
1.  Only a node that votes on a partition purges there, and only while it knows every layout that
    ever was: it asks all that may lack the delete.
2.  What was confirmed in one round counts if, when the record is changed under its lock, the same
    layouts live, this node has not become a receiver, and no life that confirmed is known to be
    over.
3.  A node that did not answer in this round is not asked again in it; tombstones that need it wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from node.local_store import LocalRecordStore
from node.membership import Membership
from ring.errors import HoldfastError, PeerProtocol
from ring.layout import LiveLayouts
from ring.life import Life, NodeId
from ring.messages import Request, StatesReply, StatRecords, expect
from ring.purge import PurgeStep, Step, Tombstone
from ring.purging import EarlierReply, FetchEarlier, HoldTombstones
from ring.record import RecordEntry, RecordKey, RecordState
from ring.seams import Transport

States = Sequence[RecordState | None]

log = structlog.get_logger()


class Purge:
    """waiting: for each node, how many tombstones waited for its word in this round.

    on_purged: told which tombstones went.
    """

    def __init__(
        self,
        membership: Membership,
        store: LocalRecordStore,
        transport: Transport,
        counters: Counter[str],
        *,
        timeout_s: float,
        on_purged: Callable[[Sequence[RecordKey]], None],
    ) -> None:
        self._on_purged = on_purged
        self.waiting: Counter[str] = Counter()
        self._membership = membership
        self._store = store
        self._transport = transport
        self._counters = counters
        self._timeout_s = timeout_s
        self._silent: dict[NodeId, None] = {}

    async def begin_round(self) -> bool:
        """Whether purging is possible now; what is missing of the past is fetched."""
        self.waiting.clear()
        self._silent.clear()
        for epoch in self._membership.layouts.missing_epochs:
            if not await self._fetch(epoch):
                self.waiting[f"anybody who knows layout {epoch}"] += 1
                return False
        return True

    async def advance(self, entries: Sequence[RecordEntry]) -> int:
        """Take tombstones one step on; how many took it.  Raises what the store raises."""
        if self._membership.layouts.missing_epochs:
            return 0  # learnt since the round began: nobody knows yet who else has to be asked
        votes = self._membership.votes
        mine = [entry for entry in entries if votes(entry.key.digest.partition)]
        fresh = [Tombstone(e.key, e.state.root) for e in mine if not e.state.settled]
        settled = [Tombstone(e.key, e.state.root) for e in mine if e.state.settled]
        moved = 0
        if fresh:
            moved += await self._step(Step.HOLD, fresh)
        if settled:
            moved += await self._step(Step.SETTLED, settled)
        return moved

    async def _step(self, kind: Step, tombstones: Sequence[Tombstone]) -> int:
        membership = self._membership
        live, since = membership.layouts.live, membership.receiver_since
        step = PurgeStep(kind, self._needed(tombstones))
        async with asyncio.TaskGroup() as group:
            for node, asked in step.questions():
                if node not in self._silent:
                    group.create_task(self._ask(step, node, asked, live))

        def still() -> bool:
            for node, life in step.lives:
                if not membership.knows_no_later(node, life):
                    step.superseded(node)
            return (
                live is membership.layouts.live
                and since == membership.receiver_since
                and len(step.confirmed()) == len(confirmed)
            )

        confirmed = step.confirmed()
        self.waiting.update(step.waiting())
        if not confirmed:
            return 0
        disposal = self._store.disposal
        change = disposal.settle if kind is Step.HOLD else disposal.purge
        done = await change(confirmed, still)
        name = "tombstones_settled_total" if kind is Step.HOLD else "tombstones_purged_total"
        self._counters[name] += len(done)
        if kind is not Step.HOLD:
            self._on_purged(done)
        return len(done)

    def _needed(self, tombstones: Sequence[Tombstone]) -> dict[Tombstone, tuple[NodeId, ...]]:
        """The other nodes that each tombstone needs the word of."""
        layouts, me = self._membership.layouts, self._membership.node
        by_partition: dict[int, tuple[NodeId, ...]] = {}
        needed: dict[Tombstone, tuple[NodeId, ...]] = {}
        for one in tombstones:
            partition = one.key.digest.partition
            nodes = by_partition.get(partition)
            if nodes is None:
                nodes = tuple(node for node in layouts.ever_eligible(partition) if node != me)
                by_partition[partition] = nodes
            needed[one] = nodes
        return needed

    async def _ask(
        self, step: PurgeStep, node: NodeId, asked: tuple[Tombstone, ...], live: LiveLayouts
    ) -> None:
        request: Request
        if step.step is Step.HOLD:
            request = HoldTombstones(asked)
        else:
            request = StatRecords(tuple(one.key for one in asked))
        try:
            life, states = await self._call(node, request, live)
            if len(states) != len(asked):
                raise PeerProtocol(f"{node} gave {len(states)} states for {len(asked)} tombstones")
        except HoldfastError as error:
            log.debug("purge: no answer", node=node, error=error.detail)
            self._silent[node] = None
            return
        step.answered(node, life, asked, states)

    async def _call(
        self, node: NodeId, request: Request, live: LiveLayouts
    ) -> tuple[Life, States]:
        answer = await self._transport.call(
            node, request, epochs=live.epochs, timeout_s=self._timeout_s, background=True
        )
        return answer.life, expect(answer, StatesReply).states

    async def _fetch(self, epoch: int) -> bool:
        """Learn the layout of an epoch that is over from any peer."""
        layouts = self._membership.layouts
        for node in layouts.live.newest.nodes:
            if node == self._membership.node or not self._membership.admitted:
                continue
            try:
                answer = await self._transport.call(
                    node,
                    FetchEarlier(epoch),
                    epochs=layouts.live.epochs,
                    timeout_s=self._timeout_s,
                    background=True,
                )
                layout = expect(answer, EarlierReply).layout
                if layout is not None and layout.epoch == epoch:
                    await self._membership.learn_earlier(layout)
                    return True
            except HoldfastError as error:
                log.debug("purge: no layout", node=node, epoch=epoch, error=error.detail)
        return False
