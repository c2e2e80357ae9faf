"""ReadPlan over every reachable state: nodes are given fixed truths and answer in any order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import pytest

from ring.life import NodeId
from ring.quorum import Placement
from ring.read_plan import ReadPlan, Verdict
from ring.record import NO_ROOT, Root, dead, is_live, live
from tests.ring.exploring import explore
from tests.ring.test_quorum import group_of

Step = tuple[str, Callable[["Driven"], None]]


@dataclass
class Truth:
    """What a node would answer: None for a silent one."""

    root: Root
    held: bool
    intact: bool


SILENT = None
NO = Truth(NO_ROOT, held=False, intact=False)
GOOD = Truth(live(1), held=True, intact=True)
BAD = Truth(live(1), held=True, intact=False)
DEAD = Truth(dead(1), held=False, intact=False)
TRUTHS = (SILENT, NO, GOOD, BAD, DEAD)


class Driven:
    """A plan with the questions that are under way: node to whether its bytes are wanted."""

    def __init__(self, plan: ReadPlan) -> None:
        self.plan = plan
        self.waiting: dict[NodeId, bool] = {}
        self.late: set[NodeId] = set()
        self.ask()

    def ask(self) -> None:
        for node, wants_bytes in self.plan.next_asks():
            assert node not in self.waiting
            self.waiting[node] = wants_bytes

    def answer(self, node: NodeId, truth: Truth | None) -> None:
        wants_bytes = self.waiting.pop(node)
        self.late.discard(node)
        if truth is None:
            self.plan.failed(node)
        else:
            intact = truth.intact and wants_bytes
            held = truth.held and (intact or not wants_bytes)
            self.plan.answered(node, truth.root, held=held, intact=intact)
        self.ask()

    def hedge(self, node: NodeId) -> None:
        self.late.add(node)
        self.plan.late(node)
        self.ask()


def step(act: Callable[..., None], *arguments: object) -> Callable[[Driven], None]:
    return lambda driven: act(driven, *arguments)


def steps_for(truths: dict[NodeId, Truth | None]) -> Callable[[Driven], Iterable[Step]]:
    def steps(driven: Driven) -> Iterable[Step]:
        for node in driven.waiting:
            yield f"{node} answers", step(Driven.answer, node, truths[node])
            if node not in driven.late:
                yield f"{node} is late", step(Driven.hedge, node)

    return steps


@pytest.mark.parametrize(("owners", "spares"), [(1, 0), (2, 0), (3, 0), (2, 1), (3, 1)])
@pytest.mark.parametrize("wants_bytes", [True, False])
def test_every_order_of_answers_ends_in_an_allowed_verdict(
    owners: int, spares: int, wants_bytes: bool
) -> None:
    group = group_of(owners, spares)
    placement = Placement((group,))
    shapes = list(product(TRUTHS, repeat=owners + spares))
    if len(shapes) > 125:
        shapes = shapes[::17]  # 17 is prime to 5, so every truth meets every place
    for shape in shapes:
        truths = dict(zip(group.eligible, shape, strict=True))

        def check(
            driven: Driven,
            trace: tuple[str, ...],
            truths: dict[NodeId, Truth | None] = truths,
        ) -> None:
            verdict = driven.plan.verdict
            if verdict is Verdict.PENDING:
                assert driven.waiting, (truths, trace)
                return
            check_verdict(placement, truths, verdict, wants_bytes=wants_bytes, trace=trace)

        explore(
            Driven(ReadPlan(placement, wants_bytes=wants_bytes)),
            events=steps_for(truths),
            check=check,
            shared=(placement,),
        )


def check_verdict(
    placement: Placement,
    truths: dict[NodeId, Truth | None],
    verdict: Verdict,
    *,
    wants_bytes: bool,
    trace: tuple[str, ...],
) -> None:
    answering = {node: truth for node, truth in truths.items() if truth is not None}
    live_nodes = [node for node, truth in answering.items() if is_live(truth.root)]
    deliverable = [n for n, t in answering.items() if (t.intact if wants_bytes else t.held)]
    where = (truths, trace)
    match verdict:
        case Verdict.MISS:
            assert placement.is_cover(answering), where
            newest = max(truth.root for truth in answering.values())
            holders = [node for node in live_nodes if answering[node].root == newest]
            assert not placement.is_ack_set(holders), where
        case Verdict.SERVE:
            assert placement.is_ack_set(answering), where
            assert live_nodes, where
            assert deliverable, where
        case Verdict.SERVE_UNCONFIRMED:
            assert not placement.is_ack_set(answering), where
            assert live_nodes, where
            assert deliverable, where
        case Verdict.UNAVAILABLE:
            all_good = all(truth == GOOD for truth in truths.values())
            assert not all_good, where
            if placement.is_cover(answering):
                assert live_nodes, where
                assert not deliverable, where


def test_one_silent_owner_of_three_still_gives_a_miss() -> None:
    placement = Placement((group_of(3, 0),))
    driven = Driven(ReadPlan(placement, wants_bytes=True))
    truths = {NodeId("n0"): SILENT, NodeId("n1"): NO, NodeId("n2"): NO}
    while driven.waiting:
        node = next(iter(driven.waiting))
        driven.answer(node, truths[node])

    assert driven.plan.verdict is Verdict.MISS


def test_two_silent_owners_of_three_are_no_miss() -> None:
    placement = Placement((group_of(3, 0),))
    driven = Driven(ReadPlan(placement, wants_bytes=True))
    truths = {NodeId("n0"): SILENT, NodeId("n1"): NO, NodeId("n2"): SILENT}
    while driven.waiting:
        node = next(iter(driven.waiting))
        driven.answer(node, truths[node])

    assert driven.plan.verdict is Verdict.UNAVAILABLE


def test_a_tombstone_at_the_second_node_wins_over_the_copy_of_the_first() -> None:
    placement = Placement((group_of(3, 0),))
    driven = Driven(ReadPlan(placement, wants_bytes=True))
    assert {NodeId("n0"): True, NodeId("n1"): False} == driven.waiting
    driven.answer(NodeId("n0"), GOOD)
    driven.answer(NodeId("n1"), DEAD)

    assert driven.plan.verdict is Verdict.MISS
