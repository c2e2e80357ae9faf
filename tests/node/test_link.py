"""Calls to one node over hours: when it is tried again, and when its connection is given up."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from node.asker_connection import AskerConnection
from node.handshake import AskerHandshake, ConnectionClass, NodeHandshake
from node.link import Call, Link, LinkSettings, Unacknowledged
from node.payload_slots import PayloadSlots
from node.transport import Credentials
from ring.codec import decode_request, encode_reply, frame
from ring.errors import DeadlineExceeded, Unreachable
from ring.life import Life
from ring.messages import GetRecord, RecordReply
from ring.record import ABSENT
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.fakes.scripted_node import LIFE, key_of
from tests.fakes.scripted_wire import ScriptedWire
from tests.fakes.virtual_time import in_virtual_time
from tests.node.wire_world import CLUSTER, NODE, SECRET

SETTINGS = LinkSettings(retry_s_min=0.05, retry_s_max=1.0, silence_s=2.0)
REPLY = RecordReply(ABSENT)


class Remote:
    """A node and the link to it.

    is_down: nobody listens.  breaks: its connections end as soon as they are welcome.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_down = False
        self.breaks = False
        self.welcomed = asyncio.Event()
        self.dialled_s: list[float] = []
        self.counters: Counter[str] = Counter()
        self.randomness = NumberedRandomness()
        self.link = Link(
            NODE,
            self._dial,
            settings=SETTINGS,
            unacknowledged=Unacknowledged(),
            randomness=self.randomness,
            counters=self.counters,
        )

    def ask(self, timeout_s: float = 10.0) -> Call:
        return self.link.call(GetRecord(key_of(b"")), None, (1,), timeout_s)

    async def answer(self, count: int = 1) -> None:
        """Answer so many questions."""
        await self.welcomed.wait()
        for _ in range(count):
            envelope, _ = await self.wire.hear()
            number = decode_request(memoryview(envelope)).request_id
            self.wire.say(frame(encode_reply(number, REPLY, voter=True, sender=None)))

    async def keep_asking(self, until_s: float) -> None:
        """Somebody always wants something of it, and hears that it is down."""
        while self.loop.time() < until_s:
            with pytest.raises(Unreachable):
                await self.ask()
            await asyncio.sleep(0.01)

    async def _dial(self, link: Link) -> tuple[AskerConnection, Life]:
        self.dialled_s.append(self.loop.time())
        if self.is_down:
            raise Unreachable("nobody listens")
        asker = Credentials.of_gateway(CLUSTER, SECRET)
        hello = AskerHandshake(
            asker, NODE, ConnectionClass.CONTROL, self.randomness.octets(32)
        )
        connection = AskerConnection(self.loop, hello, PayloadSlots(), link)
        self.wire = ScriptedWire(connection)
        node = Credentials.of_node(CLUSTER, NODE, SECRET)
        handshake = NodeHandshake(node, LIFE, self.randomness.octets(32))
        self.wire.say(frame(handshake.challenge((await self.wire.hear())[0])))
        self.wire.say(frame(handshake.admit((await self.wire.hear())[0])))
        life = await connection.welcome
        if self.breaks:
            self.wire.drop()
            await connection.gone
        else:
            self.welcomed.set()
        return connection, life


# --- a node that is down --------------------------------------------------------------------------


@in_virtual_time
async def test_a_node_that_nobody_asked_for_a_while_is_tried_again_by_the_next_call() -> None:
    remote = Remote()
    remote.is_down = True
    with pytest.raises(Unreachable):
        await remote.ask()
    await asyncio.sleep(60)
    remote.is_down = False

    asked = remote.ask()
    await remote.answer()
    assert (await asked).reply == REPLY
    await remote.link.close()


@in_virtual_time
async def test_attempts_are_never_further_apart_than_the_longest_pause() -> None:
    remote = Remote()
    remote.is_down = True
    await remote.keep_asking(until_s=600.0)

    tried = remote.dialled_s
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses[0] <= SETTINGS.retry_s_min
    assert max(pauses) <= SETTINGS.retry_s_max
    assert len(tried) <= 2 * 600 / SETTINGS.retry_s_max + 10, "it is not pestered either"
    await remote.link.close()


@in_virtual_time
async def test_a_node_that_answered_since_is_soon_tried_again() -> None:
    remote = Remote()
    remote.is_down = True
    await remote.keep_asking(until_s=60.0)
    await asyncio.sleep(60)
    remote.is_down = False
    asked = remote.ask()
    await remote.answer()
    await asked
    await asyncio.sleep(3600)

    remote.is_down = True  # it starts again, which takes a moment
    remote.wire.drop()
    await asyncio.sleep(0.1)
    began_s = remote.loop.time()
    await remote.keep_asking(began_s + 0.3)
    remote.dialled_s = [tried_s - began_s for tried_s in remote.dialled_s if tried_s >= began_s]
    assert len(remote.dialled_s) >= 3, "the first pauses are short again"
    await remote.link.close()


@in_virtual_time
async def test_a_connection_that_breaks_as_it_is_welcome_is_not_called_over() -> None:
    remote = Remote()
    remote.breaks = True
    with pytest.raises(Unreachable, match="at once"):
        await remote.ask()
    remote.breaks = False
    await asyncio.sleep(5)

    asked = remote.ask()
    await remote.answer()
    assert (await asked).reply == REPLY
    await remote.link.close()


# --- a connection on which nothing comes back -----------------------------------------------------


async def connected() -> Remote:
    remote = Remote()
    asked = remote.ask()
    await remote.answer()
    await asked
    return remote


@in_virtual_time
async def test_a_connection_that_stays_silent_is_given_up_after_that_long() -> None:
    remote = await connected()
    waiting = remote.ask()
    for _ in range(3):
        assert not waiting.done()
        remote.link.hang_up_if_silent()
        await asyncio.sleep(1)
    with pytest.raises(Unreachable):
        await waiting
    assert remote.counters["connections_hung_up_total"] == 1
    await remote.link.close()


@in_virtual_time
async def test_silence_while_nobody_waited_does_not_count() -> None:
    remote = await connected()
    remote.ask().cancel()
    with pytest.raises(DeadlineExceeded):
        waiting = remote.ask(0.5)
        remote.link.hang_up_if_silent()
        await waiting
    await asyncio.sleep(0.5)
    remote.link.hang_up_if_silent()
    await asyncio.sleep(0.9)
    waiting = remote.ask()
    await asyncio.sleep(0.2)
    remote.link.hang_up_if_silent()
    await remote.answer(2)  # the one that was given up, too
    assert (await waiting).reply == REPLY
    assert remote.counters["connections_hung_up_total"] == 0
    await remote.link.close()


@in_virtual_time
async def test_a_silence_of_long_ago_is_not_taken_up_again() -> None:
    remote = await connected()
    waiting = remote.ask(0.5)
    remote.link.hang_up_if_silent()
    with pytest.raises(DeadlineExceeded):
        await waiting
    await asyncio.sleep(3600)

    waiting = remote.ask()
    remote.link.hang_up_if_silent()
    await remote.answer(2)
    assert (await waiting).reply == REPLY
    assert remote.counters["connections_hung_up_total"] == 0
    await remote.link.close()
