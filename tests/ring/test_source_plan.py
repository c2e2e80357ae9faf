"""SourcePlan over every reachable state of up to four nodes."""

from collections.abc import Callable, Iterable
from functools import partial

import pytest

from ring.life import NodeId
from ring.source_plan import SourcePlan
from ring.write_quorum import Outcome
from tests.ring.exploring import explore

NODES = [NodeId(name) for name in "abcd"]
Step = tuple[str, Callable[["Driven"], None]]


class Driven:
    """A plan and the order in which it asked; each node is asked once."""

    __slots__ = ("asked", "broken", "late", "plan", "waiting")

    def __init__(self, plan: SourcePlan) -> None:
        self.plan = plan
        self.asked: list[NodeId] = []
        self.waiting: dict[NodeId, None] = {}
        self.late: set[NodeId] = set()
        self.broken: set[NodeId] = set()
        self.ask()

    def ask(self) -> None:
        for node in self.plan.next_targets():
            assert node not in self.asked
            self.asked.append(node)
            self.waiting[node] = None
        assert () == self.plan.next_targets()

    def deliver(self, node: NodeId) -> None:
        before = self.plan.source
        del self.waiting[node]
        self.late.discard(node)
        self.plan.delivered(node)
        assert (before or node) == self.plan.source
        self.ask()

    def fail(self, node: NodeId) -> None:
        del self.waiting[node]
        self.late.discard(node)
        self.broken.add(node)
        self.plan.failed(node)
        self.ask()

    def be_late(self, node: NodeId) -> None:
        self.late.add(node)
        self.plan.late(node)
        self.ask()


def steps(driven: Driven) -> Iterable[Step]:
    for node in driven.waiting:
        yield f"{node} delivers", partial(Driven.deliver, node=node)
        yield f"{node} fails", partial(Driven.fail, node=node)
        if node not in driven.late:
            yield f"{node} is late", partial(Driven.be_late, node=node)


def on_time(driven: Driven) -> list[NodeId]:
    return [node for node in driven.waiting if node not in driven.late]


@pytest.mark.parametrize(("count", "states"), [(0, 1), (1, 6), (2, 28), (3, 131), (4, 612)])
def test_every_reachable_state_keeps_the_invariants(count: int, states: int) -> None:
    nodes = NODES[:count]

    def check(driven: Driven, trace: tuple[str, ...]) -> None:
        assert driven.asked == nodes[: len(driven.asked)], trace
        assert len(on_time(driven)) <= 1, trace
        match driven.plan.outcome:
            case Outcome.PENDING:
                assert driven.plan.source is None, trace
                assert driven.waiting, trace
                # nobody is hurried along while somebody is on time
                assert on_time(driven) or driven.asked == nodes, trace
            case Outcome.COMMITTED:
                assert driven.plan.source is not None, trace
                assert driven.plan.source not in driven.broken, trace
            case Outcome.FAILED:
                assert driven.broken == set(nodes), trace

    assert states == explore(Driven(SourcePlan(nodes)), events=steps, check=check)


def test_the_best_node_is_asked_alone() -> None:
    plan = SourcePlan(NODES)

    assert ("a",) == plan.next_targets()
    assert () == plan.next_targets()


def test_a_late_node_may_still_deliver() -> None:
    plan = SourcePlan(NODES)
    plan.next_targets()
    plan.late(NODES[0])
    assert ("b",) == plan.next_targets()
    plan.delivered(NODES[0])

    assert "a" == plan.source
    plan.delivered(NODES[1])
    assert "a" == plan.source


def test_a_node_is_late_only_while_it_is_waited_for() -> None:
    plan = SourcePlan(NODES)
    plan.late(NODES[0])
    plan.next_targets()

    assert () == plan.next_targets()
