"""What a transport over TCP does about nodes that are not what they should be."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from node.transport import Credentials, LinkSettings, TcpTransport
from ring.codec import HEADER, NO_PAYLOAD, encode_reply, frame, pack
from ring.errors import (
    DeadlineExceeded,
    NotAdmitted,
    PeerProtocol,
    Unauthenticated,
    Unreachable,
)
from ring.life import NodeId
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.messages import Answer, GetRecord, RecordReply
from ring.record import ABSENT as NO_RECORD
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.fakes.scripted_node import ScriptedNode, key_of
from tests.node.loops import LOOPS, NewLoop, run_on, until
from tests.node.raw_node import RawNode, raw_node
from tests.node.wire_world import CLUSTER, NODE, SECRET, asking, serving

GET = GetRecord(key_of(b""))
LARGE = b"v" * (PAYLOAD_SMALL_BYTES_MAX + 1)


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


def get(transport: TcpTransport, timeout_s: float = 10.0) -> asyncio.Future[Answer]:
    return transport.call(NODE, GET, epochs=(1,), timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("credentials", "error", "words"),
    [
        (Credentials.of_node(CLUSTER, NodeId("n2"), SECRET), NotAdmitted, "dialled node n1"),
        (Credentials.of_node(CLUSTER, NODE, b"other"), Unauthenticated, "did not prove"),
        (Credentials.of_node("c7", NODE, SECRET), NotAdmitted, "belongs to cluster c7"),
    ],
    ids=["another node", "another secret", "another cluster"],
)
def test_a_node_that_is_another_is_refused_in_words(
    new_loop: NewLoop, credentials: Credentials, error: type[Exception], words: str
) -> None:
    async def conduct(node: RawNode) -> None:
        try:
            await node.introduce(credentials)
        except NotAdmitted as refusal:
            node.fail(0, refusal)

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            with pytest.raises(error, match=words):
                await get(transport)
            with pytest.raises(error, match=words):
                await get(transport)

    run_on(new_loop, main())


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 80, frame(b"\xc1")]
)
def test_something_else_that_listens_there_is_told_apart(new_loop: NewLoop, data: bytes) -> None:
    async def conduct(node: RawNode) -> None:
        node.say(data)
        assert await node.heard_end()

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            with pytest.raises(PeerProtocol):
                await get(transport)

    run_on(new_loop, main())


NUMBER_OF_FIRST = 1
BAD_REPLIES = {
    "framing": HEADER.pack(0, 0),
    "no msgpack": frame(b"\xc1"),
    "no reply": frame(pack([NUMBER_OF_FIRST, GetRecord.op, True, None, []])),
    "op of later": frame(pack([NUMBER_OF_FIRST, 251, True, None, []])),
    "voter is a number": frame(pack([NUMBER_OF_FIRST, 4, 1, None, [1, 0, 0, 0, 0]])),
    "state too short": frame(pack([NUMBER_OF_FIRST, 4, True, None, [1]])),
    "sender is a number": frame(pack([NUMBER_OF_FIRST, 4, True, 5, [1, 0, 0, 0, 0]])),
    "error without facts": frame(pack([NUMBER_OF_FIRST, 0, "busy", "words", None])),
    "envelope too long": HEADER.pack(1 << 24, NO_PAYLOAD),
}


@pytest.mark.parametrize("data", BAD_REPLIES.values(), ids=BAD_REPLIES.keys())
def test_a_node_that_breaks_the_protocol_loses_its_connection(
    new_loop: NewLoop, data: bytes
) -> None:
    async def conduct(node: RawNode) -> None:
        await node.introduce()
        await node.hear()
        node.say(data)
        assert await node.heard_end()

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            calls = [get(transport), get(transport)]
            for call in calls:
                with pytest.raises(PeerProtocol):
                    await call
            assert transport.counters["protocol_violations_total"] == 1

    run_on(new_loop, main())


def test_an_error_code_of_a_later_release_is_an_error_all_the_same(new_loop: NewLoop) -> None:
    async def conduct(node: RawNode) -> None:
        await node.introduce()
        asked, _ = await node.hear()
        node.say(frame(pack([asked.request_id, 0, "melted", "it is hot", {}])))
        asked, _ = await node.hear()
        node.answer(asked.request_id, RecordReply(NO_RECORD))

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            with pytest.raises(PeerProtocol, match="it is hot"):
                await get(transport)
            assert (await get(transport)).reply == RecordReply(NO_RECORD)

    run_on(new_loop, main())


def test_answers_that_nobody_waits_for_are_dropped(new_loop: NewLoop) -> None:
    async def conduct(node: RawNode) -> None:
        await node.introduce()
        first, _ = await node.hear()
        second, _ = await node.hear()
        node.answer(first.request_id, RecordReply(NO_RECORD), LARGE)
        node.answer(987_654, RecordReply(NO_RECORD))
        node.answer(second.request_id, RecordReply(NO_RECORD), b"mine")
        node.answer(second.request_id, RecordReply(NO_RECORD), b"twice")
        await node.hear()

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            with pytest.raises(DeadlineExceeded):
                await get(transport, 0.03)
            assert (await get(transport)).payload == b"mine"
            await until(lambda: transport.counters["late_replies_total"] == 3)

    run_on(new_loop, main())


def test_answers_may_come_byte_by_byte(new_loop: NewLoop) -> None:
    async def conduct(node: RawNode) -> None:
        await node.introduce()
        for _ in range(2):
            asked, _ = await node.hear()
            envelope = encode_reply(
                asked.request_id, RecordReply(NO_RECORD), voter=True, sender=None
            )
            data = frame(envelope, 5) + b"value"
            for i in range(len(data)):
                node.say(data[i : i + 1])
                await asyncio.sleep(0)

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            for _ in range(2):
                assert (await get(transport)).payload == b"value"

    run_on(new_loop, main())


def test_what_a_node_said_before_it_hung_up_is_logged(new_loop: NewLoop) -> None:
    async def conduct(node: RawNode) -> None:
        await node.introduce()
        await node.hear()
        node.fail(0, PeerProtocol("you broke it"))

    async def main() -> None:
        async with raw_node(conduct) as listening, asking(listening.address) as transport:
            with pytest.raises(Unreachable):
                await get(transport)
            assert transport.counters["protocol_violations_total"] == 1

    run_on(new_loop, main())


@pytest.mark.parametrize("server_is_encrypted", [True, False])
def test_one_side_encrypted_and_the_other_not_is_unreachable(
    new_loop: NewLoop, server_is_encrypted: bool
) -> None:
    settings = LinkSettings(connect_timeout_s=1.0)

    async def main() -> None:
        async with (
            serving(ScriptedNode(), tls=server_is_encrypted) as (_, address),
            asking(address, tls=not server_is_encrypted, settings=settings) as transport,
        ):
            with pytest.raises((Unreachable, PeerProtocol)):
                await get(transport)

    run_on(new_loop, main())


def test_a_certificate_that_is_not_trusted_is_refused_in_words(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with serving(ScriptedNode(), tls=True) as (_, address):
            transport = TcpTransport(
                Credentials.of_gateway(CLUSTER, SECRET),
                lambda node: str(address),
                NumberedRandomness(),
                tls=ssl.create_default_context(),
            )
            with pytest.raises(Unreachable, match="certificate verify failed"):
                await get(transport)
            await transport.close()

    run_on(new_loop, main())
