"""Nodes in doubt are passed over by covers, reads and writes: never wrongly, never for ever.

The driver passes a node over at most once in an operation, the first time that it is named while it
is in doubt; doubt may arise at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product

import pytest

from ring.cover import Cover
from ring.life import NodeId
from ring.quorum import Placement
from ring.read_plan import ReadPlan, Verdict
from ring.record import NO_ROOT, is_live
from ring.write_quorum import Outcome, WriteQuorum
from tests.ring.exploring import explore
from tests.ring.test_cover import Move, moves
from tests.ring.test_quorum import group_of
from tests.ring.test_read_plan import DEAD, GOOD, NO, SILENT, Truth
from tests.ring.test_write_quorum import LEAVING


def one_layout(owners: int, spares: int) -> Placement:
    return Placement((group_of(owners, spares),))


# --- covers ---------------------------------------------------------------------------------------


class DoubtfulMove(Move):
    """A copy moves from a spare to an owner while nodes come into doubt."""

    __slots__ = ("doubted", "passed")

    def __init__(self, cover: Cover, doubted: tuple[NodeId, ...]) -> None:
        self.doubted = dict.fromkeys(doubted)
        self.passed: dict[NodeId, None] = {}
        super().__init__(cover)

    def ask(self) -> None:
        while targets := self.cover.next_targets():
            for node in targets:
                if node in self.doubted and node not in self.passed:
                    self.passed[node] = None
                    self.cover.pass_over(node)
                    continue
                self.read[node] = None
                if node in self.doubted:
                    self.cover.late(node)


def doubt(move: DoubtfulMove, node: NodeId) -> None:
    move.doubted[node] = None


@pytest.mark.parametrize(("owners", "spares", "doubts"), [(3, 1, 2), (2, 2, 1)])
def test_a_copy_on_its_way_is_never_missed_whoever_is_passed_over(
    owners: int, spares: int, doubts: int
) -> None:
    placement = one_layout(owners, spares)

    def events(move: DoubtfulMove) -> Iterable[tuple[str, Callable[[DoubtfulMove], None]]]:
        yield from moves(move)
        if len(move.doubted) < doubts:
            for node in placement.eligible:
                if node not in move.doubted and node not in move.passed:
                    yield f"{node} comes into doubt", partial(doubt, node=node)

    def check(move: DoubtfulMove, trace: tuple[str, ...]) -> None:
        if move.cover.outcome is Outcome.PENDING:
            assert move.read, trace
        else:
            assert move.cover.outcome is Outcome.COMMITTED, trace
            assert is_live(move.cover.newest), trace

    assert explore(DoubtfulMove(Cover(placement), ()), events=events, check=check) > 1_000


# --- reads ----------------------------------------------------------------------------------------


class DoubtfulRead:
    """A read, what its nodes are, and who is in doubt."""

    __slots__ = ("asked", "doubted", "heard", "passed", "plan", "waiting")

    def __init__(self, plan: ReadPlan, doubted: tuple[NodeId, ...]) -> None:
        self.plan = plan
        self.doubted = dict.fromkeys(doubted)
        self.passed: dict[NodeId, None] = {}
        self.waiting: dict[NodeId, bool] = {}
        self.asked: dict[NodeId, None] = {}
        self.heard: dict[NodeId, None] = {}
        self.ask()

    def ask(self) -> None:
        while asks := self.plan.next_asks():
            for node, wants_bytes in asks:
                if node in self.doubted and node not in self.passed:
                    self.passed[node] = None
                    self.plan.pass_over(node)
                    continue
                self.waiting[node] = wants_bytes
                self.asked[node] = None
                if node in self.doubted:
                    self.plan.late(node)

    def answer(self, node: NodeId, truth: Truth | None) -> None:
        wants_bytes = self.waiting.pop(node)
        if truth is None:
            self.plan.failed(node)
        else:
            self.heard[node] = None
            intact = truth.intact and wants_bytes
            held = truth.held and (intact or not wants_bytes)
            self.plan.answered(node, truth.root, held=held, intact=intact)
        self.ask()

    def hedge(self, node: NodeId) -> None:
        self.plan.late(node)
        self.ask()

    def doubt(self, node: NodeId) -> None:
        self.doubted[node] = None


@pytest.mark.parametrize("wants_bytes", [True, False])
@pytest.mark.parametrize(
    ("owners", "spares"), [(1, 0), (2, 0), (3, 0), (4, 0), (2, 1), (3, 1), (3, 2)]
)
def test_a_read_ends_and_is_right_whoever_is_passed_over(
    owners: int, spares: int, wants_bytes: bool
) -> None:
    placement = one_layout(owners, spares)
    eligible = placement.eligible
    every = list(product((SILENT, NO, GOOD, DEAD), repeat=len(eligible)))
    for shape in every[:: max(1, len(every) // 60)]:
        truths = dict(zip(eligible, shape, strict=True))
        for doubted in ((), eligible[:1], eligible[1:3], eligible):
            plan = ReadPlan(placement, wants_bytes=wants_bytes)
            _explore_read(DoubtfulRead(plan, doubted), truths)


def _explore_read(start: DoubtfulRead, truths: dict[NodeId, Truth | None]) -> None:
    placement = start.plan._cover.placement  # noqa: SLF001 - of the machine under test
    answering = [node for node, truth in truths.items() if truth is not None]
    roots = {node: truth.root for node, truth in truths.items() if truth is not None}

    def events(read: DoubtfulRead) -> Iterable[tuple[str, Callable[[DoubtfulRead], None]]]:
        for node in list(read.waiting)[:2]:
            yield f"{node} answers", partial(DoubtfulRead.answer, node=node, truth=truths[node])
            if truths[node] is None and node not in read.plan._cover.late_nodes:  # noqa: SLF001 - as above
                yield f"{node} is late", partial(DoubtfulRead.hedge, node=node)
        for node in placement.owners[:1]:
            if node not in read.doubted:
                yield f"{node} comes into doubt", partial(DoubtfulRead.doubt, node=node)

    def check(read: DoubtfulRead, trace: tuple[str, ...]) -> None:
        heard = list(read.heard)
        match read.plan.verdict:
            case Verdict.PENDING:
                assert read.waiting, trace
            case Verdict.MISS:
                assert placement.is_cover(heard), trace
                assert not is_live(max(roots[node] for node in heard)), trace
            case Verdict.SERVE:
                assert placement.is_ack_set(heard), trace
            case Verdict.UNAVAILABLE:
                silent = [node for node in truths if truths[node] is None]
                assert silent, trace
                if all(root == NO_ROOT for root in roots.values()):
                    assert not placement.is_cover(answering), trace
            case Verdict.SERVE_UNCONFIRMED:
                assert not placement.is_ack_set(answering), trace

    explore(start, events=events, check=check)


# --- writes ---------------------------------------------------------------------------------------


class DoubtfulWrite:
    """A write, and who is in doubt."""

    __slots__ = ("doubted", "passed", "quorum")

    def __init__(self, quorum: WriteQuorum, doubted: tuple[NodeId, ...]) -> None:
        self.quorum = quorum
        self.doubted = dict.fromkeys(doubted)
        self.passed: dict[NodeId, None] = {}
        self.send()

    def send(self) -> None:
        while targets := self.quorum.next_targets():
            for node in targets:
                if node in self.doubted and node not in self.passed:
                    self.passed[node] = None
                    self.quorum.pass_over(node)
                elif node in self.doubted:
                    self.quorum.late(node)

    def tell(self, act: Callable[[WriteQuorum, NodeId], None], node: NodeId) -> None:
        act(self.quorum, node)
        self.send()


@pytest.mark.parametrize(
    "placement",
    [
        *(one_layout(*shape) for shape in ((1, 0), (2, 1), (3, 0), (3, 1), (3, 2), (5, 0))),
        LEAVING,
    ],
)
def test_a_write_ends_and_fails_only_when_nobody_is_left(placement: Placement) -> None:
    eligible = placement.eligible

    def events(write: DoubtfulWrite) -> Iterable[tuple[str, Callable[[DoubtfulWrite], None]]]:
        for node in write.quorum.in_flight:
            yield f"{node} acks", partial(DoubtfulWrite.tell, act=WriteQuorum.acked, node=node)
            yield f"{node} fails", partial(DoubtfulWrite.tell, act=WriteQuorum.failed, node=node)
            if node not in write.quorum.late_nodes:
                yield f"{node} is late", partial(
                    DoubtfulWrite.tell, act=WriteQuorum.late, node=node
                )

    def check(write: DoubtfulWrite, trace: tuple[str, ...]) -> None:
        quorum = write.quorum
        match quorum.outcome:
            case Outcome.PENDING:
                assert quorum.in_flight, trace
            case Outcome.COMMITTED:
                assert placement.is_ack_set(quorum.acks), trace
            case Outcome.FAILED:
                assert not placement.is_ack_set(set(eligible) - set(quorum.failures)), trace

    starts = {doubted: doubted for count in range(len(eligible) + 1)
              for doubted in (eligible[:count], eligible[count:])}
    for doubted in starts:
        write = DoubtfulWrite(WriteQuorum(placement), doubted)
        explore(write, events=events, check=check)
