"""ReadPlan over every reachable state: nodes are given fixed truths and answer in any order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from random import Random

import pytest

from ring.life import NodeId
from ring.quorum import Placement
from ring.read_plan import ReadPlan, Verdict
from ring.record import NO_ROOT, Root, dead, is_live, live
from tests.ring.exploring import explore
from tests.ring.test_quorum import group_of

Step = tuple[str, Callable[["Driven"], None]]


@dataclass(frozen=True)
class Truth:
    """What a node would answer."""

    root: Root
    held: bool
    intact: bool


SILENT = None
NO = Truth(NO_ROOT, held=False, intact=False)
GOOD = Truth(live(1), held=True, intact=True)
BAD = Truth(live(1), held=True, intact=False)
DEAD = Truth(dead(1), held=False, intact=False)
AGAIN = Truth(live(2), held=True, intact=True)  # deleted and put again
LOST = Truth(live(1), held=False, intact=False)  # its copy went to quarantine
Truths = tuple[Truth | None, ...]
Shape = dict[NodeId, Truth | None]
USUAL: Truths = (SILENT, NO, GOOD, BAD, DEAD)
FEW: Truths = (SILENT, NO, GOOD, DEAD)
UNUSUAL: Truths = (SILENT, GOOD, DEAD, AGAIN, LOST)


class Driven:
    """A plan and what became of its questions.

    waiting: nodes that were asked, and whether for their bytes.  told: what nodes turned out to
    be; a node that is asked twice is the same both times.  overtaken: nodes that answered, and of
    which a later life was heard.  spoilt: nodes that sent bytes that are wrong.
    """

    __slots__ = ("late", "overtaken", "plan", "spoilt", "told", "waiting")

    def __init__(self, plan: ReadPlan) -> None:
        self.plan = plan
        self.waiting: dict[NodeId, bool] = {}
        self.late: set[NodeId] = set()
        self.told: dict[NodeId, Truth | None] = {}
        self.overtaken: set[NodeId] = set()
        self.spoilt: set[NodeId] = set()
        self.ask()

    @property
    def heard(self) -> dict[NodeId, Truth]:
        """What was answered and still counts."""
        return {
            node: truth
            for node, truth in self.told.items()
            if truth is not None and node not in self.overtaken
        }

    def ask(self) -> None:
        for node, wants_bytes in self.plan.next_asks():
            assert node not in self.waiting
            assert not (wants_bytes and node in self.spoilt)
            self.waiting[node] = wants_bytes

    def answer(self, node: NodeId, truth: Truth | None) -> None:
        wants_bytes = self.waiting.pop(node)
        self.late.discard(node)
        self.overtaken.discard(node)
        self.told[node] = truth
        if truth is None:
            self.plan.failed(node)
        else:
            intact = truth.intact and wants_bytes
            held = truth.held and (intact or not wants_bytes)
            if truth.held and not held:
                self.spoilt.add(node)
            self.plan.answered(node, truth.root, held=held, intact=intact)
        self.ask()

    def hedge(self, node: NodeId) -> None:
        self.late.add(node)
        self.plan.late(node)
        self.ask()

    def overtake(self, node: NodeId) -> None:
        self.overtaken.add(node)
        self.plan.superseded(node)
        self.ask()


def step(act: Callable[..., None], *arguments: object) -> Callable[[Driven], None]:
    return lambda driven: act(driven, *arguments)


class Shapes:
    """All that the nodes could be, or every `stride`th of it.

    Only what was asked tells shapes apart, so that one walk visits the states of all of them.
    """

    def __init__(self, nodes: tuple[NodeId, ...], truths: Truths, stride: int) -> None:
        shapes = list(product(truths, repeat=len(nodes)))[::stride]
        self._every = [dict(zip(nodes, shape, strict=True)) for shape in shapes]
        self._known: dict[frozenset[tuple[NodeId, Truth | None]], list[Shape]] = {}

    def fitting(self, driven: Driven) -> list[Shape]:
        """Those that agree with what was told."""
        told = frozenset(driven.told.items())
        if told not in self._known:
            self._known[told] = [shape for shape in self._every if told <= shape.items()]
        return self._known[told]

    def steps(self, driven: Driven) -> Iterable[Step]:
        """Whatever may happen next."""
        for node in driven.waiting:
            for truth in dict.fromkeys(shape[node] for shape in self.fitting(driven)):
                yield f"{node} is {truth}", step(Driven.answer, node, truth)
            if node not in driven.late:
                yield f"{node} is late", step(Driven.hedge, node)


    def steps_of_many_lives(self, driven: Driven) -> Iterable[Step]:
        """Likewise, and nodes that answered start again."""
        yield from self.steps(driven)
        for node in driven.heard:
            yield f"{node} starts again", step(Driven.overtake, node)


# Number of pairs of a reachable state and what all nodes are, heard of or not.  Whoever changes the
# machine changes these; whoever did not and sees another number has lost states.
@pytest.mark.parametrize(
    ("shape", "wants_bytes", "truths", "stride", "pairs"),
    [
        ((1, 0), True, USUAL, 1, 15),
        ((1, 0), False, USUAL, 1, 15),
        ((2, 0), True, USUAL, 1, 270),
        ((2, 0), False, USUAL, 1, 225),
        ((3, 0), True, USUAL, 1, 6_635),
        ((3, 0), False, USUAL, 1, 4_855),
        ((2, 1), True, USUAL, 1, 7_259),
        ((2, 1), False, USUAL, 1, 5_463),
        ((3, 1), True, USUAL, 17, 11_681),  # prime to 5, so that every truth meets every place
        ((3, 1), False, USUAL, 17, 7_230),
        ((3, 0), True, UNUSUAL, 1, 6_720),
        ((3, 0), False, UNUSUAL, 1, 4_850),
        ((2, 1), True, UNUSUAL, 1, 6_852),
        ((2, 1), False, UNUSUAL, 1, 4_974),
    ],
)
def test_every_order_of_answers_ends_in_an_allowed_verdict(
    shape: tuple[int, int], wants_bytes: bool, truths: Truths, stride: int, pairs: int
) -> None:
    placement = Placement((group_of(*shape),))
    shapes = Shapes(placement.eligible, truths, stride)
    found = 0

    def check(driven: Driven, trace: tuple[str, ...]) -> None:
        nonlocal found
        fitting = shapes.fitting(driven)
        found += len(fitting)
        if driven.plan.verdict is Verdict.PENDING:
            assert driven.waiting, trace
            return
        check_heard(driven, placement, wants_bytes, trace)
        for everything in fitting:
            check_truth(driven.plan.verdict, placement, everything, wants_bytes, trace)

    start = Driven(ReadPlan(placement, wants_bytes=wants_bytes))
    explore(start, events=shapes.steps, check=check)

    assert pairs == found


@pytest.mark.parametrize(
    ("shape", "wants_bytes", "states"),
    [((2, 0), True, 138), ((3, 0), True, 3_015), ((3, 0), False, 1_319), ((2, 1), False, 5_899)],
)
def test_a_verdict_rests_on_answers_of_lives_that_are_not_over(
    shape: tuple[int, int], wants_bytes: bool, states: int
) -> None:
    placement = Placement((group_of(*shape),))

    def check(driven: Driven, trace: tuple[str, ...]) -> None:
        if driven.plan.verdict is Verdict.PENDING:
            assert driven.waiting, trace
        else:
            check_heard(driven, placement, wants_bytes, trace)

    start = Driven(ReadPlan(placement, wants_bytes=wants_bytes))
    shapes = Shapes(placement.eligible, FEW, 1)
    assert states == explore(start, events=shapes.steps_of_many_lives, check=check)


def check_heard(
    driven: Driven, placement: Placement, wants_bytes: bool, trace: tuple[str, ...]
) -> None:
    """The verdict follows from the answers that count."""
    heard = driven.heard
    newest = max((truth.root for truth in heard.values()), default=NO_ROOT)
    assert driven.plan.newest == newest, trace
    match driven.plan.verdict:
        case Verdict.MISS:
            assert placement.is_cover(heard), trace
            assert not is_live(newest), trace
        case Verdict.SERVE:
            assert placement.is_ack_set(heard), trace
            assert is_live(newest), trace
        case Verdict.SERVE_UNCONFIRMED:
            assert is_live(newest), trace
    if wants_bytes and driven.plan.verdict in {Verdict.SERVE, Verdict.SERVE_UNCONFIRMED}:
        source = driven.plan.source
        truth = None if source is None else driven.told[source]
        assert truth is not None, trace
        assert truth.intact, trace


def check_truth(
    verdict: Verdict,
    placement: Placement,
    truths: Shape,
    wants_bytes: bool,
    trace: tuple[str, ...],
) -> None:
    """The verdict is right whatever the nodes are that were not heard."""
    answering = {node: truth for node, truth in truths.items() if truth is not None}
    live_nodes = [node for node, truth in answering.items() if is_live(truth.root)]
    deliverable = [n for n, t in answering.items() if (t.intact if wants_bytes else t.held)]
    where = (truths, trace)
    match verdict:
        case Verdict.MISS:
            newest = max(truth.root for truth in answering.values())
            holders = [node for node in live_nodes if answering[node].root == newest]
            assert not placement.is_ack_set(holders), where
        case Verdict.SERVE:
            assert deliverable, where
        case Verdict.SERVE_UNCONFIRMED:
            assert not placement.is_ack_set(answering), where
            assert deliverable, where
        case Verdict.UNAVAILABLE:
            assert not all(truth == GOOD for truth in truths.values()), where
            if placement.is_cover(answering):
                assert live_nodes, where
            if is_live(max((truth.root for truth in answering.values()), default=NO_ROOT)):
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


def test_the_last_node_is_asked_when_the_others_are_silent() -> None:
    placement = Placement((group_of(3, 0),))
    driven = Driven(ReadPlan(placement, wants_bytes=True))
    truths = {NodeId("n0"): SILENT, NodeId("n1"): SILENT, NodeId("n2"): GOOD}
    while driven.waiting:
        node = next(iter(driven.waiting))
        driven.answer(node, truths[node])

    assert driven.plan.verdict is Verdict.SERVE_UNCONFIRMED


def test_a_tombstone_at_the_second_node_wins_over_the_copy_of_the_first() -> None:
    placement = Placement((group_of(3, 0),))
    driven = Driven(ReadPlan(placement, wants_bytes=True))
    assert {NodeId("n0"): True, NodeId("n1"): False} == driven.waiting
    driven.answer(NodeId("n0"), GOOD)
    driven.answer(NodeId("n1"), DEAD)

    assert driven.plan.verdict is Verdict.MISS


@pytest.mark.parametrize("spares", [1, 2])
def test_a_put_that_races_a_get_never_makes_it_unavailable(spares: int) -> None:
    """One node is silent; the others get the blob one by one, while they are asked."""
    for seed in range(2_000):
        rng = Random(seed)
        group = group_of(3, spares)
        silent = rng.choice(group.owners)
        driven = Driven(ReadPlan(Placement((group,)), wants_bytes=True))
        truths = dict.fromkeys(group.eligible, NO)
        while driven.waiting:
            node = rng.choice(list(driven.waiting))
            truths[rng.choice(group.owners)] = GOOD
            if node == silent:
                if node not in driven.late:
                    driven.hedge(node)
                elif len(driven.waiting) == 1:
                    driven.answer(node, SILENT)
            else:
                driven.answer(node, truths[node])

        assert driven.plan.verdict in {Verdict.SERVE, Verdict.MISS}, seed
