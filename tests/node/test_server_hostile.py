"""What a server does with strangers and with peers that break the rules."""

from __future__ import annotations

import asyncio

import pytest

from node.handshake import AskerHandshake, ConnectionClass
from node.server import NodeServer, ServerSettings
from node.transport import Credentials
from ring.address import Address
from ring.codec import HEADER, NO_PAYLOAD, frame, pack
from ring.errors import Busy, NotAdmitted, Unauthenticated
from ring.limits import ENVELOPE_BYTES_MAX, PAYLOAD_BYTES_MAX
from ring.messages import BuryRecord, GetRecord, PutReply, RecordReply
from tests.fakes.scripted_node import ScriptedNode, key_of, put_of
from tests.node.loops import LOOPS, NewLoop, run_on
from tests.node.raw_peer import GATEWAY, admitted, asking_frame, stranger
from tests.node.wire_world import CLUSTER, NODE, asking, serving

GET = GetRecord(key_of(b""))
NONCE = b"n" * 32


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


async def still_serves(address: Address) -> None:
    async with asking(address) as transport:
        assert (await transport.call(NODE, GET, epochs=(), timeout_s=5.0)).node == NODE


async def until_counted(server: NodeServer, name: str, count: int = 1) -> None:
    while server.counters[name] < count:
        await asyncio.sleep(0.001)


def hello(credentials: Credentials = GATEWAY) -> bytes:
    return AskerHandshake(credentials, NODE, ConnectionClass.CONTROL, NONCE).hello


# --- strangers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600,
        b"\x00" * 64,
        b"\xff" * 64,
        frame(b"\xc1"),
        frame(b"\x91" * 2000),
        frame(pack(["holdfast", 1])),
        frame(pack("x" * 4090)),
        frame(hello() + b"\x00"),
        HEADER.pack(5000, NO_PAYLOAD),
        HEADER.pack(10, 1),
    ],
    ids=["http", "tls", "zeros", "ones", "no msgpack", "deep", "cut short", "long",
         "trailing", "envelope too long", "payload"],
)
def test_a_stranger_that_talks_nonsense_is_sent_away(new_loop: NewLoop, data: bytes) -> None:
    async def main() -> None:
        async with serving(ScriptedNode()) as (server, address):
            async with stranger(address) as peer:
                peer.say(data)
                assert await peer.heard_end()
            await still_serves(address)
            counters = server.counters
            assert counters["handshakes_failed_total"] + counters["protocol_violations_total"] == 1

    run_on(new_loop, main())


def test_a_stranger_that_hangs_up_early_leaves_nothing_behind(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with serving(ScriptedNode()) as (server, address):
            for data in (b"", b"\x05", frame(hello())[:-1], frame(hello())):
                async with stranger(address) as peer:
                    peer.say(data)
            await until_counted(server, "connections_total", 4)
            while server.connections:
                await asyncio.sleep(0.001)
            await still_serves(address)

    run_on(new_loop, main())


def test_a_stranger_that_takes_its_time_is_sent_away(new_loop: NewLoop) -> None:
    async def main() -> None:
        settings = ServerSettings(handshake_timeout_s=0.05)
        async with (
            serving(ScriptedNode(), settings=settings) as (server, address),
            stranger(address) as silent,
            stranger(address) as slow,
        ):
            slow.say(frame(hello()))
            assert await silent.heard_end()
            assert await slow.heard_end()
            assert server.counters["handshakes_failed_total"] == 2

    run_on(new_loop, main())


def test_strangers_have_few_places(new_loop: NewLoop) -> None:
    async def main() -> None:
        settings = ServerSettings(strangers_max=2)
        async with serving(ScriptedNode(), settings=settings) as (server, address):
            async with stranger(address), stranger(address):
                await until_counted(server, "connections_total", 2)
                async with stranger(address) as third:
                    assert await third.heard_end()
            assert server.counters["connections_refused_total"] == 1
            while server.connections:
                await asyncio.sleep(0.001)
            await still_serves(address)

    run_on(new_loop, main())


def test_the_admitted_have_a_limit_and_are_told_so(new_loop: NewLoop) -> None:
    async def main() -> None:
        settings = ServerSettings(connections_max=1)
        async with (
            serving(ScriptedNode(), settings=settings) as (_, address),
            admitted(address),
            stranger(address) as second,
        ):
            with pytest.raises(Busy, match="limit"):
                await second.introduce()
            assert await second.heard_end()

    run_on(new_loop, main())


@pytest.mark.parametrize(
    ("credentials", "refusal", "words"),
    [
        (Credentials.of_gateway("c2", b"a secret of tests"), NotAdmitted, "belongs to cluster c1"),
        (Credentials.of_gateway(CLUSTER, b"guess"), Unauthenticated, "did not prove"),
    ],
    ids=["cluster", "secret"],
)
def test_an_asker_with_the_wrong_settings_hears_which(
    new_loop: NewLoop, credentials: Credentials, refusal: type[Exception], words: str
) -> None:
    async def main() -> None:
        async with (
            serving(ScriptedNode()) as (_, address),
            asking(address, credentials=credentials) as transport,
        ):
            with pytest.raises(refusal, match=words):
                await transport.call(NODE, GET, epochs=(), timeout_s=5.0)

    run_on(new_loop, main())


def test_a_wrong_proof_is_refused_and_nothing_is_served(new_loop: NewLoop) -> None:
    node = ScriptedNode()

    async def main() -> None:
        async with serving(node) as (server, address), stranger(address) as peer:
            peer.say_envelope(hello())
            await peer.hear()
            peer.say_envelope(pack(("holdfast", 3, b"\x00" * 32)))
            peer.ask(1, GET)
            refused, _ = await peer.hear()
            assert refused[:3] == [0, 0, "unauthenticated"]
            assert await peer.heard_end()
            assert server.counters["handshakes_failed_total"] == 1
            assert not node.asked

    run_on(new_loop, main())


def test_a_request_before_the_handshake_is_not_served(new_loop: NewLoop) -> None:
    node = ScriptedNode()

    async def main() -> None:
        async with serving(node) as (_, address), stranger(address) as peer:
            peer.ask(1, GET)
            refused, _ = await peer.hear()
            assert refused[2] == "peer_protocol"
            assert await peer.heard_end()
            assert not node.asked

    run_on(new_loop, main())


def test_a_tape_of_a_session_opens_nothing(new_loop: NewLoop) -> None:
    node = ScriptedNode()

    async def main() -> None:
        async with serving(node) as (_, address):
            async with admitted(address) as peer:
                peer.ask(1, put_of(b"x"), b"x")
                await peer.hear()
                tape = peer.said
            async with stranger(address) as thief:
                thief.say(tape)
                await thief.hear()
                refused, _ = await thief.hear()
                assert refused[2] == "unauthenticated"
                assert await thief.heard_end()
            assert len(node.asked) == 1

    run_on(new_loop, main())


# --- peers that break the framing -----------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(0, 0),
        HEADER.pack(ENVELOPE_BYTES_MAX + 1, NO_PAYLOAD),
        HEADER.pack(10, PAYLOAD_BYTES_MAX + 1),
        frame(b"\xc1\xc1"),
        frame(b"\x91" * 3000),
        frame(b"\xdd\xff\xff\xff\xff"),
        frame(pack([1, 2])),
        frame(pack({"a": 1})),
        frame(pack(["1", 3, 1000, [1], [b"k"]])),
        frame(pack([1, "3", 1000, [1], [b"k"]])),
        frame(pack([-1, 3, 1000, [1], [b"k"]])),
        frame(pack([1 << 63, 3, 1000, [1], [b"k"]])),
        frame(pack([1, 3, 1000, [1], [b"k"]]) + b"\x00"),
    ],
)
def test_a_peer_that_breaks_the_framing_is_told_and_sent_away(
    new_loop: NewLoop, data: bytes
) -> None:
    async def main() -> None:
        async with serving(ScriptedNode()) as (server, address):
            async with admitted(address) as peer:
                peer.say(data)
                farewell, _ = await peer.hear()
                assert farewell[:3] == [0, 0, "peer_protocol"]
                assert await peer.heard_end()
            assert server.counters["protocol_violations_total"] == 1
            await still_serves(address)

    run_on(new_loop, main())


# --- requests that cannot be served ---------------------------------------------------------------

KEY = key_of(b"").raw
BROKEN = {
    "op of later": ([1, 250, 1000, [1], []], "unsupported"),
    "a reply": ([1, PutReply.op, 1000, [1], [2, 0, False]], "unsupported"),
    "no fields": ([1, 3, 1000, [1], []], "peer_protocol"),
    "fields are no list": ([1, 3, 1000, [1], "fields"], "peer_protocol"),
    "key is text": ([1, 3, 1000, [1], ["key", 9]], "peer_protocol"),
    "key is a number": ([1, 3, 1000, [1], [5, 9]], "peer_protocol"),
    "vast value": ([1, 3, 1000, [1], [KEY, 1 << 40]], "peer_protocol"),
    "unknown space": ([1, 3, 1000, [1], [b"\x07" + KEY[1:], 9]], "peer_protocol"),
    "unknown algorithm": ([1, 3, 1000, [1], [b"\x00\x09" + KEY[2:], 9]], "unsupported_algorithm"),
    "short digest": ([1, 3, 1000, [1], [KEY[:-1], 9]], "bad_length"),
    "negative generation": ([1, 9, 1000, [1], [KEY, -1]], "peer_protocol"),
    "vast generation": ([1, 9, 1000, [1], [KEY, 1 << 60]], "peer_protocol"),
    "kind out of range": ([1, 1, 1000, [1], [KEY, 9, 1, 1, None]], "peer_protocol"),
    "flag is a number": ([1, 12, 1000, [1], [None, 10, 1]], "peer_protocol"),
    "too many keys": ([1, 5, 1000, [1], [[KEY[:2]] * 5000]], "peer_protocol"),
    "put without a value": ([1, 1, 1000, [1], [KEY, 1, 0, 1, None]], "bad_request"),
}


@pytest.mark.parametrize(("envelope", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_request_gets_an_error_and_the_connection_goes_on(
    new_loop: NewLoop, envelope: list[object], code: str
) -> None:
    async def main() -> None:
        async with serving(ScriptedNode()) as (server, address), admitted(address) as peer:
            peer.say_envelope(pack(envelope))
            peer.ask(2, GET)
            assert await peer.hear_codes(2) == {1: code, 2: RecordReply.op}
            assert server.counters["requests_rejected_total"] == 1

    run_on(new_loop, main())


@pytest.mark.parametrize("size_bytes", [0, 5, 200_000])
def test_a_value_beside_a_question_is_refused(new_loop: NewLoop, size_bytes: int) -> None:
    async def main() -> None:
        async with serving(ScriptedNode()) as (_, address), admitted(address) as peer:
            peer.ask(1, GET, b"x" * size_bytes)
            peer.ask(2, GET)
            assert await peer.hear_codes(2) == {1: "bad_request", 2: RecordReply.op}

    run_on(new_loop, main())


def test_requests_may_come_byte_by_byte_or_all_at_once(new_loop: NewLoop) -> None:
    value = b"v" * 70_000
    requests = [
        asking_frame(1, put_of(b"small"), b"small"),
        asking_frame(2, GET),
        asking_frame(3, BuryRecord(key_of(b""), 1)),
    ]
    expected = {1: PutReply.op, 2: RecordReply.op, 3: "unsupported", 4: PutReply.op}

    async def main() -> None:
        async with serving(ScriptedNode()) as (_, address):
            for slowly in (False, True):
                async with admitted(address) as peer:
                    large = asking_frame(4, put_of(value), value)
                    if slowly:
                        await peer.say_slowly(b"".join(requests) + large[:200])
                        peer.say(large[200:])
                    else:
                        peer.say(b"".join(requests) + large)
                    assert await peer.hear_codes(4) == expected

    run_on(new_loop, main())
