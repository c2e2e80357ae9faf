"""Decide one replicated write.  No sockets, no clock, no tasks.

Rules:
1.  Every way in which a write can succeed or fail is in this file.
2.  The driver sends to what `next_targets` names, and reports each of them exactly once with
    `acked` or `failed`; `late` may come before that.
3.  Owners are sent to at once; one spare joins for each node that failed or is late, and more when
    those that joined are spares of one of two live layouts only.
4.  Acks of a life that is over do not count (`superseded`); the node then counts as failed.
5.  A node that the driver passes over is replaced by a spare, and named again only when no ack set
    is possible without it.

Invariants: pending implies that something is in flight; committed never un-commits; failed implies
that nothing in flight or untried could still complete an ack set.
"""

from __future__ import annotations

import enum

from ring.life import NodeId
from ring.quorum import Placement


class Outcome(enum.Enum):
    """How a plan stands."""

    PENDING = "pending"
    COMMITTED = "committed"
    FAILED = "failed"


class WriteQuorum:
    """One write of one record at one generation.

    outcome: committed once an ack set answered; failed once none can.
    """

    __slots__ = ("_passed_over", "_untried_owners", "_untried_spares", "acks", "failures",
                 "in_flight", "late_nodes", "outcome", "placement")

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self._untried_owners = list(placement.owners)
        self._untried_spares = list(placement.spares)
        self._passed_over: list[NodeId] = []
        self.in_flight: dict[NodeId, None] = {}
        self.late_nodes: dict[NodeId, None] = {}
        self.acks: dict[NodeId, None] = {}
        self.failures: dict[NodeId, None] = {}
        self.outcome = Outcome.PENDING

    def next_targets(self) -> tuple[NodeId, ...]:
        """Nodes to send to now; each is named once."""
        if not (self._untried_owners or self._untried_spares or self._passed_over):
            return ()
        if self.outcome is not Outcome.PENDING:
            return ()
        targets = self._untried_owners
        self._untried_owners = []
        if self._passed_over and not self.placement.is_ack_set(self._expected()):
            targets += self._passed_over
            self._passed_over = []
        wanted = len(self.failures) + len(self.late_nodes) + len(self._passed_over)
        used = sum(node not in self._untried_spares for node in self.placement.spares)
        while self._untried_spares and wanted and (used < wanted or self._needs_more(targets)):
            targets.append(self._untried_spares.pop(0))
            used += 1
        self.in_flight.update(dict.fromkeys(targets))
        return tuple(targets)

    def acked(self, node: NodeId) -> None:
        """The node holds the record durably at this write's generation."""
        self._settle(node)
        self.acks[node] = None
        if self.placement.is_ack_set(self.acks):
            self.outcome = Outcome.COMMITTED

    def failed(self, node: NodeId) -> None:
        """The node refused, broke off, is a receiver, or did not answer in time."""
        self._settle(node)
        self._lose(node)

    def late(self, node: NodeId) -> None:
        """The node is slower than usual; a spare may join while it is waited for."""
        if node in self.in_flight:
            self.late_nodes[node] = None

    def pass_over(self, node: NodeId) -> None:
        """In place of sending to a node that was named: others shall do, if they can."""
        self._settle(node)
        self._passed_over.append(node)

    def superseded(self, node: NodeId) -> None:
        """A later life of a node that acked was heard of, before the write was committed."""
        if self.outcome is not Outcome.COMMITTED and node in self.acks:
            del self.acks[node]
            self._lose(node)

    def _settle(self, node: NodeId) -> None:
        assert node in self.in_flight, node
        del self.in_flight[node]
        self.late_nodes.pop(node, None)

    def _lose(self, node: NodeId) -> None:
        self.failures[node] = None
        if self.outcome is Outcome.PENDING and not self.placement.is_ack_set(self._hopeful()):
            self.outcome = Outcome.FAILED

    def _hopeful(self) -> set[NodeId]:
        untried = (*self._untried_owners, *self._untried_spares, *self._passed_over)
        return {*self.acks, *self.in_flight, *untried}

    def _needs_more(self, targets: list[NodeId]) -> bool:
        """Whether those who may soon have acked are no ack set, and more spares would make one."""
        is_ack_set = self.placement.is_ack_set
        likely = {*self._likely(), *targets}
        return not is_ack_set(likely) and is_ack_set({*likely, *self._untried_spares})

    def _expected(self) -> set[NodeId]:
        """Nodes that acked or may well do so soon."""
        return {*self._likely(), *self._untried_owners, *self._untried_spares}

    def _likely(self) -> set[NodeId]:
        return {*self.acks, *(node for node in self.in_flight if node not in self.late_nodes)}
