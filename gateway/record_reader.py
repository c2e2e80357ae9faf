"""Replicated reads: drives ReadPlan and SourcePlan over the nodes.

Rules:
1.  No value leaves here that was not hashed against its digest.
2.  A node that sent a bad copy is told to look at it again (it quarantines it), and the read goes
    on elsewhere; the client never notices.
3.  The usual case - the first nodes answer, agree and deliver - takes a short way that asks what
    the plan would ask and decides what the plan would decide; everything else replays into the
    plan, which is the only place that knows how reads fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from gateway.calls import CallSettings
from gateway.cluster import Cluster
from gateway.fanout import Fanout, Outcome
from gateway.hashing import Hashing
from gateway.records import Found, WhenLong, whatever
from gateway.short_read import Patience, ShortRead
from gateway.state_questions import StateQuestions
from gateway.stragglers import Stragglers
from ring.digest import Buffer, Digest
from ring.errors import HoldfastError, NotFound, PeerProtocol, Unavailable, WrongEpoch
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.messages import Answer, GetRecord, RecordReply, VerifyRecord, expect
from ring.quorum import Placement
from ring.read_plan import ReadPlan, Verdict
from ring.record import RecordKey, RecordKind, RecordState, is_live
from ring.source_plan import SourcePlan
from ring.suspicion import Lane
from ring.write_quorum import Outcome as Standing

log = structlog.get_logger()


class TooLongHere(Exception):
    """The value is too long for the connection of small questions; never leaves this file."""


class Read:
    """One GET or HEAD, driven by its plan."""

    __slots__ = ("_answers", "_asked_at", "_fanout", "_is_short", "_key", "_owners",
                 "_passed_over", "_reader", "_slow", "_state", "_value", "_wanted",
                 "_wants_bytes", "plan")

    def __init__(
        self,
        reader: RecordReader,
        digest: Digest,
        live: LiveLayouts,
        owners: Sequence[NodeId],
        *,
        wants_bytes: bool,
        slow: Sequence[NodeId] = (),
    ) -> None:
        self._reader = reader
        self._key = RecordKey(digest)
        self._owners = owners
        self._wants_bytes = wants_bytes
        self._answers: dict[NodeId, Answer] = {}
        self._state: RecordState | None = None
        self._value: Buffer | None = None
        self._asked_at: dict[NodeId, float] = {}
        self._wanted: dict[NodeId, bool] = {}
        self._slow = slow
        self._passed_over: dict[NodeId, None] = {}
        self._is_short = False  # of extra questions: slow nodes are waited for
        self._fanout = Fanout(reader.cluster, live)
        self.plan: ReadPlan

    async def run(self) -> Found:
        """Raises NotFound, Unavailable or WrongEpoch."""
        reader = self._reader
        placement = self._fanout.live.placement(self._key.digest)
        spares = reader.cluster.ranked_in_turn(placement.spares)
        plan = self.plan = ReadPlan(
            placement, wants_bytes=self._wants_bytes, owners=self._owners, spares=spares
        )
        try:
            while plan.verdict is Verdict.PENDING:
                while asks := plan.next_asks():
                    for node, wants_bytes in asks:
                        self._ask(node, wants_bytes=wants_bytes)
                if self._slow:
                    self._be_late_for_slow()
                    continue
                arrived = await self._fanout.next(self._patience_s())
                if arrived is None:
                    self._hedge()
                else:
                    await self.take(*arrived)
        finally:
            self._fanout.abandon()
        return self._found()

    def _be_late_for_slow(self) -> None:
        """Who was slow a moment ago is late from the start: others are asked at once."""
        slow, self._slow = self._slow, ()
        for node in slow:
            self.plan.late(node)

    async def take(self, node: NodeId, outcome: Outcome) -> None:
        """Feed one outcome of a call into the plan."""
        cluster, asked_at = self._reader.cluster, self._asked_at.pop(node, None)
        if isinstance(outcome, HoldfastError):
            self._fail(node, outcome)
            return
        counts = cluster.counts(outcome)
        self._drop_superseded()
        try:
            state = state_of(outcome)
        except PeerProtocol as error:
            self._fail(node, error)
            return
        if not counts:
            self.plan.failed(node)
            return
        if asked_at is not None:
            cluster.latency(node).observe(self._reader.loop.time() - asked_at)
        intact = False
        if state.held and outcome.payload is None and self._wanted[node]:
            raise TooLongHere
        if outcome.payload is not None:
            intact = await self._reader.is_intact(self._key, state.kind, outcome)
            if not cluster.is_current(outcome):
                self.plan.failed(node)
                return
            if intact and self._value is None:
                self._value, self._state = outcome.payload, state
        self._answers[node] = outcome
        if self._describes_better(state):
            self._state = state
        held = state.held and (outcome.payload is None or intact)
        self.plan.answered(node, state.root, held=held, intact=intact)

    def _describes_better(self, state: RecordState) -> bool:
        """Whether kind and size are to be taken from this state; of a value here they are known."""
        if self._value is not None or state.kind is RecordKind.NONE:
            return False
        return self._state is None or state.root >= self._state.root

    def _fail(self, node: NodeId, error: HoldfastError) -> None:
        self.plan.failed(node)
        self._reader.cluster.note_error(node, error)

    def _ask(self, node: NodeId, *, wants_bytes: bool) -> None:
        """Ask, at once if the node is well; one in doubt is asked when the others will not do."""
        is_doubted = self._reader.cluster.is_doubted(node, Lane.READS)
        if is_doubted and node not in self._passed_over:
            self._passed_over[node] = None
            self.plan.pass_over(node)
            return
        request = GetRecord(self._key, PAYLOAD_SMALL_BYTES_MAX if wants_bytes else 0)
        self._wanted[node] = wants_bytes
        self._asked_at[node] = self._reader.loop.time()
        self._fanout.ask(node, request, timeout_s=self._reader.settings.read_timeout_s)
        if is_doubted:
            self.plan.late(node)

    def _patience_s(self) -> float | None:
        if self._is_short and self._asked_at:
            return self._reader.settings.recheck_s
        return self._reader.patience_s(self._asked_at)

    def _hedge(self) -> None:
        """Ask others for what is overdue: within the budget, or because of nodes in doubt."""
        cluster = self._reader.cluster
        overdue = list(self._asked_at)
        if not cluster.hedges.spend():
            self._is_short = True
            overdue = [node for node in overdue if cluster.is_doubted(node, Lane.READS)]
        for node in overdue:
            cluster.vigil.late(node, Lane.READS)
            del self._asked_at[node]
            self.plan.late(node)

    def _drop_superseded(self) -> None:
        for node, answer in list(self._answers.items()):
            if not self._reader.cluster.is_current(answer):
                del self._answers[node]
                self.plan.superseded(node)

    def _found(self) -> Found:
        verdict, digest = self.plan.verdict, self._key.digest
        if verdict is Verdict.MISS:
            raise NotFound(f"blob not found: {digest}")
        if verdict is Verdict.UNAVAILABLE:
            if is_live(self.plan.newest):
                raise Unavailable(f"{digest} exists, but no good copy of it answered")
            raise Unavailable(f"too few nodes answered to say whether {digest} exists")
        assert self._state is not None
        self._note_who_lacks()
        state = replace(self._state, root=self.plan.newest)  # a copy may be of an older put
        return Found(state, self._value, confirmed=verdict is Verdict.SERVE)

    def _note_who_lacks(self) -> None:
        """Read repair: an owner that knows less than was found is told to look."""
        owners = self._fanout.live.placement(self._key.digest).owners
        for node, answer in self._answers.items():
            if node in owners and state_of(answer).root < self.plan.newest:
                self._reader.cluster.missed.note(node, self._key)


def state_of(answer: Answer) -> RecordState:
    """The state in an answer to GetRecord; raises PeerProtocol."""
    state = expect(answer, RecordReply).state
    if state.kind is RecordKind.NONE and (state.held or answer.payload is not None):
        raise PeerProtocol(f"{answer.node} has a value of no kind")
    if state.kind is RecordKind.NONE and is_live(state.root):
        raise PeerProtocol(f"{answer.node} says that something of no kind was put")
    return state


class RecordReader:
    """Reads of single records."""

    def __init__(
        self, cluster: Cluster, settings: CallSettings, hashing: Hashing, stragglers: Stragglers
    ) -> None:
        self.cluster = cluster
        self.settings = settings
        self.hashing = hashing
        self.loop = asyncio.get_running_loop()
        self._reports = stragglers
        self._questions = StateQuestions(cluster, settings.read_timeout_s)
        self._patience = Patience(settings.hedge_floor_s, settings.recheck_s)
        self.bad_copies_total = 0

    async def read(self, digest: Digest, when_long: WhenLong = whatever) -> Found:
        """See Records."""
        try:
            return await self._read(digest, when_long)
        except WrongEpoch:
            pass  # what it taught is in force by now
        return await self.cluster.under_layouts(lambda: self._read(digest, when_long))

    async def head(self, digest: Digest) -> Found:
        """See Records."""
        return await self.cluster.under_layouts(lambda: self._look(digest))

    async def read_chunk(self, chunk: Digest) -> Buffer:
        """See Records."""
        return await self.cluster.under_layouts(lambda: self._fetch(chunk, RecordKind.DATA))

    def patience_s(self, asked_at: dict[NodeId, float]) -> float | None:
        """How long to wait for the nodes asked before hedging; None when nobody is waited for."""
        if not asked_at:
            return None
        return max(self.settings.hedge_floor_s, 2 * self.cluster.usual_p95_s())

    async def is_intact(self, key: RecordKey, kind: RecordKind, answer: Answer) -> bool:
        """Hash a value; a bad one is counted and reported to the node that sent it."""
        assert answer.payload is not None
        if await self.hashing.matches(key.digest, kind, answer.payload):
            return True
        self.bad_copies_total += 1
        log.warning("bad copy", node=answer.node, digest=str(key.digest))
        report = Fanout(self.cluster)
        report.ask(answer.node, VerifyRecord(key), timeout_s=self.settings.bulk_timeout_s)
        self._reports.adopt(report)
        return False

    async def _look(self, digest: Digest) -> Found:
        cluster, live = self.cluster, self.cluster.live
        owners = cluster.ranked(live.placement(digest).owners)
        cluster.hedges.earn()
        return await Read(self, digest, live, owners, wants_bytes=False).run()

    async def _read(self, digest: Digest, when_long: WhenLong) -> Found:
        """Long values come over the bulk connections, from whichever node has a good copy."""
        live = self.cluster.live
        placement = live.placement(digest)
        owners = self.cluster.ranked(placement.owners)
        self.cluster.hedges.earn()
        found = await self._find(digest, live, placement, owners)
        if found.value is not None:
            return found
        await when_long()
        return replace(found, value=await self._fetch(digest, found.state.kind, owners))

    async def _find(
        self, digest: Digest, live: LiveLayouts, placement: Placement, owners: Sequence[NodeId]
    ) -> Found:
        """The value is None when it is too long for the connection of small questions."""
        slow: Sequence[NodeId] = ()
        first = owners[: placement.groups[0].write_quorum]
        if len(placement.groups) == 1 and not self._are_doubted(first):
            key, timeout_s = RecordKey(digest), self.settings.read_timeout_s
            short = ShortRead(
                self.cluster, self._questions, key, first, live=live, timeout_s=timeout_s
            )
            found = await self._usual(digest, await short.run(self._patience))
            if found is not None:
                return found
            slow = short.slow()
            for node in slow:
                self.cluster.vigil.late(node, Lane.READS)
        try:
            return await Read(self, digest, live, owners, wants_bytes=True, slow=slow).run()
        except TooLongHere:
            return await Read(self, digest, live, owners, wants_bytes=False).run()

    def _are_doubted(self, nodes: Sequence[NodeId]) -> bool:
        cluster = self.cluster
        return cluster.suspicion.has_doubts and any(
            cluster.is_doubted(node, Lane.READS) for node in nodes
        )

    async def _usual(self, digest: Digest, answer: Answer | None) -> Found | None:
        """What the short way found; None when the plan has to look closer."""
        if answer is None:
            return None
        state = state_of(answer)
        if answer.payload is None:
            return Found(state, None, confirmed=True)
        if not await self.hashing.matches(digest, state.kind, answer.payload):
            return None
        return Found(state, answer.payload, confirmed=True)

    async def _fetch(
        self, digest: Digest, kind: RecordKind, owners: Sequence[NodeId] | None = None
    ) -> Buffer:
        """The value of a record that is known to exist; `owners` in the order to ask them.

        An operation takes one turn in ranking, or the turns of its steps would add up to a full
        round and the same node would be first for ever.
        """
        fanout, key = Fanout(self.cluster), RecordKey(digest)
        placement = fanout.live.placement(digest)
        self.cluster.hedges.earn()
        if owners is None:
            owners = self.cluster.ranked(placement.owners, Lane.VALUES)
        spares = self.cluster.ranked_in_turn(placement.spares)
        plan = SourcePlan(self._well_first([*owners, *spares]))
        asked_at: dict[NodeId, float] = {}
        try:
            while plan.outcome is Standing.PENDING:
                for node in plan.next_targets():
                    asked_at[node] = self.loop.time()
                    fanout.ask(
                        node, GetRecord(key), timeout_s=self.settings.bulk_timeout_s, bulk=True
                    )
                arrived = await fanout.next(self.settings.chunk_patience_s)
                if arrived is None:
                    self._hedge_fetch(plan, asked_at)
                    continue
                node, outcome = arrived
                asked_at.pop(node, None)
                value = await self._good_value(key, kind, node, outcome)
                if value is not None:
                    plan.delivered(node)
                    return value
                plan.failed(node)
        finally:
            fanout.abandon()
        raise Unavailable(f"no good copy of {digest} answered")

    def _well_first(self, nodes: list[NodeId]) -> list[NodeId]:
        """Owners before spares, and nodes in doubt after both."""
        if self.cluster.suspicion.has_doubts:
            nodes.sort(key=lambda node: self.cluster.is_doubted(node, Lane.VALUES))
        return nodes

    def _hedge_fetch(self, plan: SourcePlan, asked_at: dict[NodeId, float]) -> None:
        may_ask = bool(asked_at) and self.cluster.hedges.spend()  # or waiting would use it all up
        for node in list(asked_at):
            if may_ask or self.cluster.is_doubted(node, Lane.VALUES):
                self.cluster.vigil.late(node, Lane.VALUES)
                del asked_at[node]
                plan.late(node)

    async def _good_value(
        self, key: RecordKey, kind: RecordKind, node: NodeId, outcome: Outcome
    ) -> Buffer | None:
        if isinstance(outcome, HoldfastError):
            self.cluster.note_error(node, outcome)
            return None
        if not self.cluster.counts(outcome) or outcome.payload is None:
            return None
        return outcome.payload if await self.is_intact(key, kind, outcome) else None
