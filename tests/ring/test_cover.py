"""Cover over every reachable state of small shapes, and the order of spares and owners."""

from collections.abc import Callable, Iterable

import pytest

from ring.cover import Cover
from ring.quorum import Placement
from ring.record import NO_ROOT, Root, is_live, live
from ring.write_quorum import Outcome
from tests.ring.exploring import explore
from tests.ring.test_quorum import group_of

SHAPES = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 1)]
ROOTS = (NO_ROOT, live(1))
Step = tuple[str, Callable[[Cover], None]]


def step(act: Callable[..., None], *arguments: object) -> Callable[[Cover], None]:
    def apply(cover: Cover) -> None:
        act(cover, *arguments)
        cover.next_targets()

    return apply


def steps(cover: Cover) -> Iterable[Step]:
    for node in cover.in_flight:
        for root in ROOTS:
            yield f"{node} answers {root}", step(Cover.answered, node, root)
        yield f"{node} fails", step(Cover.failed, node)
        if node not in cover.late_nodes:
            yield f"{node} is late", step(Cover.late, node)


def outcome_of(cover: Cover) -> Outcome:
    return cover.outcome  # a call, so that the type checker expects it to change


@pytest.mark.parametrize(("owners", "spares"), SHAPES)
@pytest.mark.parametrize("first", [None, 1, 2])
def test_every_reachable_state_keeps_the_invariants(
    owners: int, spares: int, first: int | None
) -> None:
    placement = Placement((group_of(owners, spares),))
    start = Cover(placement, first=first)
    start.next_targets()

    def check(cover: Cover, trace: tuple[str, ...]) -> None:
        match cover.outcome:
            case Outcome.PENDING:
                assert cover.in_flight, trace
            case Outcome.COMMITTED:
                assert placement.is_cover(cover.answers), trace
            case Outcome.FAILED:
                assert not placement.is_cover(set(placement.eligible) - set(cover.failures)), trace
        assert not set(cover.answers) & set(cover.failures), trace

    assert explore(start, events=steps, check=check, shared=(placement,)) > owners


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


def test_a_copy_on_its_way_from_spare_to_owner_is_never_missed() -> None:
    """In every order of answers, with the copy moving at any moment between them."""
    group = group_of(3, 1)
    placement = Placement((group,))
    spare, target = group.spares[0], group.owners[1]

    def run(moves_after: int, silent: int) -> Root | None:
        holder = spare
        cover = Cover(placement)
        asked = 0
        while cover.outcome is Outcome.PENDING:
            for node in cover.next_targets():
                if asked == moves_after:
                    holder = target
                asked += 1
                if node == group.owners[silent]:
                    cover.failed(node)
                else:
                    cover.answered(node, live(1) if node == holder else NO_ROOT)
        return cover.newest if cover.outcome is Outcome.COMMITTED else None

    for moves_after in range(10):
        for silent in (0, 2):
            newest = run(moves_after, silent)
            assert newest is not None
            assert is_live(newest), (moves_after, silent)
