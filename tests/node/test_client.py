"""A node's store from afar: what is asked, and which answers are not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest

from node.client import NodeClient
from ring.digest import Buffer, Digest
from ring.errors import PeerProtocol, TooLarge, Unavailable
from ring.life import Life, NodeId
from ring.limits import CHUNK_BYTES, KEYS_PER_REQUEST_MAX, LIST_ENTRIES_MAX
from ring.listing import ListRecords, PageReply
from ring.messages import (
    Answer,
    ConfirmChunks,
    FlagsReply,
    GetRecord,
    RecordReply,
    Reply,
    Request,
    StatesReply,
    StatRecords,
)
from ring.record import ABSENT, RecordKey, RecordKind, RecordState, live

NODE = NodeId("n1")
KEY = RecordKey(Digest.of(b"x"))
HELD = RecordState(RecordKind.DATA, 1, live(1), held=True)


@dataclass(slots=True)
class Asked:
    request: Request
    epochs: tuple[int, ...]
    timeout_s: float
    background: bool
    bulk: bool


@dataclass
class CannedTransport:
    """Answers everything with the next of its replies."""

    replies: list[Reply]
    payload: bytes | None = None
    voter: bool = True
    asked: list[Asked] = field(default_factory=list)

    def call(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        epochs: tuple[int, ...],
        timeout_s: float,
        background: bool = False,
        bulk: bool = False,
    ) -> Awaitable[Answer]:
        assert node == NODE
        self.asked.append(Asked(request, epochs, timeout_s, background, bulk))
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        reply = self.replies.pop(0)
        answer.set_result(Answer(node, Life(1, 1, 1), self.voter, reply, self.payload))
        return answer


def client(transport: CannedTransport, **options: bool) -> NodeClient:
    return NodeClient(transport, NODE, lambda: (4, 5), 7.0, **options)


async def test_every_call_carries_epochs_deadline_and_class() -> None:
    transport = CannedTransport([RecordReply(ABSENT)])
    await client(transport, background=True, bulk=True).get(KEY)

    assert transport.asked == [Asked(GetRecord(KEY), (4, 5), 7.0, background=True, bulk=True)]


async def test_an_answer_of_a_node_that_may_not_vote_is_no_answer() -> None:
    transport = CannedTransport([RecordReply(ABSENT)], voter=False)

    with pytest.raises(Unavailable, match="n1"):
        await client(transport).get(KEY)


@pytest.mark.parametrize(("state", "payload"), [(HELD, None), (ABSENT, b"x")])
async def test_a_state_and_a_value_that_contradict_each_other_are_refused(
    state: RecordState, payload: bytes | None
) -> None:
    transport = CannedTransport([RecordReply(state)], payload)

    with pytest.raises(PeerProtocol, match="held"):
        await client(transport).get(KEY)


@pytest.mark.parametrize("states", [(), (HELD, HELD), (None,)])
async def test_too_few_or_too_many_states_are_refused(
    states: tuple[RecordState | None, ...],
) -> None:
    with pytest.raises(PeerProtocol, match="states for 1 keys"):
        await client(CannedTransport([StatesReply(states)])).stat([KEY])


async def test_another_kind_of_reply_is_refused() -> None:
    with pytest.raises(PeerProtocol, match="FlagsReply"):
        await client(CannedTransport([FlagsReply((True,))])).stat([KEY])


async def test_long_lists_are_asked_in_parts() -> None:
    count = KEYS_PER_REQUEST_MAX
    chunks = [KEY.digest] * (count + 1)
    states = CannedTransport([StatesReply((HELD,) * count), StatesReply((ABSENT,))])
    flags = CannedTransport([FlagsReply((True,) * count), FlagsReply((False,))])

    assert await client(states).stat([KEY] * (count + 1)) == [HELD] * count + [ABSENT]
    assert await client(flags).confirm(KEY.digest, chunks) == [True] * count + [False]
    assert [len(asked.request.keys) for asked in states.asked if isinstance(
        asked.request, StatRecords)] == [count, 1]
    assert [len(asked.request.chunks) for asked in flags.asked if isinstance(
        asked.request, ConfirmChunks)] == [count, 1]


async def test_flags_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PeerProtocol, match="2 flags for 1 chunks"):
        await client(CannedTransport([FlagsReply((True, True))])).confirm(KEY.digest, [KEY.digest])


async def test_nothing_is_asked_about_nothing() -> None:
    transport = CannedTransport([])

    assert await client(transport).stat([]) == []
    assert await client(transport).confirm(KEY.digest, []) == []
    assert not transport.asked


async def test_a_page_is_never_larger_than_the_protocol_allows() -> None:
    transport = CannedTransport([PageReply((), done=True)])
    await client(transport).page(None, 1_000_000, roots_only=True)

    request = transport.asked[0].request
    assert isinstance(request, ListRecords)
    assert request.limit == LIST_ENTRIES_MAX


async def test_a_value_that_no_record_holds_is_not_sent() -> None:
    transport = CannedTransport([])
    value = bytes(CHUNK_BYTES + 1)

    with pytest.raises(TooLarge):
        await client(transport).put_root(KEY, RecordKind.DATA, len(value), 1, value)
    with pytest.raises(TooLarge):
        await client(transport).put_chunk(KEY, None, value)
    assert not transport.asked
