"""What every Transport promises, on each of them."""

from __future__ import annotations

import asyncio

import pytest

from node.handler import Response
from ring.digest import Buffer
from ring.errors import DeadlineExceeded, HoldfastError, Unreachable, WrongEpoch, every_error
from ring.life import Life, NodeId
from ring.limits import CHUNK_BYTES, PAYLOAD_SMALL_BYTES_MAX
from ring.messages import (
    Answer,
    BuryRecord,
    GetRecord,
    PutReply,
    RecordReply,
    Request,
    StatesReply,
    StatRecords,
    expect,
)
from ring.record import ABSENT as NO_RECORD
from ring.seams import Transport
from tests.conformance.transports import ABSENT, NODE, WORLDS, SimWorld, TcpWorld
from tests.fakes.scripted_node import LIFE, ScriptedNode, key_of, put_of

World = TcpWorld | SimWorld
EPOCHS = (3, 4)
SIZES = (0, 1, PAYLOAD_SMALL_BYTES_MAX, PAYLOAD_SMALL_BYTES_MAX + 1, CHUNK_BYTES)


@pytest.fixture(params=list(WORLDS))
def world(request: pytest.FixtureRequest) -> World:
    return WORLDS[request.param]


async def ask(
    transport: Transport,
    request: Request,
    payload: Buffer | None = None,
    *,
    node: NodeId = NODE,
    timeout_s: float = 10.0,
    bulk: bool = False,
    background: bool = False,
) -> Answer:
    return await transport.call(
        node,
        request,
        payload,
        epochs=EPOCHS,
        timeout_s=timeout_s,
        bulk=bulk,
        background=background,
    )


def pattern(size_bytes: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(min(size_bytes, 4099))) * (size_bytes // 4099 + 1)


@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("bulk", [False, True])
def test_a_value_arrives_as_it_was_sent(world: World, size_bytes: int, bulk: bool) -> None:
    value = pattern(size_bytes)[:size_bytes]

    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        put = await ask(transport, put_of(value), value, bulk=bulk)
        got = await ask(transport, GetRecord(key_of(value)), bulk=bulk)

        assert expect(put, PutReply).answer.had is False
        assert node.values[key_of(value)] == value
        assert expect(got, RecordReply).state.size_bytes == size_bytes
        assert got.payload is not None
        assert bytes(got.payload) == value

    world.run(scenario)


def test_no_value_is_not_an_empty_value(world: World) -> None:
    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        node.values[key_of(b"")] = b""

        empty = await ask(transport, GetRecord(key_of(b"")))
        absent = await ask(transport, GetRecord(key_of(b"never put")))

        assert empty.payload == b""
        assert absent.payload is None
        assert expect(absent, RecordReply).state == NO_RECORD

    world.run(scenario)


def test_a_value_stays_as_it_is_while_others_arrive(world: World) -> None:
    values = [bytes([i]) * (PAYLOAD_SMALL_BYTES_MAX + 1 + i) for i in range(12)]

    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        for value in values:
            node.values[key_of(value)] = value
        kept = []
        for value in values:
            answer = await ask(transport, GetRecord(key_of(value)), bulk=True)
            assert answer.payload is not None
            kept.append(memoryview(answer.payload)[1:])

        assert [bytes(part) for part in kept] == [value[1:] for value in values]

    world.run(scenario)


def test_many_calls_at_once_each_get_their_own_answer(world: World) -> None:
    values = [f"value {i}".encode() for i in range(300)]

    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        puts = [ask(transport, put_of(value), value) for value in values]
        await asyncio.gather(*puts)
        gets = [ask(transport, GetRecord(key_of(value))) for value in values]
        answers = await asyncio.gather(*gets)

        assert [answer.payload for answer in answers] == values

    world.run(scenario)


def test_an_error_arrives_as_the_class_that_was_raised(world: World) -> None:
    facts: dict[str, str | int | bytes] = {"size_bytes": 7, "layouts": b"\x00\xff", "name": "a"}

    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        for kind in every_error():
            node.raises = kind("words for a person", **facts)
            with pytest.raises(HoldfastError) as caught:
                await ask(transport, BuryRecord(key_of(b""), 1))

            assert type(caught.value) is kind
            assert caught.value.detail == "words for a person"
            assert caught.value.facts == facts

    world.run(scenario)


def test_an_error_that_needs_no_waiting_arrives_too(world: World) -> None:
    def refuse(request: Request) -> Response | None:
        raise WrongEpoch("too old", layouts=b"packed")

    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        node.answers = refuse

        with pytest.raises(WrongEpoch, match="too old"):
            await ask(transport, GetRecord(key_of(b"")))

    world.run(scenario)


def test_a_call_ends_at_its_deadline(world: World) -> None:
    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        node.gate = asyncio.Event()

        with pytest.raises(DeadlineExceeded):
            await ask(transport, BuryRecord(key_of(b""), 1), timeout_s=0.05)
        node.gate.set()
        after = await ask(transport, GetRecord(key_of(b"")))

        assert after.node == NODE

    world.run(scenario)


def test_a_node_that_is_not_there_is_unreachable(world: World) -> None:
    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        with pytest.raises(Unreachable, match=ABSENT):
            await ask(transport, GetRecord(key_of(b"")), node=ABSENT)

    world.run(scenario)


def test_a_call_can_be_cancelled_and_others_go_on(world: World) -> None:
    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        node.gate = asyncio.Event()
        call = asyncio.ensure_future(ask(transport, BuryRecord(key_of(b""), 1)))
        await ask(transport, GetRecord(key_of(b"")))

        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        node.gate.set()
        after = await ask(transport, put_of(b"x"), b"x")

        assert isinstance(after.reply, PutReply)

    world.run(scenario)


def test_a_call_starts_when_it_is_made_not_when_it_is_awaited(world: World) -> None:
    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        calls = [
            asyncio.ensure_future(
                transport.call(NODE, put_of(value), value, epochs=EPOCHS, timeout_s=10.0)
            )
            for value in (b"one", b"two")
        ]
        await asyncio.gather(calls[1])

        assert key_of(b"two") in node.values
        await asyncio.gather(calls[0])

    world.run(scenario)


def test_the_node_hears_who_asks_and_by_which_layouts(world: World) -> None:
    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        await ask(transport, GetRecord(key_of(b"")))
        await ask(transport, put_of(b"x"), b"x", background=True)

        assert [(asker.name, asker.is_peer) for _, asker in node.asked] == [("gateway", False)] * 2
        assert [asker.epochs for _, asker in node.asked] == [EPOCHS, EPOCHS]

    world.run(scenario)


def test_requests_arrive_as_they_were_made(world: World) -> None:
    request = StatRecords(tuple(key_of(bytes([i])) for i in range(20)))

    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        node.answers = lambda request: Response(StatesReply((None, NO_RECORD)), None, voter=False)

        answer = await ask(transport, request)

        assert [asked for asked, _ in node.asked] == [request]
        assert expect(answer, StatesReply).states == (None, NO_RECORD)
        assert answer.voter is False

    world.run(scenario)


def test_every_answer_says_who_sent_it_and_whether_it_votes(world: World) -> None:
    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        first = await ask(transport, GetRecord(key_of(b"")))
        node.voter = False
        second = await ask(transport, put_of(b"x"), b"x")

        assert (first.node, first.life, first.voter) == (NODE, LIFE, True)
        assert (second.node, second.life, second.voter) == (NODE, LIFE, False)

    world.run(scenario)


def test_lives_of_others_come_along_once_and_again_when_they_change(world: World) -> None:
    later = Life(2, 1, 99)
    peers = ((NodeId("n2"), Life(1, 5, 3)), (NodeId("n3"), Life(4, 1, 2)))

    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        seen = [await ask(transport, GetRecord(key_of(b""))) for _ in range(2)]
        node.tell(LIFE, peers)
        seen += [await ask(transport, put_of(b"x"), b"x") for _ in range(2)]
        node.tell(later, peers)
        seen.append(await ask(transport, GetRecord(key_of(b""))))

        assert [answer.peers for answer in seen] == [(), None, peers, None, peers]
        assert [answer.life for answer in seen] == [LIFE, LIFE, LIFE, LIFE, later]

    world.run(scenario)


def test_what_a_late_answer_told_is_not_lost(world: World) -> None:
    peers = ((NodeId("n2"), Life(1, 5, 3)),)

    async def scenario(transport: Transport, node: ScriptedNode) -> None:
        await ask(transport, GetRecord(key_of(b"")))
        node.gate = asyncio.Event()
        call = asyncio.ensure_future(ask(transport, put_of(b"x"), b"x"))
        while not node.under_way:
            await asyncio.sleep(0.001)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        node.tell(LIFE, peers)
        node.gate.set()
        while node.under_way:
            await asyncio.sleep(0.001)
        answer = await ask(transport, GetRecord(key_of(b"")))

        assert answer.peers == peers

    world.run(scenario)
