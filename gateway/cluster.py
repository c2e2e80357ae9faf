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
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import structlog

from gateway.latency import HedgeBudget, Latency
from ring.codec import unpack
from ring.control import LayoutsReply, TeachLayouts, parse_layouts
from ring.digest import Buffer, Digest
from ring.errors import HoldfastError, PeerProtocol, Unavailable, WrongEpoch
from ring.layout import Layout, LiveLayouts
from ring.life import Knowledge, NodeId
from ring.messages import Answer, Request, expect
from ring.quorum import Placement
from ring.seams import Transport

T = TypeVar("T")

ATTEMPTS_PER_LAYOUT_CHANGE: Final = 4
UNWELL_FAILURES: Final = 3
TEACH_TIMEOUT_S: Final = 5.0

log = structlog.get_logger()


class Cluster:
    """The gateway's view; one per process."""

    def __init__(self, transport: Transport, first: Layout) -> None:
        self.live = LiveLayouts((first,))
        self.knowledge = Knowledge()
        self.floors: dict[int, int] = {}
        self.hedges = HedgeBudget()
        self._transport = transport
        self._latencies: dict[NodeId, Latency] = {}
        self._turn = 0
        self._had_failures = False
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

    def ranked(self, nodes: Sequence[NodeId]) -> list[NodeId]:
        """Nodes in the order in which to ask them: well ones in turn, unwell ones last."""
        if not nodes:
            return []
        self._turn += 1
        offset = self._turn % len(nodes)
        turned = [*nodes[offset:], *nodes[:offset]]
        if self._had_failures:
            self._had_failures = any(
                latency.failures_in_a_row for latency in self._latencies.values()
            )
            turned.sort(key=self._is_unwell)
        return turned

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
        """A call failed: raise WrongEpoch onwards, remember the rest."""
        if isinstance(error, WrongEpoch):
            raise error
        latency = self.latency(node)
        if isinstance(error, PeerProtocol):
            self.protocol_errors_total += 1
            if not latency.failures_in_a_row:
                log.warning("a node broke the protocol", node=node, error=error.detail)
        self._had_failures = True
        latency.fail()

    def note_vote(self, node: NodeId) -> None:
        """A node did what it was asked to."""
        self.latency(node).failures_in_a_row = 0

    def note_votes(self, nodes: Sequence[NodeId]) -> None:
        """Several nodes did; costs nothing while all are well."""
        if self._had_failures:
            for node in nodes:
                self.note_vote(node)

    def note_no_vote(self, node: NodeId) -> None:
        """A node answered, but may not vote: as good as silent, so it is better asked last."""
        self._had_failures = True
        self.latency(node).fail()

    def has_failed(self, node: NodeId) -> bool:
        """Whether the last thing asked of it came to nothing."""
        return self.latency(node).failures_in_a_row > 0

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

    def _is_unwell(self, node: NodeId) -> bool:
        return self.latency(node).failures_in_a_row >= UNWELL_FAILURES


def _age(live: LiveLayouts) -> tuple[int, int]:
    """Orders sets of live layouts: (1,) < (1, 2) < (2,)."""
    return (live.epochs[-1], live.epochs[0])
