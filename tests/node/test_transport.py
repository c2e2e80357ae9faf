"""What a transport over TCP does beyond the suite: bounds, broken connections, bad nodes."""

from __future__ import annotations

import asyncio

import pytest

from node.transport import Credentials, LinkSettings, TcpTransport
from ring.errors import Busy, DeadlineExceeded, Unreachable
from ring.life import NodeId
from ring.limits import CHUNK_BYTES, KIB, PAYLOAD_SMALL_BYTES_MAX
from ring.messages import Answer, GetRecord, PutReply, RecordReply
from ring.record import ABSENT as NO_RECORD
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.fakes.scripted_node import ScriptedNode, key_of, put_of
from tests.node.loops import LOOPS, NewLoop, run_on, until
from tests.node.raw_node import RawNode, raw_node
from tests.node.wire_world import ABSENT, CLUSTER, FAST_RETRIES, NODE, SECRET, asking, serving

GET = GetRecord(key_of(b""))
LARGE = b"v" * (PAYLOAD_SMALL_BYTES_MAX + 1)
NEVER = "127.0.0.1:1"


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


def get(transport: TcpTransport, timeout_s: float = 10.0) -> asyncio.Future[Answer]:
    return transport.call(NODE, GET, epochs=(1,), timeout_s=timeout_s)


def put(
    transport: TcpTransport, value: bytes | bytearray, timeout_s: float = 10.0
) -> asyncio.Future[Answer]:
    request = put_of(bytes(value))
    return transport.call(NODE, request, value, epochs=(1,), timeout_s=timeout_s)


async def deaf(node: RawNode) -> None:
    """Welcomes askers and answers nothing."""
    await node.introduce()
    await asyncio.sleep(60)


async def answering(node: RawNode) -> None:
    await node.introduce()
    while True:
        asked, _ = await node.hear()
        node.answer(asked.request_id, RecordReply(NO_RECORD))


# --- bounds ---------------------------------------------------------------------------------------


def test_unacknowledged_bytes_to_a_node_have_a_bound(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    settings = LinkSettings(unacknowledged_bytes_max=300 * KIB)
    value = b"v" * (100 * KIB)

    async def main() -> None:
        node.gate = asyncio.Event()
        async with (
            serving(node) as (_, address),
            asking(address, settings=settings) as transport,
        ):
            calls = [put(transport, value) for _ in range(3)]
            with pytest.raises(Busy, match="not acknowledged"):
                await put(transport, b"one more")
            await get(transport)
            node.gate.set()
            await asyncio.gather(*calls)
            await put(transport, value)
            assert transport.counters["busy_total"] == 1

    run_on(new_loop, main())


@pytest.mark.parametrize("ending", ["deadline", "cancel", "loss"])
def test_bytes_are_free_again_however_a_call_ends(new_loop: NewLoop, ending: str) -> None:
    settings = LinkSettings(unacknowledged_bytes_max=CHUNK_BYTES, retry_s_min=0.01)
    value = b"v" * CHUNK_BYTES

    async def conduct(node: RawNode) -> None:
        await node.introduce()
        if ending == "loss":
            await node.hear()
        else:
            await asyncio.sleep(60)

    async def main() -> None:
        async with (
            raw_node(conduct) as listening,
            asking(listening.address, settings=settings) as transport,
        ):
            for _ in range(3):
                call = put(transport, value, 0.05 if ending == "deadline" else 10.0)
                if ending == "cancel":
                    await asyncio.sleep(0.01)
                    call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                if ending == "loss":
                    assert isinstance(call.exception(), Unreachable)
                if ending == "deadline":
                    assert isinstance(call.exception(), DeadlineExceeded)

    run_on(new_loop, main())


def test_calls_under_way_have_a_bound(new_loop: NewLoop) -> None:
    settings = LinkSettings(calls_max=3)

    async def main() -> None:
        async with (
            raw_node(deaf) as listening,
            asking(listening.address, settings=settings) as transport,
        ):
            calls = [get(transport) for _ in range(3)]
            with pytest.raises(Busy, match="under way"):
                await get(transport)
            calls[0].cancel()
            assert not get(transport).done()

    run_on(new_loop, main())


def test_no_time_left_is_said_without_asking(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with raw_node(deaf) as listening, asking(listening.address) as transport:
            with pytest.raises(DeadlineExceeded):
                await get(transport, 0.0)
            assert listening.accepted == 0

    run_on(new_loop, main())


# --- whose memory it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["cancel", "deadline"])
def test_once_a_call_is_over_its_buffer_may_be_used_again(new_loop: NewLoop, ending: str) -> None:
    """What the node reads later is what was asked to be sent, or it is not sent at all."""
    values = [bytes([i]) * CHUNK_BYTES for i in range(1, 5)]
    read: list[bytes | None] = []
    may_read: list[asyncio.Event] = []

    async def conduct(node: RawNode) -> None:
        await node.introduce()
        await may_read[0].wait()
        asked, payload = await node.hear()
        while asked.request != GET:
            read.append(payload)
            asked, payload = await node.hear()
        node.answer(asked.request_id, RecordReply(NO_RECORD))

    async def main() -> None:
        may_read.append(asyncio.Event())
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            buffers = [bytearray(value) for value in values]
            timeout_s = 0.1 if ending == "deadline" else 10.0
            calls = [put(transport, buffer, timeout_s) for buffer in buffers]
            await asyncio.sleep(0.05)
            if ending == "cancel":
                for call in calls:
                    call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            for buffer in buffers:
                buffer[:] = bytes(len(buffer))
            may_read[0].set()
            await transport.call(NODE, GET, epochs=(1,), timeout_s=10.0, bulk=True)
            assert 1 <= len(read) < len(values)
            assert read == values[: len(read)]

    run_on(new_loop, main())


# --- connections ----------------------------------------------------------------------------------


def test_each_class_of_traffic_has_a_connection(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with serving(ScriptedNode()) as (server, address), asking(address) as transport:
            await get(transport)
            await put(transport, b"small")
            assert server.connections == 1
            await put(transport, LARGE)
            await transport.call(NODE, GET, epochs=(), timeout_s=5.0, bulk=True)
            assert server.connections == 2
            await transport.call(NODE, GET, epochs=(), timeout_s=5.0, background=True)
            await transport.call(
                NODE, put_of(LARGE), LARGE, epochs=(), timeout_s=5.0, background=True
            )
            assert server.connections == 3

    run_on(new_loop, main())


def test_calls_that_wait_for_a_connection_share_it(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with raw_node(answering) as listening, asking(listening.address) as transport:
            await asyncio.gather(*(get(transport) for _ in range(50)))
            assert listening.accepted == 1

    run_on(new_loop, main())


def test_a_broken_connection_fails_its_calls_and_the_next_call_connects(
    new_loop: NewLoop,
) -> None:
    async def conduct(node: RawNode) -> None:
        await node.introduce()
        asked, _ = await node.hear()
        node.answer(asked.request_id, RecordReply(NO_RECORD))
        await node.hear()

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            for turn in range(1, 4):
                await get(transport)
                with pytest.raises(Unreachable, match="n1: the connection broke"):
                    await get(transport)
                assert listening.accepted == turn

    run_on(new_loop, main())


def test_a_node_that_is_down_fails_calls_at_once_until_it_is_back(new_loop: NewLoop) -> None:
    async def main() -> None:
        settings = LinkSettings(retry_s_min=0.2, retry_s_max=0.2)
        async with serving(ScriptedNode()) as (_, address):
            pass
        async with asking(address, settings=settings) as transport:
            with pytest.raises(Unreachable, match="cannot connect"):
                await get(transport)
            again = get(transport)
            assert again.done()
            assert isinstance(again.exception(), Unreachable)
            async with serving(ScriptedNode(), port=address.port):
                await until(lambda: not refused(transport))

    run_on(new_loop, main())


def refused(transport: TcpTransport) -> bool:
    call = get(transport)
    return call.done() and call.exception() is not None


def test_attempts_end_when_nobody_asks_any_more(new_loop: NewLoop) -> None:
    async def conduct(node: RawNode) -> None:
        node.hang_up()

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            for _ in range(3):
                with pytest.raises(Unreachable):
                    await get(transport)
            await asyncio.sleep(0.2)
            accepted = listening.accepted
            await asyncio.sleep(0.2)
            assert listening.accepted == accepted

    run_on(new_loop, main())


def test_a_node_that_accepts_and_says_nothing_is_unreachable(new_loop: NewLoop) -> None:
    settings = LinkSettings(connect_timeout_s=0.05)
    ended: list[bool] = []

    async def conduct(node: RawNode) -> None:
        ended.append(await node.heard_end())

    async def main() -> None:
        async with (
            raw_node(conduct) as listening,
            asking(listening.address, settings=settings) as transport,
        ):
            with pytest.raises(Unreachable, match=r"did not answer within 0\.05 s"):
                await get(transport)
            async with asyncio.timeout(5):
                await until(lambda: ended == [True])  # nothing is left open behind it

    run_on(new_loop, main())


@pytest.mark.parametrize("written", [None, "nonsense", "a..b:70", "127.0.0.1:1", "[::1]:1"])
def test_an_address_that_leads_nowhere_is_unreachable(
    new_loop: NewLoop, written: str | None
) -> None:
    async def main() -> None:
        transport = TcpTransport(
            Credentials.of_gateway(CLUSTER, SECRET),
            lambda node: written,
            NumberedRandomness(),
            settings=FAST_RETRIES,
        )
        with pytest.raises(Unreachable, match=NODE):
            await get(transport)
        await transport.close()

    run_on(new_loop, main())


def test_a_node_that_moves_is_found_at_its_new_address(new_loop: NewLoop) -> None:
    addresses = {NODE: NEVER}

    async def main() -> None:
        transport = TcpTransport(
            Credentials.of_gateway(CLUSTER, SECRET),
            addresses.get,
            NumberedRandomness(),
            settings=FAST_RETRIES,
        )
        with pytest.raises(Unreachable):
            await get(transport)
        async with serving(ScriptedNode()) as (_, address):
            addresses[NODE] = str(address)
            await until(lambda: not refused(transport))
            await transport.close()

    run_on(new_loop, main())


def test_closing_fails_what_is_under_way_and_all_that_follows(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with raw_node(deaf) as listening, asking(listening.address) as transport:
            connected, waiting = get(transport), transport.call(
                ABSENT, GET, epochs=(), timeout_s=5.0
            )
            await until(lambda: listening.accepted == 1)
            await transport.close()
            for call in (connected, waiting, get(transport), put(transport, LARGE)):
                with pytest.raises(Unreachable):
                    await call

    run_on(new_loop, main())


def test_a_peer_is_known_by_the_name_it_proved(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    peer = Credentials.of_node(CLUSTER, NodeId("n4"), SECRET)

    async def main() -> None:
        async with serving(node) as (_, address), asking(address, credentials=peer) as transport:
            assert isinstance((await put(transport, b"x")).reply, PutReply)
            assert (node.asked[0][1].name, node.asked[0][1].is_peer) == ("n4", True)

    run_on(new_loop, main())
