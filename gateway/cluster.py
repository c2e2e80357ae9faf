"""What a gateway knows of the cluster: layouts in force, lives of nodes, how they have been lately.

Rules:
1.  An answer counts when its sender may vote on the question and nobody knows of a later life of
    it (`counts`).  What it says of lives is learnt the moment it arrives (`hear`), also by an
    operation that is over: a node tells its news once on each connection.
2.  A node that knows newer layouts is believed and the operation starts over; one that knows older
    ones is taught and asked again.
3.  An operation lives by one set of layouts from its beginning to its end: an answer that was given
    under newer ones proves nothing under the older.
4.  A node that breaks the protocol counts as failed; the operation goes on with the others.
5.  Nothing here survives a restart, and nothing has to.
6.  Whoever makes a call that is real work tells the vigil, and is told by it whom to pass over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import structlog

from gateway.latency import HedgeBudget, Latency
from gateway.missed_writes import MissedWrites
from gateway.vigil import PROBE_TIMEOUT_S, Vigil
from ring.codec import unpack
from ring.control import LayoutsReply, TeachLayouts, parse_layouts
from ring.digest import Buffer, Digest
from ring.errors import HoldfastError, PeerProtocol, Unavailable, WrongEpoch
from ring.layout import Layout, LiveLayouts
from ring.life import Knowledge, NodeId
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.messages import (
    Answer,
    BuryRecord,
    ConfirmChunks,
    GetRecord,
    PutRecord,
    Request,
    StatRecords,
    expect,
)
from ring.quorum import Placement
from ring.seams import Transport
from ring.suspicion import TRIALS_MAX, Lane, Tally

T = TypeVar("T")

ATTEMPTS_PER_LAYOUT_CHANGE: Final = 4
TEACH_TIMEOUT_S: Final = 5.0

# Plain numbers, since every call looks here; the lane of long values follows that of small ones.
_READS: Final = int(Lane.READS)
_WRITES: Final = int(Lane.WRITES)
assert (_READS + 1, _WRITES + 1) == (Lane.VALUES, Lane.CHUNKS)
_LANES: Final = {
    GetRecord: _READS,
    StatRecords: _READS,
    PutRecord: _WRITES,
    BuryRecord: _WRITES,
    ConfirmChunks: _WRITES,
}

log = structlog.get_logger()


class Cluster:
    """The gateway's view; one per process."""

    def __init__(self, transport: Transport, first: Layout) -> None:
        self.live = LiveLayouts((first,))
        self.knowledge = Knowledge()
        self.floors: dict[int, int] = {}
        self.hedges = HedgeBudget()
        self.spares = HedgeBudget()  # of writes and covers that are late
        self.missed = MissedWrites()
        self.vigil = Vigil(self._probe)
        self.suspicion = self.vigil.suspicion
        self._transport = transport
        self._latencies: dict[NodeId, Latency] = {}
        self._turn = 0
        self.protocol_errors_total = 0

    def latency(self, node: NodeId) -> Latency:
        """How a node has been lately."""
        latency = self._latencies.get(node)
        if latency is None:
            latency = self._latencies[node] = Latency()
        return latency

    def placement(self, digest: Digest) -> Placement:
        """Where a digest may be."""
        return self.live.placement(digest)

    def ranked(self, nodes: Sequence[NodeId], lane: Lane = Lane.READS) -> list[NodeId]:
        """Nodes in the order in which to ask them: well ones in turn, those in doubt last.

        For the owners, once in an operation: with a second turn for its spares only every other of
        two or four owners would ever be the first.
        """
        self._turn += 1
        return self.ranked_in_turn(nodes, lane)

    def ranked_in_turn(self, nodes: Sequence[NodeId], lane: Lane = Lane.READS) -> list[NodeId]:
        """The same in the turn that was taken last: for those that are asked after the others."""
        if not nodes:
            return []
        offset = self._turn % len(nodes)
        turned = [*nodes[offset:], *nodes[:offset]]
        if self.suspicion.has_doubts:
            turned.sort(key=lambda node: self.suspicion.is_doubted(node, lane))
        return turned

    def usual_p95_s(self) -> float:
        """What the p95 of a node's reads usually is: one slow node does not move it."""
        known = sorted(latency.p95_s for latency in self._latencies.values())
        return known[len(known) // 2] if known else Latency().p95_s

    def tally(
        self, node: NodeId, request: Request, payload: Buffer | None, *, bulk: bool
    ) -> Tally | None:
        """Where a call is counted; None for what says nothing of a node's work."""
        lane = _LANES.get(request.__class__)
        if lane is None:
            return None
        if bulk or (payload is not None and len(payload) > PAYLOAD_SMALL_BYTES_MAX):
            lane += 1
        return self.suspicion.tallies(node)[lane]

    def is_doubted(self, node: NodeId, lane: Lane) -> bool:
        """Whether others are to be asked, or asked as well."""
        return self.suspicion.has_doubts and self.suspicion.is_doubted(node, lane)

    def overdue(self, nodes: Sequence[NodeId], lane: Lane) -> Sequence[NodeId]:
        """Which of the nodes that are waited for too long others shall stand in for now.

        Those in doubt; all of them while the budget for spares lasts.
        """
        for node in nodes:
            self.vigil.late(node, lane)
        if self.spares.spend():
            return nodes
        return [node for node in nodes if self.is_doubted(node, lane)]

    def is_tried_enough(self, node: NodeId, lane: Lane) -> bool:
        """Whether a node in doubt has so much to do for us that nothing more is sent to it."""
        tally = self.suspicion.tallies(node)[lane]
        return tally.doubted and tally.trials >= TRIALS_MAX[lane]

    def ask(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        live: LiveLayouts,
        timeout_s: float,
        bulk: bool = False,
    ) -> Awaitable[Answer]:
        """Call a node under the layouts that the operation lives by; see Transport.call."""
        return self._transport.call(
            node, request, payload, epochs=live.epochs, timeout_s=timeout_s, bulk=bulk
        )

    def _probe(
        self, node: NodeId, request: Request, *, bulk: bool
    ) -> asyncio.Future[Answer]:
        call = self.ask(node, request, live=self.live, timeout_s=PROBE_TIMEOUT_S, bulk=bulk)
        probe = asyncio.ensure_future(call)
        probe.add_done_callback(self._hear_probe)
        return probe

    def _hear_probe(self, probe: asyncio.Future[Answer]) -> None:
        if not probe.cancelled() and probe.exception() is None:
            self.hear(probe.result())

    def counts(self, answer: Answer) -> bool:
        """Rule 1."""
        return self.is_current(answer) and answer.voter

    def is_current(self, answer: Answer) -> bool:
        """Whether the life that answered is not known to be over."""
        return self.knowledge.counts(answer.node, answer.life)

    def hear(self, answer: Answer) -> None:
        """Learn what an answer says of lives; whoever makes a call does so as the answer comes."""
        if answer.peers is not None:
            self.knowledge.learn_all(answer.peers)
        self.knowledge.learn(answer.node, answer.life)

    async def under_layouts(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation, again from the start when a node knows newer layouts."""
        for _ in range(ATTEMPTS_PER_LAYOUT_CHANGE):
            try:
                return await operation()
            except WrongEpoch:
                continue  # what it taught is in force by now
        raise Unavailable("the layout kept changing while this was tried")

    async def teach_and_ask(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        live: LiveLayouts,
        timeout_s: float,
        bulk: bool = False,
    ) -> Answer:
        """Ask a node that refused because it knows older layouts: teach it first."""
        lesson = TeachLayouts(live.layouts)
        taught = await self.ask(node, lesson, live=live, timeout_s=TEACH_TIMEOUT_S)
        self.hear(taught)
        expect(taught, LayoutsReply)
        return await self.ask(node, request, payload, live=live, timeout_s=timeout_s, bulk=bulk)

    def note_error(self, node: NodeId, error: HoldfastError) -> None:
        """A call failed: raise WrongEpoch onwards, count what breaks the protocol."""
        if isinstance(error, WrongEpoch):
            raise error
        if isinstance(error, PeerProtocol):
            self.protocol_errors_total += 1
            tally = self.suspicion.tallies(node)[Lane.READS]
            if not tally.failures:
                log.warning("a node broke the protocol", node=node, error=error.detail)
            self.vigil.failed(tally)

    def learn_floor(self, partition: int, floor: int) -> None:
        """Remember a floor, so that the next put of the partition starts above it."""
        if floor > self.floors.get(partition, 0):
            self.floors[partition] = floor

    def learn_layouts(self, error: WrongEpoch, asked: LiveLayouts) -> None:
        """Adopt the newer layouts that a node answered a question under `asked` with.

        Raises PeerProtocol when they are none: nothing would come of starting over.
        """
        packed = error.facts.get("layouts")
        if not isinstance(packed, bytes):
            raise PeerProtocol("WrongEpoch without layouts")
        layouts = parse_layouts(unpack(packed))
        if layouts[0].cluster_id != self.live.cluster_id:
            raise PeerProtocol("WrongEpoch with layouts of another cluster")
        taught = LiveLayouts(layouts)
        if _age(taught) <= _age(asked):
            raise PeerProtocol(f"WrongEpoch with layouts {taught.epochs}, which are not newer")
        if _age(taught) > _age(self.live):
            log.info("layouts learnt", epochs=taught.epochs)
            self.live = taught


def _age(live: LiveLayouts) -> tuple[int, int]:
    """Orders sets of live layouts: (1,) < (1, 2) < (2,)."""
    return (live.epochs[-1], live.epochs[0])
