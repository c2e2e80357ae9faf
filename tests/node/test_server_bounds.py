"""What a server lets its askers do at once, and for how long it waits for them."""

from __future__ import annotations

import asyncio

import pytest

from node.handler import Response
from node.handshake import ConnectionClass
from node.server import ServerSettings
from ring.limits import KIB, MIB
from ring.messages import (
    CopyVerdict,
    GetRecord,
    PutReply,
    RecordReply,
    Request,
    VerifyRecord,
    VerifyReply,
)
from tests.fakes.scripted_node import ScriptedNode, key_of, put_of
from tests.node.loops import LOOPS, NewLoop, run_on, until
from tests.node.raw_peer import admitted
from tests.node.wire_world import serving

VERIFY = VerifyRecord(key_of(b""))
LARGE = b"v" * (200 * KIB)


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


async def settled() -> None:
    """Whatever the server was going to do with what it has received, it has done."""
    for _ in range(20):
        await asyncio.sleep(0.002)


def verified(request: Request) -> Response:
    return Response(VerifyReply(CopyVerdict.GOOD))


# --- bounds ---------------------------------------------------------------------------------------


def test_one_connection_has_so_many_jobs_at_once(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.answers = verified
    settings = ServerSettings(jobs_per_connection_max=3)

    async def main() -> None:
        node.gate = asyncio.Event()
        async with serving(node, settings=settings) as (_, address), admitted(address) as peer:
            for number in range(1, 21):
                peer.ask(number, VERIFY)
            await until(lambda: node.under_way == 3)
            await settled()
            assert node.under_way == 3
            node.gate.set()
            assert await peer.hear_codes(20) == dict.fromkeys(range(1, 21), VerifyReply.op)
            assert node.under_way_most == 3

    run_on(new_loop, main())


def test_all_connections_share_a_bound_on_jobs(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.answers = verified
    settings = ServerSettings(jobs_max=4)

    async def main() -> None:
        node.gate = asyncio.Event()
        async with (
            serving(node, settings=settings) as (_, address),
            admitted(address) as one,
            admitted(address) as other,
        ):
            for number in range(1, 11):
                one.ask(number, VERIFY)
                other.ask(number, VERIFY)
            await until(lambda: node.under_way >= 4)
            await settled()
            assert node.under_way <= 5  # each connection may go one beyond
            node.gate.set()
            for peer in (one, other):
                assert await peer.hear_codes(10) == dict.fromkeys(range(1, 11), VerifyReply.op)

    run_on(new_loop, main())


def test_large_values_wait_until_there_is_memory_for_them(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    settings = ServerSettings(payload_bytes_max=2 * len(LARGE))
    values = [LARGE + bytes([i]) for i in range(8)]

    async def main() -> None:
        node.gate = asyncio.Event()
        async with (
            serving(node, settings=settings) as (_, address),
            admitted(address, ConnectionClass.BULK) as one,
            admitted(address, ConnectionClass.BULK) as other,
            admitted(address) as small,
        ):
            for number, value in enumerate(values, start=1):
                (one if number % 2 else other).ask(number, put_of(value), value)
            await until(lambda: node.under_way == 1)
            await settled()
            assert node.under_way == 1  # another would be beyond the bound
            small.ask(1, put_of(b"small"), b"small")
            await until(lambda: node.under_way == 2)
            node.gate.set()
            assert await small.hear_codes(1) == {1: PutReply.op}
            assert await one.hear_codes(4) == dict.fromkeys((1, 3, 5, 7), PutReply.op)
            assert await other.hear_codes(4) == dict.fromkeys((2, 4, 6, 8), PutReply.op)

    run_on(new_loop, main())


def test_large_reads_are_charged_before_they_begin(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    node.slow_reads = True
    node.values[key_of(LARGE)] = LARGE
    settings = ServerSettings(payload_bytes_max=2 * MIB)
    get = GetRecord(key_of(LARGE), MIB)

    async def main() -> None:
        node.gate = asyncio.Event()
        async with (
            serving(node, settings=settings) as (_, address),
            admitted(address, ConnectionClass.BULK) as peer,
        ):
            for number in range(1, 8):
                peer.ask(number, get)
            await until(lambda: node.under_way == 2)
            await settled()
            assert node.under_way == 2
            node.gate.set()
            for _ in range(7):
                assert (await peer.hear())[1] == LARGE

    run_on(new_loop, main())


def test_an_asker_that_vanishes_gives_back_what_it_had(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    settings = ServerSettings(payload_bytes_max=len(LARGE))
    rude = put_of(LARGE)

    async def main() -> None:
        async with serving(node, settings=settings) as (server, address):
            async with (
                admitted(address, ConnectionClass.BULK) as half,
                admitted(address, ConnectionClass.BULK) as waiting,
            ):
                half.ask(1, rude, LARGE[: len(LARGE)])
                assert await half.hear_codes(1) == {1: PutReply.op}
                half.ask(2, rude, LARGE)
                waiting.ask(1, rude, LARGE)
                assert await waiting.hear_codes(1) == {1: PutReply.op}
            for _ in range(3):
                async with admitted(address, ConnectionClass.BULK) as torn:
                    await torn.tear(3, rude, LARGE)
            await until(lambda: server.connections == 0)
            async with admitted(address, ConnectionClass.BULK) as last:
                last.ask(4, rude, LARGE)
                assert await last.hear_codes(1) == {4: PutReply.op}

    run_on(new_loop, main())


def test_an_asker_that_does_not_read_is_not_read_from(new_loop: NewLoop) -> None:
    node = ScriptedNode()
    value = b"v" * MIB
    node.values[key_of(value)] = value
    settings = ServerSettings(queued_bytes_max=2 * MIB)
    asked = 64

    async def main() -> None:
        async with serving(node, settings=settings) as (_, address), admitted(address) as peer:
            for number in range(1, asked + 1):
                peer.ask(number, GetRecord(key_of(value)))
            await settled()
            assert 0 < len(node.asked) < asked
            async with admitted(address) as other:
                other.ask(1, GetRecord(key_of(b"")))
                assert await other.hear_codes(1) == {1: RecordReply.op}
            for _ in range(asked):
                assert (await peer.hear())[1] == value

    run_on(new_loop, main())


# --- peers that stop half-way ---------------------------------------------------------------------


@pytest.mark.parametrize("stall", ["in a header", "in a value", "in the answers"])
def test_a_peer_that_stops_half_way_is_given_up(new_loop: NewLoop, stall: str) -> None:
    node = ScriptedNode()
    node.values[key_of(LARGE)] = LARGE

    async def main() -> None:
        async with (
            serving(node, settings=ServerSettings(stall_s=0.1)) as (server, address),
            admitted(address) as peer,
        ):
            if stall == "in a header":
                peer.say(b"\x01\x02\x03")
            elif stall == "in a value":
                await peer.tear(1, put_of(LARGE), LARGE)
            else:
                for number in range(1, 200):
                    peer.ask(number, GetRecord(key_of(LARGE)))
            await until(lambda: server.counters["connections_stalled_total"] == 1)
            await until(lambda: server.connections == 0)

    run_on(new_loop, main())


def test_a_peer_that_has_nothing_to_say_may_stay(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with (
            serving(ScriptedNode(), settings=ServerSettings(stall_s=0.02)) as (server, address),
            admitted(address) as peer,
        ):
            await asyncio.sleep(0.1)
            peer.ask(1, GetRecord(key_of(b"")))
            assert await peer.hear_codes(1) == {1: RecordReply.op}
            assert server.counters["connections_stalled_total"] == 0

    run_on(new_loop, main())
