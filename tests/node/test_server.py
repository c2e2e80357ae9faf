"""What a server does for those it admitted: answers, bounds, patience, the end."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from node.handler import Response
from node.handshake import ConnectionClass
from node.server import ServerSettings
from ring.errors import BadRequest, DeadlineExceeded, Unreachable
from ring.limits import CHUNK_BYTES, KIB
from ring.messages import (
    BuryRecord,
    CopyVerdict,
    GetRecord,
    RecordReply,
    Request,
    VerifyRecord,
    VerifyReply,
)
from ring.record import RecordKind, RecordState, live
from tests.fakes.memory_span import MemorySpan
from tests.fakes.scripted_node import ScriptedNode, key_of, put_of
from tests.node.loops import LOOPS, NewLoop, run_on, until
from tests.node.raw_peer import admitted, stranger
from tests.node.wire_world import NODE, asking, serving

BURY = BuryRecord(key_of(b""), 1)
VERIFY = VerifyRecord(key_of(b""))
LARGE = b"v" * (200 * KIB)


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


def verified(request: Request) -> Response:
    return Response(VerifyReply(CopyVerdict.GOOD))


# --- errors and deadlines -------------------------------------------------------------------------


def test_a_bug_is_logged_and_counted_and_not_shown(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.raises = ZeroDivisionError("the secret is sesame")

    async def main() -> None:
        async with serving(node) as (server, address), admitted(address) as peer:
            peer.ask(1, BURY)
            failed, _ = await peer.hear()
            assert failed[:3] == [1, 0, "internal"]
            assert "sesame" not in failed[3]
            assert "ZeroDivision" not in failed[3]
            assert server.counters["internal_errors_total"] == 1
            peer.ask(2, GetRecord(key_of(b"")))
            assert await peer.hear_codes(1) == {2: RecordReply.op}

    with capture_logs() as logs:
        run_on(new_loop, main())
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)


def test_a_bug_in_an_answer_without_waiting_is_no_different(new_loop: NewLoop) -> None:
    node = ScriptedNode()

    def broken(request: Request) -> Response | None:
        raise KeyError("inside")

    node.answers = broken

    async def main() -> None:
        async with serving(node) as (server, address), admitted(address) as peer:
            peer.ask(1, GetRecord(key_of(b"")))
            assert await peer.hear_codes(1) == {1: "internal"}
            assert server.counters["internal_errors_total"] == 1

    run_on(new_loop, main())


def test_an_answer_that_cannot_be_sent_is_a_bug_of_the_node(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    state = RecordState(RecordKind.DATA, 0, live(1), held=True)
    node.answers = lambda request: Response(RecordReply(state), b"x" * (CHUNK_BYTES + 1))

    async def main() -> None:
        async with serving(node) as (_, address), admitted(address) as peer:
            peer.ask(1, BURY)
            assert await peer.hear_codes(1) == {1: "internal"}

    run_on(new_loop, main())


def test_work_is_cancelled_at_the_askers_deadline(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.gate = asyncio.Event()

    async def main() -> None:
        async with serving(node) as (server, address), admitted(address) as peer:
            peer.ask(1, BURY, deadline_ms=40)
            assert await peer.hear_codes(1) == {1: DeadlineExceeded.code}
            assert node.cancelled == 1
            assert server.jobs == 0
            assert server.counters["deadline_exceeded_total"] == 1

    run_on(new_loop, main())


def test_nobody_may_wish_for_more_than_the_longest_deadline(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.gate = asyncio.Event()
    settings = ServerSettings(deadline_s_max=0.04)

    async def main() -> None:
        async with serving(node, settings=settings) as (_, address), admitted(address) as peer:
            peer.ask(1, BURY, deadline_ms=(1 << 63) - 1)
            assert await peer.hear_codes(1) == {1: DeadlineExceeded.code}

    run_on(new_loop, main())


def test_a_deadline_of_nothing_is_over_at_once(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.gate = asyncio.Event()

    async def main() -> None:
        async with serving(node) as (_, address), admitted(address) as peer:
            peer.ask(1, BURY, deadline_ms=0)
            assert await peer.hear_codes(1) == {1: DeadlineExceeded.code}

    run_on(new_loop, main())


# --- values that are spans of files ---------------------------------------------------------------


def span_node(span: MemorySpan) -> ScriptedNode:
    node = ScriptedNode()
    node.slow_reads = True
    state = RecordState(RecordKind.DATA, span.size_bytes, live(1), held=True)

    def answers(request: Request) -> Response | None:
        return Response(RecordReply(state), span) if isinstance(request, GetRecord) else None

    node.answers = answers
    return node


@pytest.mark.parametrize("size_bytes", [0, 1, 200_000, CHUNK_BYTES])
def test_a_span_reaches_the_asker_in_its_place(new_loop: NewLoop, size_bytes: int) -> None:
    value = bytes(range(256)) * (size_bytes // 256 + 1)
    span = MemorySpan(value[:size_bytes])
    node = span_node(span)

    async def main() -> None:
        async with (
            serving(node) as (_, address),
            admitted(address, ConnectionClass.BULK) as peer,
        ):
            peer.ask(1, put_of(b"before"), b"before")
            peer.ask(2, GetRecord(key_of(b"span")))
            peer.ask(3, put_of(b"after"), b"after")
            heard = [await peer.hear() for _ in range(3)]
            assert {fields[0]: payload for fields, payload in heard} == {
                1: None,
                2: value[:size_bytes],
                3: None,
            }
            assert node.asked[0][1].takes_spans
            await until(lambda: span.closed == 1)

    run_on(new_loop, main())


def test_a_span_is_closed_when_its_asker_is_gone(new_loop: NewLoop) -> None:
    span = MemorySpan(LARGE)
    node = span_node(span)

    async def main() -> None:
        node.gate = asyncio.Event()
        async with serving(node) as (server, address):
            async with admitted(address) as peer:
                peer.ask(1, GetRecord(key_of(b"span")))
                await until(lambda: node.under_way == 1)
            await until(lambda: server.connections == 0)
            node.gate.set()
            await until(lambda: span.closed == 1)

    run_on(new_loop, main())


def test_a_disk_that_fails_in_mid_span_ends_the_connection(new_loop: NewLoop) -> None:
    span = MemorySpan(LARGE, fails_at=100_000)

    async def main() -> None:
        async with serving(span_node(span)) as (_, address), asking(address) as transport:
            call = transport.call(NODE, GetRecord(key_of(b"s")), epochs=(), timeout_s=5.0)
            with pytest.raises(Unreachable):
                await call
            await until(lambda: span.closed == 1)

    run_on(new_loop, main())


def test_nobody_is_offered_spans_under_tls(new_loop: NewLoop) -> None:
    node = ScriptedNode()

    async def main() -> None:
        async with (
            serving(node, tls=True) as (_, address),
            asking(address, tls=True) as transport,
        ):
            await transport.call(NODE, GetRecord(key_of(b"")), epochs=(), timeout_s=5.0)
            assert not node.asked[0][1].takes_spans

    run_on(new_loop, main())


# --- its beginning and its end --------------------------------------------------------------------


def test_an_address_that_is_taken_is_refused_in_words(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with serving(ScriptedNode()) as (_, address):
            with pytest.raises(BadRequest, match=f"cannot listen on {address}"):
                async with serving(ScriptedNode(), port=address.port):
                    pass

    run_on(new_loop, main())


def test_draining_finishes_what_is_under_way_and_takes_nothing_new(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.answers = verified

    async def main() -> None:
        node.gate = asyncio.Event()
        async with serving(node) as (server, address), admitted(address) as peer:
            peer.ask(1, VERIFY)
            await until(lambda: node.under_way == 1)
            async with stranger(address) as unproven:
                await until(lambda: server.connections == 2)
                draining = asyncio.ensure_future(server.drain(timeout_s=10.0))
                assert await unproven.heard_end()
            peer.ask(2, VERIFY)
            with pytest.raises(ConnectionError):
                async with stranger(address):
                    pass
            node.gate.set()
            assert await peer.hear_codes(1) == {1: VerifyReply.op}
            assert await peer.heard_end()
            await draining
            assert (server.connections, server.jobs) == (0, 0)
            assert len(node.asked) == 1

    run_on(new_loop, main())


def test_draining_cancels_what_takes_too_long(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.gate = asyncio.Event()

    async def main() -> None:
        async with serving(node) as (server, address), admitted(address) as peer:
            peer.ask(1, BURY)
            await until(lambda: node.under_way == 1)
            await server.drain(timeout_s=0.05)
            assert node.cancelled == 1
            assert (server.connections, server.jobs) == (0, 0)

    run_on(new_loop, main())


def test_an_asker_that_reads_nothing_does_not_keep_a_server_from_ending(
    new_loop: NewLoop,
) -> None:
    node = ScriptedNode()
    value = b"v" * CHUNK_BYTES
    node.values[key_of(value)] = value

    async def main() -> None:
        async with serving(node) as (server, address), admitted(address) as peer:
            for number in range(1, 8):
                peer.ask(number, GetRecord(key_of(value)))
            await until(lambda: len(node.asked) > 0)
            await server.drain(timeout_s=0.05)
            assert server.connections == 0

    run_on(new_loop, main())


def test_draining_twice_is_once(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with serving(ScriptedNode()) as (server, _):
            await server.drain(timeout_s=1.0)
            await server.drain(timeout_s=1.0)

    run_on(new_loop, main())
