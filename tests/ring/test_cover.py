"""Cover over every reachable state of small shapes, and the order of spares and owners."""

from collections.abc import Callable, Collection, Iterable
from functools import partial

import pytest

from ring.cover import Cover
from ring.life import NodeId
from ring.quorum import Group, Placement
from ring.record import NO_ROOT, Root, is_live, live
from ring.write_quorum import Outcome
from tests.ring.exploring import explore
from tests.ring.test_quorum import group_of

ROOTS = (NO_ROOT, live(1))
A, B, C, D = (NodeId(name) for name in "abcd")
MOVING = Placement((Group((A, B), (C,)), Group((B, C), (A,))))
WIDENING = Placement((Group((A, B)), Group((A, B, C), (D,))))
Step = tuple[str, Callable[[Cover], None]]


def one_layout(owners: int, spares: int) -> Placement:
    return Placement((group_of(owners, spares),))


def step(act: Callable[..., None], *arguments: object) -> Callable[[Cover], None]:
    def apply(cover: Cover) -> None:
        act(cover, *arguments)
        for node in cover.next_targets():
            assert not is_live(cover.answers.get(node, NO_ROOT))

    return apply


def steps(cover: Cover) -> Iterable[Step]:
    for node in cover.in_flight:
        for root in ROOTS:
            yield f"{node} answers {root}", step(Cover.answered, node, root)
        yield f"{node} fails", step(Cover.failed, node)
        if node not in cover.late_nodes:
            yield f"{node} is late", step(Cover.late, node)


def steps_of_many_lives(cover: Cover) -> Iterable[Step]:
    yield from steps(cover)
    for node in cover.answers:
        yield f"{node} is superseded", step(Cover.superseded, node)


def outcome_of(cover: Cover) -> Outcome:
    return cover.outcome  # a call, so that the type checker expects it to change


def starts(placement: Placement) -> list[Cover]:
    """One machine for each number of owners to ask at first that makes a difference."""
    covers = [Cover(placement, first=first) for first in range(1, len(placement.owners) + 1)]
    for cover in covers:
        cover.next_targets()
    return covers


def check(cover: Cover, trace: tuple[str, ...]) -> None:
    check_against(cover, trace, cover.placement.is_cover)


def check_that_it_lasts(cover: Cover, trace: tuple[str, ...]) -> None:
    """What a delete is acknowledged on is met by every put, and outlives as many disks as one."""
    placement = cover.placement
    check_against(
        cover, trace, lambda nodes: placement.is_cover(nodes) and placement.is_ack_set(nodes)
    )


def check_against(
    cover: Cover, trace: tuple[str, ...], is_enough: Callable[[Collection[NodeId]], bool]
) -> None:
    match cover.outcome:
        case Outcome.PENDING:
            assert cover.in_flight, trace
        case Outcome.COMMITTED:
            assert is_enough(cover.answers), trace
        case Outcome.FAILED:
            lost = set(cover.failures) - set(cover.answers)
            assert not is_enough(set(cover.placement.eligible) - lost), trace
    assert cover.newest == max(cover.answers.values(), default=NO_ROOT), trace
    assert not set(cover.late_nodes) - set(cover.in_flight), trace


def check_one_life(cover: Cover, trace: tuple[str, ...]) -> None:
    check(cover, trace)
    assert not set(cover.answers) & set(cover.failures), trace


# Numbers of reachable states: they change with the machine, and with nothing else.
@pytest.mark.parametrize(
    ("placement", "states"),
    [
        (one_layout(1, 0), 5),
        (one_layout(2, 0), 28),
        (one_layout(2, 1), 189),
        (one_layout(3, 0), 135),
        (one_layout(3, 1), 1_213),
        (one_layout(3, 2), 7_241),
        (one_layout(4, 1), 8_588),
        (MOVING, 135),
        (WIDENING, 1_213),
    ],
)
def test_every_reachable_state_keeps_the_invariants(placement: Placement, states: int) -> None:
    assert states == explore(*starts(placement), events=steps, check=check_one_life)


@pytest.mark.parametrize(
    ("placement", "states"),
    [
        (one_layout(1, 0), 5),
        (one_layout(2, 0), 25),
        (one_layout(2, 1), 185),
        (one_layout(3, 1), 1_182),
        (one_layout(4, 0), 625),
        (MOVING, 125),
    ],
)
def test_every_reachable_state_of_what_must_last_keeps_them(
    placement: Placement, states: int
) -> None:
    start = Cover(placement, must_last=True)
    start.next_targets()
    assert states == explore(start, events=steps, check=check_that_it_lasts)


@pytest.mark.parametrize(
    ("placement", "states"),
    [
        (one_layout(1, 0), 5),
        (one_layout(2, 1), 435),
        (one_layout(3, 0), 135),
        (one_layout(3, 1), 4_607),
        (MOVING, 135),
        (WIDENING, 4_607),
    ],
)
def test_every_reachable_state_keeps_them_when_lives_end(placement: Placement, states: int) -> None:
    assert states == explore(*starts(placement), events=steps_of_many_lives, check=check)


def test_all_owners_saying_no_needs_no_spare() -> None:
    group = group_of(3, 2)
    cover = Cover(Placement((group,)))
    for node in cover.next_targets():
        cover.answered(node, NO_ROOT)

    assert cover.outcome is Outcome.COMMITTED


def test_a_spares_no_voids_the_noes_owners_gave_before_it() -> None:
    group = group_of(3, 2)
    cover = Cover(Placement((group,)))
    first, second, third = cover.next_targets()
    cover.answered(first, NO_ROOT)
    cover.answered(second, NO_ROOT)
    cover.failed(third)

    assert group.spares == cover.next_targets()
    for spare in group.spares:
        cover.answered(spare, NO_ROOT)
    assert outcome_of(cover) is Outcome.PENDING
    assert (first, second) == cover.next_targets()
    cover.answered(first, NO_ROOT)
    assert outcome_of(cover) is Outcome.PENDING
    cover.answered(second, live(1))
    assert outcome_of(cover) is Outcome.COMMITTED
    assert live(1) == cover.newest


def test_a_spares_no_voids_no_live_answer() -> None:
    group = group_of(3, 1)
    cover = Cover(Placement((group,)))
    first, second, third = cover.next_targets()
    cover.answered(first, live(1))
    cover.answered(second, NO_ROOT)
    cover.failed(third)
    (spare,) = cover.next_targets()
    cover.answered(spare, NO_ROOT)

    assert (second,) == cover.next_targets()
    cover.answered(second, NO_ROOT)
    assert outcome_of(cover) is Outcome.COMMITTED


def test_a_dead_owner_is_not_waited_for_when_a_spares_no_voids_the_others() -> None:
    group = group_of(3, 1)
    cover = Cover(Placement((group,)))
    dead, second, third = cover.next_targets()
    cover.answered(second, NO_ROOT)
    cover.answered(third, NO_ROOT)
    cover.late(dead)
    assert group.spares == cover.next_targets()
    cover.answered(group.spares[0], NO_ROOT)

    assert (second, third) == cover.next_targets()
    cover.answered(second, NO_ROOT)
    assert outcome_of(cover) is Outcome.PENDING
    cover.answered(third, NO_ROOT)
    assert outcome_of(cover) is Outcome.COMMITTED


class Move:
    """A read while a copy moves from a spare to an owner and another holder is silent.

    read: what each node that is asked has found, None before it looked.  Between a question, the
    look and the answer anything may happen.
    """

    __slots__ = ("arrived", "cover", "dropped", "read")

    def __init__(self, cover: Cover) -> None:
        self.cover = cover
        self.arrived = False
        self.dropped = False
        self.read: dict[NodeId, Root | None] = {}
        self.ask()

    @property
    def silent(self) -> NodeId:
        return self.cover.placement.owners[0]

    def ask(self) -> None:
        self.read.update(dict.fromkeys(self.cover.next_targets()))

    def arrive(self) -> None:
        self.arrived = True

    def drop(self) -> None:
        self.dropped = True

    def look(self, node: NodeId) -> None:
        placement = self.cover.placement
        has = (node == placement.spares[0] and not self.dropped) or (
            node == placement.owners[1] and self.arrived
        )
        self.read[node] = live(1) if has else NO_ROOT

    def deliver(self, node: NodeId) -> None:
        root = self.read.pop(node)
        assert root is not None
        self.cover.answered(node, root)
        self.ask()

    def break_off(self, node: NodeId) -> None:
        del self.read[node]
        self.cover.failed(node)
        self.ask()

    def be_late(self, node: NodeId) -> None:
        self.cover.late(node)
        self.ask()


def moves(move: Move) -> Iterable[tuple[str, Callable[[Move], None]]]:
    if not move.arrived:
        yield "the copy arrives", Move.arrive
    elif not move.dropped:
        yield "the spare drops its own", Move.drop
    for node, root in move.read.items():
        if node not in move.cover.late_nodes:
            yield f"{node} is late", partial(Move.be_late, node=node)
        if node == move.silent:
            yield f"{node} breaks off", partial(Move.break_off, node=node)
        elif root is None:
            yield f"{node} looks", partial(Move.look, node=node)
        else:
            yield f"{node} answers", partial(Move.deliver, node=node)


@pytest.mark.parametrize(("owners", "spares", "states"), [(3, 1, 1_980), (3, 2, 11_000)])
def test_a_copy_on_its_way_from_spare_to_owner_is_never_missed(
    owners: int, spares: int, states: int
) -> None:
    def check_found(move: Move, trace: tuple[str, ...]) -> None:
        if move.cover.outcome is Outcome.PENDING:
            assert move.read, trace
        else:
            assert move.cover.outcome is Outcome.COMMITTED, trace
            assert is_live(move.cover.newest), trace

    start = Move(Cover(one_layout(owners, spares)))
    assert states == explore(start, events=moves, check=check_found)
