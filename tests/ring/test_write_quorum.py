"""WriteQuorum over every reachable state of small shapes."""

from collections.abc import Callable, Iterable

import pytest

from ring.life import NodeId
from ring.quorum import Group, Placement
from ring.write_quorum import Outcome, WriteQuorum
from tests.ring.exploring import explore
from tests.ring.test_quorum import group_of

A, B, C, D = (NodeId(name) for name in "abcd")
MOVING = Placement((Group((A, B), (C,)), Group((B, C), (A,))))
WIDENING = Placement((Group((A, B)), Group((A, B, C), (D,))))
LEAVING = Placement((Group((A, B), (C, D)), Group((A, B), (D,))))
Step = tuple[str, Callable[[WriteQuorum], None]]


def outcome_of(quorum: WriteQuorum) -> Outcome:
    return quorum.outcome  # a call, so that the type checker expects it to change


def sent(quorum: WriteQuorum) -> WriteQuorum:
    quorum.next_targets()
    return quorum


def wanting(quorum: WriteQuorum) -> set[NodeId]:
    """Nodes that a spare stands in for."""
    return {*quorum.failures, *quorum.late_nodes}


def used_spares(quorum: WriteQuorum) -> int:
    told = {*quorum.in_flight, *quorum.acks, *quorum.failures}
    return len(told & {*quorum.placement.spares})


def step(act: Callable[..., None], node: NodeId) -> Callable[[WriteQuorum], None]:
    def apply(quorum: WriteQuorum) -> None:
        before = quorum.outcome
        act(quorum, node)
        assert before in {Outcome.PENDING, quorum.outcome}
        if quorum.next_targets() and quorum.placement is not LEAVING:
            assert used_spares(quorum) <= len(wanting(quorum))

    return apply


def steps(quorum: WriteQuorum) -> Iterable[Step]:
    for node in quorum.in_flight:
        yield f"acked {node}", step(WriteQuorum.acked, node)
        yield f"failed {node}", step(WriteQuorum.failed, node)
        if node not in quorum.late_nodes:
            yield f"late {node}", step(WriteQuorum.late, node)
    for node in quorum.acks:
        yield f"superseded {node}", step(WriteQuorum.superseded, node)


def one_layout(owners: int, spares: int) -> Placement:
    return Placement((group_of(owners, spares),))


# Numbers of reachable states: they change with the machine, and with nothing else.
@pytest.mark.parametrize(
    ("placement", "states"),
    [
        (one_layout(1, 0), 4),
        (one_layout(1, 2), 49),
        (one_layout(2, 0), 16),
        (one_layout(2, 1), 64),
        (one_layout(3, 0), 64),
        (one_layout(3, 1), 266),
        (one_layout(3, 2), 1_086),
        (one_layout(4, 1), 1_044),
        (one_layout(5, 0), 1_024),
        (MOVING, 64),
        (WIDENING, 290),
        (LEAVING, 244),
    ],
)
def test_every_reachable_state_keeps_the_invariants(placement: Placement, states: int) -> None:
    def check(quorum: WriteQuorum, trace: tuple[str, ...]) -> None:
        names = [*quorum.in_flight, *quorum.acks, *quorum.failures]
        assert len(names) == len(set(names)), trace
        match quorum.outcome:
            case Outcome.PENDING:
                assert quorum.in_flight, trace
                spares = len(placement.spares)
                assert used_spares(quorum) >= min(spares, len(wanting(quorum))), trace
                assert not placement.is_ack_set(quorum.acks), trace
            case Outcome.COMMITTED:
                assert placement.is_ack_set(quorum.acks), trace
            case Outcome.FAILED:
                untouched = set(placement.eligible) - set(quorum.failures)
                assert not placement.is_ack_set(untouched), trace
        assert quorum.next_targets() == (), trace

    assert states == explore(sent(WriteQuorum(placement)), events=steps, check=check)


def test_a_spare_of_one_layout_only_does_not_stand_in_for_an_owner_of_both() -> None:
    quorum = sent(WriteQuorum(LEAVING))
    quorum.acked(A)
    quorum.failed(B)
    assert quorum.next_targets() == (C, D)
    quorum.acked(C)
    assert outcome_of(quorum) is Outcome.PENDING
    quorum.acked(D)
    assert outcome_of(quorum) is Outcome.COMMITTED


def test_owners_are_sent_to_at_once_and_a_spare_for_each_failure() -> None:
    group = group_of(3, 2)
    quorum = WriteQuorum(Placement((group,)))

    assert group.owners == quorum.next_targets()
    quorum.failed(group.owners[0])
    assert (group.spares[0],) == quorum.next_targets()
    quorum.failed(group.owners[1])
    assert (group.spares[1],) == quorum.next_targets()


def test_a_late_owner_brings_in_a_spare_and_may_still_ack() -> None:
    group = group_of(3, 1)
    quorum = WriteQuorum(Placement((group,)))
    quorum.next_targets()
    quorum.late(group.owners[0])

    assert group.spares == quorum.next_targets()
    quorum.acked(group.owners[0])
    quorum.acked(group.spares[0])
    assert outcome_of(quorum) is Outcome.COMMITTED


def test_spares_alone_never_commit() -> None:
    group = group_of(3, 2)
    quorum = WriteQuorum(Placement((group,)))
    quorum.next_targets()
    for owner in group.owners:
        quorum.failed(owner)
        for spare in quorum.next_targets():
            quorum.acked(spare)

    assert quorum.outcome is Outcome.FAILED
