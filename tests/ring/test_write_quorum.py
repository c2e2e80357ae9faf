"""WriteQuorum over every reachable state of small shapes."""

from collections.abc import Callable, Iterable

import pytest

from ring.life import NodeId
from ring.quorum import Placement
from ring.write_quorum import Outcome, WriteQuorum
from tests.ring.exploring import explore
from tests.ring.test_quorum import group_of

SHAPES = [(1, 0), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 1), (5, 0)]
Step = tuple[str, Callable[[WriteQuorum], None]]


def outcome_of(quorum: WriteQuorum) -> Outcome:
    return quorum.outcome  # a call, so that the type checker expects it to change


def sent(quorum: WriteQuorum) -> WriteQuorum:
    quorum.next_targets()
    return quorum


def step(act: Callable[..., None], node: NodeId) -> Callable[[WriteQuorum], None]:
    def apply(quorum: WriteQuorum) -> None:
        act(quorum, node)
        quorum.next_targets()

    return apply


def steps(quorum: WriteQuorum) -> Iterable[Step]:
    for node in quorum.in_flight:
        yield f"acked {node}", step(WriteQuorum.acked, node)
        yield f"failed {node}", step(WriteQuorum.failed, node)
        if node not in quorum.late_nodes:
            yield f"late {node}", step(WriteQuorum.late, node)
    if quorum.outcome is Outcome.PENDING:
        for node in quorum.acks:
            yield f"superseded {node}", step(WriteQuorum.superseded, node)


@pytest.mark.parametrize(("owners", "spares"), SHAPES)
def test_every_reachable_state_keeps_the_invariants(owners: int, spares: int) -> None:
    placement = Placement((group_of(owners, spares),))

    def check(quorum: WriteQuorum, trace: tuple[str, ...]) -> None:
        names = [*quorum.in_flight, *quorum.acks, *quorum.failures]
        assert len(names) == len(set(names)), trace
        match quorum.outcome:
            case Outcome.PENDING:
                assert quorum.in_flight, trace
                assert not placement.is_ack_set(quorum.acks), trace
            case Outcome.COMMITTED:
                assert placement.is_ack_set(quorum.acks), trace
            case Outcome.FAILED:
                untouched = set(placement.eligible) - set(quorum.failures)
                assert not placement.is_ack_set(untouched), trace
        assert quorum.next_targets() == (), trace

    states = explore(
        sent(WriteQuorum(placement)), events=steps, check=check
    )

    assert states > owners


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
