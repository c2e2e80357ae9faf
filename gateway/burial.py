"""Replicated deletes: drives two Covers over the nodes, one for what is there, one for tombstones.

Rules:
1.  Where no node of a cover has any record, nothing is written.
2.  The tombstone goes out at the highest generation that was seen before, and never chases a put.
    It is acknowledged once a cover holds it that is an ack set too: so it is met by every put, and
    outlives as many lost disks as one.
3.  A node in doubt is not waited for while there may be a cover without it; its silence counts as
    anybody's.  What it misses is noted for repair.
"""

from __future__ import annotations

from gateway.calls import CallSettings
from gateway.cluster import Cluster
from gateway.fanout import Fanout, Outcome
from gateway.stragglers import Stragglers
from ring.cover import Cover
from ring.digest import Digest
from ring.errors import HoldfastError, PeerProtocol, Unavailable
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.messages import Answer, BuryRecord, RecordReply, StatesReply, StatRecords, expect
from ring.record import RecordKey, RecordState, Root, dead, generation_of
from ring.suspicion import Lane
from ring.write_quorum import Outcome as Standing


class Poll:
    """One question to a cover of a record's nodes."""

    def __init__(
        self,
        cluster: Cluster,
        settings: CallSettings,
        key: RecordKey,
        request: StatRecords | BuryRecord,
        live_layouts: LiveLayouts,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._key = key
        self._request = request
        self._is_write = isinstance(request, BuryRecord)
        self._lane = Lane.WRITES if self._is_write else Lane.READS
        # A tombstone counts as held when the answer is at or above it.
        self._least = dead(request.generation) if isinstance(request, BuryRecord) else 0
        placement = live_layouts.placement(key.digest)
        self._cover = Cover(placement, must_last=self._is_write)
        self._answers: dict[NodeId, Answer] = {}
        self._passed_over: dict[NodeId, None] = {}
        self.fanout = Fanout(cluster, live_layouts)

    async def run(self) -> Root:
        """The highest root in a cover of answers.

        A node whose answer is below the tombstone counts as silent.  Raises Unavailable when too
        few answer.  Then the caller ends `fanout`.
        """
        cover, fanout, cluster = self._cover, self.fanout, self._cluster
        cluster.spares.earn()
        while cover.outcome is Standing.PENDING:
            while targets := cover.next_targets():
                for node in targets:
                    self._ask(node)
            arrived = await fanout.next(self._settings.write_patience_s)
            if arrived is None:
                for node in cluster.overdue(list(cover.in_flight), self._lane):
                    cover.late(node)
                continue
            self._take(*arrived)
        if cover.outcome is Standing.FAILED:
            digest = self._key.digest
            raise Unavailable(f"{digest}: too few nodes answered to be sure of a delete")
        return cover.newest

    def _ask(self, node: NodeId) -> None:
        """A node in doubt is asked when nobody else will do, a tombstone sent while it may be."""
        cluster, cover = self._cluster, self._cover
        is_doubted = cluster.is_doubted(node, self._lane)
        may_pass = not self._is_write or cluster.is_tried_enough(node, self._lane)
        if is_doubted and may_pass and node not in self._passed_over:
            self._passed_over[node] = None
            cover.pass_over(node)
            if self._is_write and node in cover.placement.owners:
                cluster.missed.note(node, self._key)
            return
        self.fanout.ask(node, self._request, timeout_s=self._settings.write_timeout_s)
        if is_doubted:
            cover.late(node)

    def _take(self, node: NodeId, outcome: Outcome) -> None:
        cluster, cover = self._cluster, self._cover
        state: RecordState | None = None
        if isinstance(outcome, Answer):
            try:
                state = _state_of(outcome)
            except PeerProtocol as error:
                outcome = error
        if isinstance(outcome, HoldfastError):
            cover.failed(node)
            cluster.note_error(node, outcome)
            return
        if not cluster.counts(outcome) or state is None or state.root < self._least:
            cover.failed(node)
        else:
            self._answers[node] = outcome
            cover.answered(node, state.root)
        for earlier, answer in list(self._answers.items()):
            if not cluster.is_current(answer):
                del self._answers[earlier]
                cover.superseded(earlier)


class Burial:
    """Deletes for clients."""

    def __init__(self, cluster: Cluster, settings: CallSettings, stragglers: Stragglers) -> None:
        self._cluster = cluster
        self._settings = settings
        self._stragglers = stragglers

    async def bury(self, digest: Digest, *, skip_trash: bool) -> None:
        """Delete; absent is fine.  Raises Unavailable or WrongEpoch.

        skip_trash: what is in the trash already goes too.
        """
        key, live_layouts = RecordKey(digest), self._cluster.live
        look = Poll(self._cluster, self._settings, key, StatRecords((key,)), live_layouts)
        try:
            newest = await look.run()
        finally:
            look.fanout.abandon()
        if not newest:
            return
        request = BuryRecord(key, generation_of(newest), skip_trash)
        bury = Poll(self._cluster, self._settings, key, request, live_layouts)
        try:
            await bury.run()
        finally:
            self._stragglers.adopt(bury.fanout)


def _state_of(answer: Answer) -> RecordState | None:
    """The state in an answer about one record, None when the node may not vote on it.

    Raises PeerProtocol for an answer to something else.
    """
    reply = answer.reply
    if isinstance(reply, RecordReply):
        return reply.state
    states = expect(answer, StatesReply).states
    if len(states) != 1:
        raise PeerProtocol(f"{answer.node} gave {len(states)} states for one record")
    return states[0]
