"""Connections on which nothing comes back are given up when the transport is told to."""

from __future__ import annotations

import asyncio

import pytest

from node.transport import LinkSettings, TcpTransport
from ring.errors import Unreachable
from ring.messages import Answer, GetRecord, RecordReply
from ring.record import ABSENT as NO_RECORD
from tests.fakes.scripted_node import key_of
from tests.node.loops import LOOPS, NewLoop, run_on
from tests.node.raw_node import RawNode, raw_node
from tests.node.wire_world import NODE, asking

SETTINGS = LinkSettings(retry_s_min=0.005, retry_s_max=0.02, silence_s=0.0)


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


def get(transport: TcpTransport) -> asyncio.Future[Answer]:
    return transport.call(NODE, GetRecord(key_of(b"")), epochs=(1,), timeout_s=10.0)


def test_a_silent_connection_is_given_up_and_the_next_call_makes_a_new_one(
    new_loop: NewLoop,
) -> None:
    async def conduct(node: RawNode) -> None:
        """The first call is left unanswered, on its connection and only there."""
        await node.introduce()
        while True:
            asked, _ = await node.hear()
            if is_first:
                is_first.clear()
                await asyncio.sleep(60)
            node.answer(asked.request_id, RecordReply(NO_RECORD))

    is_first = [True]

    async def main() -> None:
        async with (
            raw_node(conduct) as listening,
            asking(listening.address, settings=SETTINGS) as transport,
        ):
            silent = get(transport)
            while is_first:
                await asyncio.sleep(0.01)
            transport.hang_up(NODE)
            assert not silent.done(), "one look tells nothing"
            transport.hang_up(NODE)
            with pytest.raises(Unreachable):
                await silent
            assert (await get(transport)).reply == RecordReply(NO_RECORD)
            assert transport.counters["connections_hung_up_total"] == 1

    run_on(new_loop, main())


def test_a_connection_that_answers_or_is_not_waited_for_is_kept(new_loop: NewLoop) -> None:
    async def conduct(node: RawNode) -> None:
        await node.introduce()
        while True:
            asked, _ = await node.hear()
            node.answer(asked.request_id, RecordReply(NO_RECORD))

    async def main() -> None:
        async with (
            raw_node(conduct) as listening,
            asking(listening.address, settings=SETTINGS) as transport,
        ):
            transport.hang_up(NODE)
            for _ in range(3):
                waiting = get(transport)
                transport.hang_up(NODE)
                await waiting
                transport.hang_up(NODE)
                transport.hang_up(NODE)
            assert transport.counters["connections_hung_up_total"] == 0
            assert transport.counters["connections_total"] == 1

    run_on(new_loop, main())
