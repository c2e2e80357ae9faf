"""Decide one read of a blob: whom to ask, when a copy may be served, when a miss is a miss.

Rules:
1.  The bytes come from one node; the generation comes from an ack set's worth of answers, so that
    a newer tombstone wins.  The question for the generation travels beside the one for the bytes.
2.  A miss needs a cover of noes (`ring/cover.py`).
3.  When fewer than an ack set can answer, a verified live copy is served all the same and the
    response says so (`SERVE_UNCONFIRMED`).
4.  A copy that turned out bad still testifies to its root, never to its bytes.

The driver asks what `next_asks` names, and reports each exactly once per naming.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from ring.cover import Cover
from ring.life import NodeId
from ring.quorum import Placement
from ring.record import Root, is_live
from ring.write_quorum import Outcome


class Verdict(enum.Enum):
    """How a read stands."""

    PENDING = "pending"
    SERVE = "serve"
    SERVE_UNCONFIRMED = "serve unconfirmed"
    MISS = "miss"
    UNAVAILABLE = "unavailable"


class ReadPlan:
    """One GET (wants_bytes) or HEAD.

    owners, spares: the placement's, best first.
    """

    __slots__ = ("_cover", "_holders", "_ranked", "_served_by", "_tried", "_wants_bytes")

    def __init__(
        self,
        placement: Placement,
        *,
        wants_bytes: bool,
        owners: Sequence[NodeId] | None = None,
        spares: Sequence[NodeId] | None = None,
    ) -> None:
        first = max(group.write_quorum for group in placement.groups)
        self._cover = Cover(placement, owners=owners, spares=spares, first=first)
        self._ranked = (*(owners or placement.owners), *(spares or placement.spares))
        self._wants_bytes = wants_bytes
        self._holders: dict[NodeId, None] = {}  # said that they hold a copy
        self._tried: dict[NodeId, None] = {}  # were asked for a copy
        self._served_by: NodeId | None = None

    @property
    def source(self) -> NodeId | None:
        """Who delivered the bytes that hash right."""
        return self._served_by

    @property
    def newest(self) -> Root:
        """The highest root heard of."""
        return self._cover.newest

    @property
    def verdict(self) -> Verdict:
        """What the answers so far allow."""
        cover = self._cover
        if not is_live(cover.newest):
            return Verdict.PENDING if self._copy_may_turn_up() else _WHEN_NOT_LIVE[cover.outcome]
        if cover.placement.is_ack_set(cover.answers):
            return self._with_copy(Verdict.SERVE)
        if self._evidence_may_come():
            return Verdict.PENDING
        return self._with_copy(Verdict.SERVE_UNCONFIRMED)

    def next_asks(self) -> tuple[tuple[NodeId, bool], ...]:
        """Pairs of node and whether its bytes are wanted, to ask now."""
        if self.verdict is not Verdict.PENDING:
            return ()
        asks: list[tuple[NodeId, bool]] = []
        holder = next(iter(self._free_holders()), None) if self._wants_a_source() else None
        if holder is not None:
            asks.append(self._ask_for_copy(holder))
        asks.extend(
            self._ask_for_copy(node) if self._wants_a_source() else (node, False)
            for node in self._evidence_targets()
        )
        if self._wants_a_source():
            source = self._next_source()
            if source is not None:
                asks.append(self._ask_for_copy(source))
        return tuple(asks)

    def _ask_for_copy(self, node: NodeId) -> tuple[NodeId, bool]:
        self._tried[node] = None
        self._cover.claim(node)
        return (node, self._wants_bytes)

    def answered(self, node: NodeId, root: Root, *, held: bool, intact: bool) -> None:
        """A voter's answer.

        held: it says that it has a copy, and sent none that is bad.  intact: it sent bytes, and
            they hash to the digest.
        """
        self._cover.answered(node, root)
        if intact:
            self._served_by = self._served_by or node
        if held:
            self._holders[node] = None
            if self._wants_bytes and not intact:
                self._tried.pop(node, None)  # it had no copy when it was asked for one, now it has

    def failed(self, node: NodeId) -> None:
        """The node was silent, broke off, or may not vote."""
        self._cover.failed(node)

    def late(self, node: NodeId) -> None:
        """The node is slower than usual: hedge."""
        self._cover.late(node)

    def pass_over(self, node: NodeId) -> None:
        """In place of asking a node that was named: it is asked when nobody else will do."""
        self._cover.pass_over(node)
        self._tried.pop(node, None)

    def superseded(self, node: NodeId) -> None:
        """A later life of a node that answered was heard of."""
        self._cover.superseded(node)

    def _with_copy(self, good: Verdict) -> Verdict:
        if self._has_copy():
            return good
        if self._cover.in_flight or self._next_source() is not None:
            return Verdict.PENDING
        return Verdict.UNAVAILABLE

    def _has_copy(self) -> bool:
        """GET needs bytes that hash right; HEAD needs a node that says it has them."""
        return self._served_by is not None or (not self._wants_bytes and bool(self._holders))

    def _copy_may_turn_up(self) -> bool:
        """Too many are silent for a miss, but who was not heard yet may hold a copy (rule 3)."""
        cover = self._cover
        return cover.outcome is Outcome.FAILED and bool(cover.in_flight or cover.untried)

    def _evidence_may_come(self) -> bool:
        hopeful = {*self._cover.answers, *self._cover.in_flight, *self._cover.untried}
        return self._cover.placement.is_ack_set(hopeful)

    def _evidence_targets(self) -> tuple[NodeId, ...]:
        """More nodes for the generation, unless an ack set has answered and it is live."""
        cover = self._cover
        if not is_live(cover.newest):
            return cover.widen() if self._copy_may_turn_up() else cover.next_targets()
        return () if cover.placement.is_ack_set(cover.answers) else cover.widen()

    def _wants_a_source(self) -> bool:
        if self._has_copy():
            return False
        asked = [node for node in self._tried if node in self._cover.in_flight]
        return not asked or all(node in self._cover.late_nodes for node in asked)

    def _free_holders(self) -> list[NodeId]:
        return [node for node in self._free() if node in self._holders]

    def _free(self) -> list[NodeId]:
        """Nodes that may still be asked for bytes, best first."""
        cover = self._cover
        taken: tuple[NodeId, ...] = (*self._tried, *cover.failures, *cover.in_flight)
        if cover.waits_for_well_ones:
            taken += cover.passed_over
        return [node for node in self._ranked if node not in taken]

    def _next_source(self) -> NodeId | None:
        """Best node not yet asked for a copy: those that said they hold one first."""
        unknown = [node for node in self._free() if node not in self._cover.answers]
        return next(iter((*self._free_holders(), *unknown)), None)


_WHEN_NOT_LIVE = {
    Outcome.COMMITTED: Verdict.MISS,
    Outcome.PENDING: Verdict.PENDING,
    Outcome.FAILED: Verdict.UNAVAILABLE,
}
