"""Collect answers until a cover of nodes has spoken.  The rule behind every 404 and every DELETE.

Rules:
1.  Owners are asked first; spares only when an owner failed or is late.
2.  Copies move from spares to owners, so a spare's no voids the noes of owners that were asked
    before it answered: they are asked again once every spare has answered.
3.  A receiver, a fenced node and a node that was silent count alike: `failed`.
4.  A no is the answer that there is no live root; live answers are never voided.
5.  A node that the driver passes over is asked last, and only if there is no cover without it.

The driver sends to what `next_targets` names and reports each exactly once per naming.
Invariant: pending implies that something is in flight or that `next_targets` names somebody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ring.life import NodeId
from ring.quorum import Placement
from ring.record import NO_ROOT, Root, is_live
from ring.write_quorum import Outcome


class Cover:
    """The answers to one question, per node, and whether they are a cover.

    owners, spares: the placement's, in the order in which they shall be asked.
    first: how many owners to ask at first; the rest follow when those do not settle it.
    must_last: those that answered must be an ack set too, as for a write; of an even number of
        owners half are a cover, and may all be lost where puts would not be.
    """

    __slots__ = ("_again", "_denied_by_spare", "_first", "_must_last", "_owners", "_passed_over",
                 "_spares", "answers", "failures", "in_flight", "late_nodes", "placement")

    def __init__(
        self,
        placement: Placement,
        *,
        owners: Sequence[NodeId] | None = None,
        spares: Sequence[NodeId] | None = None,
        first: int | None = None,
        must_last: bool = False,
    ) -> None:
        self.placement = placement
        self._must_last = must_last
        self.answers: dict[NodeId, Root] = {}
        self.failures: dict[NodeId, None] = {}
        self.in_flight: dict[NodeId, None] = {}
        self.late_nodes: dict[NodeId, None] = {}
        self._owners = list(placement.owners if owners is None else owners)
        self._spares = list(placement.spares if spares is None else spares)
        self._first = len(self._owners) if first is None else first
        self._passed_over: list[NodeId] = []
        self._denied_by_spare = False
        self._again: dict[NodeId, None] = {}  # owners asked after the last spare had answered

    @property
    def newest(self) -> Root:
        """The highest root in any answer so far, voided ones included."""
        return max(self.answers.values(), default=NO_ROOT)

    @property
    def outcome(self) -> Outcome:
        """Committed once a cover has answered; failed once none can."""
        void = self._void_owners()
        if self._is_enough([node for node in self.answers if node not in void]):
            return Outcome.COMMITTED
        hopeful = {*self.answers, *self.in_flight, *self.untried}
        return Outcome.PENDING if self._is_enough(hopeful) else Outcome.FAILED

    def next_targets(self) -> tuple[NodeId, ...]:
        """Nodes to ask now, in order."""
        return self.widen() if self.outcome is Outcome.PENDING else ()

    def widen(self) -> tuple[NodeId, ...]:
        """The next nodes in order, even when a cover has answered; empty while waiting may do."""
        targets: list[NodeId] = []
        if self._passed_over and not self._may_do_without():
            targets, self._passed_over = self._passed_over, []
        elif self._first:
            targets, self._owners = self._owners[: self._first], self._owners[self._first :]
            self._first = 0
        elif self._owners and self._stuck():
            targets, self._owners = self._owners, []
        elif self._spares and not self._owners and self._stuck():
            targets, self._spares = self._spares, []
        elif not self._owners and not self._spares and self._only_late_ones_in_flight():
            void = self._void_owners() - {*self.in_flight}
            targets = [node for node in self.placement.owners if node in void]
            self._again.update(dict.fromkeys(targets))
        self.in_flight.update(dict.fromkeys(targets))
        return tuple(targets)

    def claim(self, node: NodeId) -> None:
        """The driver asks this node out of turn; it will not be named for a first time again."""
        self._owners = [owner for owner in self._owners if owner != node]
        self._spares = [spare for spare in self._spares if spare != node]
        self._passed_over = [other for other in self._passed_over if other != node]
        self.in_flight[node] = None

    @property
    def untried(self) -> tuple[NodeId, ...]:
        """Nodes that were not asked yet."""
        return (*self._owners, *self._spares, *self._passed_over)

    @property
    def passed_over(self) -> tuple[NodeId, ...]:
        """Nodes that are left out until there is no cover without them."""
        return tuple(self._passed_over)

    @property
    def waits_for_well_ones(self) -> bool:
        """Whether somebody is asked who may well answer soon."""
        return not self._only_late_ones_in_flight()

    def answered(self, node: NodeId, root: Root) -> None:
        """A voter answered with its root of the record, `NO_ROOT` when it has none."""
        self._settle(node)
        self.answers[node] = max(root, self.answers.get(node, NO_ROOT))
        if node not in self.placement.owners and not is_live(root):
            self._denied_by_spare = True
            self._again.clear()

    def failed(self, node: NodeId) -> None:
        """The node was silent, broke off, or may not vote."""
        self._settle(node)
        self.answers.pop(node, None)
        self.failures[node] = None

    def late(self, node: NodeId) -> None:
        """The node is slower than usual; others may be asked while it is waited for."""
        if node in self.in_flight:
            self.late_nodes[node] = None

    def pass_over(self, node: NodeId) -> None:
        """In place of asking a node that was named: others shall do, if they can."""
        self._settle(node)
        self._again.pop(node, None)  # it was not asked again after all: what it said stays void
        if node not in self.answers:
            self._passed_over.append(node)

    def superseded(self, node: NodeId) -> None:
        """A later life of a node that answered was heard of."""
        if self.answers.pop(node, None) is not None:
            self.failures[node] = None

    def _is_enough(self, nodes: Collection[NodeId]) -> bool:
        placement = self.placement
        return placement.is_both(nodes) if self._must_last else placement.is_cover(nodes)

    def _settle(self, node: NodeId) -> None:
        assert node in self.in_flight, node
        del self.in_flight[node]
        self.late_nodes.pop(node, None)

    def _stuck(self) -> bool:
        """Whether waiting for what is in flight may not settle it, or may take too long."""
        lost = self.failures or self.late_nodes or self._passed_over
        return not self.in_flight or bool(lost)

    def _may_do_without(self) -> bool:
        """Whether there may soon be a cover without those that were passed over.

        And an ack set, which a read of something live wants: of two copies one is a cover alone.
        """
        expected = [node for node in self.in_flight if node not in self.late_nodes]
        hopeful = {*self.answers, *expected, *self._owners, *self._spares}
        return self.placement.is_both(hopeful)

    def _only_late_ones_in_flight(self) -> bool:
        """Whether nobody is waited for but nodes that may be dead."""
        return all(node in self.late_nodes for node in self.in_flight)

    def _void_owners(self) -> set[NodeId]:
        if not self._denied_by_spare:
            return set()
        return {
            node
            for node in self.placement.owners
            if node in self.answers
            and not is_live(self.answers[node])
            and (node not in self._again or node in self.in_flight)
        }
