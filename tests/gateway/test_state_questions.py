"""Questions for states travel together, and what comes back is given to whoever asked."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cluster import Cluster
from gateway.state_questions import StateQuestions
from ring.digest import Digest
from ring.errors import Busy
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.limits import KEYS_PER_REQUEST_MAX
from ring.messages import StatesReply, StatRecords
from ring.record import ABSENT, RecordKey, RecordKind, RecordState, live
from ring.suspicion import Lane
from tests.fakes.manual_transport import ManualCall, ManualTransport
from tests.fakes.small_cluster import next_layout, small_layout
from tests.fakes.virtual_time import in_virtual_time

A, B = NodeId("n0"), NodeId("n1")
ONE = small_layout(3, 3)
TWO = LiveLayouts((next_layout(ONE),))
PRESENT = RecordState(RecordKind.DATA, 4, live(1), held=True)


class Listening:
    """Who asked, and what it was told: states, and None for a failure."""

    def __init__(self) -> None:
        self.told: list[RecordState | None] = []

    def state_arrived(self, state: RecordState) -> None:
        self.told.append(state)

    def state_failed(self) -> None:
        self.told.append(None)


def made() -> tuple[ManualTransport, Cluster, StateQuestions]:
    transport = ManualTransport()
    cluster = Cluster(transport, ONE)
    return transport, cluster, StateQuestions(cluster, 4.0)


def key(number: int) -> RecordKey:
    return RecordKey(Digest.of(b"%d" % number))


def keys_of(call: ManualCall) -> tuple[RecordKey, ...]:
    assert isinstance(call.request, StatRecords)
    return call.request.keys


@in_virtual_time
async def test_each_is_told_of_its_own_record() -> None:
    transport, cluster, questions = made()
    first, second, other = Listening(), Listening(), Listening()
    questions.ask(A, cluster.live, key(1), first)
    questions.ask(B, cluster.live, key(1), other)
    questions.ask(A, cluster.live, key(2), second)
    await asyncio.sleep(0)
    assert [(call.node, keys_of(call)) for call in transport.calls] == [
        (A, (key(1), key(2))), (B, (key(1),))
    ]
    transport.last(A).answer(StatesReply((PRESENT, ABSENT)))
    transport.last(B).future.set_exception(Busy("full"))
    await asyncio.sleep(0)

    assert (first.told, second.told, other.told) == ([PRESENT], [ABSENT], [None])
    cluster.vigil.close()


@in_virtual_time
async def test_a_message_holds_no_more_than_it_may() -> None:
    transport, cluster, questions = made()
    listening = Listening()
    for number in range(KEYS_PER_REQUEST_MAX + 1):
        questions.ask(A, cluster.live, key(number), listening)
    await asyncio.sleep(0)

    assert [len(keys_of(call)) for call in transport.calls] == [KEYS_PER_REQUEST_MAX, 1]
    cluster.vigil.close()


@in_virtual_time
async def test_each_question_goes_under_the_layouts_that_its_operation_lives_by() -> None:
    transport, cluster, questions = made()
    before, after = Listening(), Listening()
    questions.ask(A, cluster.live, key(1), before)
    questions.ask(A, TWO, key(2), after)
    questions.ask(B, TWO, key(2), after)
    await asyncio.sleep(0)

    assert [(call.node, call.epochs, keys_of(call)) for call in transport.calls] == [
        (A, (1,), (key(1),)), (A, (2,), (key(2),)), (B, (2,), (key(2),))
    ]
    cluster.vigil.close()


@pytest.mark.parametrize("states", [(), (PRESENT,), (PRESENT, PRESENT, PRESENT)])
@in_virtual_time
async def test_an_answer_of_more_or_less_than_was_asked_says_nothing(
    states: tuple[RecordState, ...],
) -> None:
    transport, cluster, questions = made()
    listening = Listening()
    for number in range(2):
        questions.ask(A, cluster.live, key(number), listening)
    await asyncio.sleep(0)
    transport.last(A).answer(StatesReply(states))
    await asyncio.sleep(0)

    assert listening.told == [None, None]
    cluster.vigil.close()


@in_virtual_time
async def test_a_node_that_may_not_vote_does_not_do_well() -> None:
    transport, cluster, questions = made()
    listening = Listening()
    for number in range(3):
        questions.ask(A, cluster.live, key(number), listening)
        await asyncio.sleep(0)
        transport.last(A).answer(StatesReply((None,)), voter=False)
        await asyncio.sleep(0)

    assert listening.told == [None] * 3
    assert cluster.is_doubted(A, Lane.READS)
    cluster.vigil.close()
