"""The dialled end of a connection: what its bounds do to who waits, leaves or makes no sense."""

from __future__ import annotations

import asyncio

import pytest

from node.asked_connection import AskedConnection
from node.handler import Asker, Begun
from node.handshake import AskerHandshake, ConnectionClass
from node.serving import ServerSettings, Serving
from node.transport import Credentials
from ring.codec import frame, unpack
from ring.digest import Buffer
from ring.errors import Busy
from ring.limits import KIB
from ring.messages import PutReply, Request
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.fakes.scripted_node import ScriptedNode, put_of
from tests.fakes.scripted_wire import ScriptedWire
from tests.fakes.virtual_time import in_virtual_time
from tests.node.raw_peer import GATEWAY, asking_frame
from tests.node.wire_world import CLUSTER, NODE, SECRET

LARGE = b"v" * (200 * KIB)
PUT = put_of(LARGE)
PATIENCE_S = 60.0


class Server:
    """What connections share, without a listener."""

    def __init__(self, node: ScriptedNode, settings: ServerSettings) -> None:
        self.randomness = NumberedRandomness()
        credentials = Credentials.of_node(CLUSTER, NODE, SECRET)
        self.serving = Serving(node, credentials, self.randomness, settings)

    async def admit(self) -> Peer:
        """An asker that has proved itself."""
        peer = Peer(self.serving)
        hello = AskerHandshake(
            GATEWAY, NODE, ConnectionClass.BULK, self.randomness.octets(32)
        )
        peer.wire.say(frame(hello.hello))
        proof, _ = hello.prove((await peer.wire.hear())[0])
        peer.wire.say(frame(proof))
        hello.welcomed((await peer.wire.hear())[0])
        return peer


class Peer:
    """An asker and the connection that it is asked on."""

    def __init__(self, serving: Serving) -> None:
        self.connection = AskedConnection(serving, lambda _: None, lambda _: None)
        self.wire = ScriptedWire(self.connection)

    def ask(self, number: int, request: Request, payload: bytes | None = None) -> None:
        self.wire.say(asking_frame(number, request, payload))

    def ask_together(self, count: int) -> None:
        """So many small puts that arrive in one piece."""
        small = put_of(b"small")
        self.wire.say(b"".join(asking_frame(i, small, b"small") for i in range(count)))

    async def hear_code(self) -> object:
        """Of the next answer: the code of its error, or the op of its reply."""
        async with asyncio.timeout(PATIENCE_S):
            fields = unpack((await self.wire.hear())[0])
        assert isinstance(fields, list)
        return fields[2] if fields[1] == 0 else fields[1]


async def settled() -> None:
    await asyncio.sleep(0.1)


# --- one job at a time ----------------------------------------------------------------------------


@in_virtual_time
async def test_who_is_held_again_at_once_is_not_read_from_meanwhile() -> None:
    node = ScriptedNode()
    node.gate = first = asyncio.Event()
    server = Server(node, ServerSettings(jobs_per_connection_max=1))
    peer = await server.admit()
    peer.ask_together(3)
    await settled()
    assert (node.under_way, peer.wire.is_read) == (1, False)

    node.gate = asyncio.Event()
    first.set()
    await settled()
    assert (node.under_way, peer.wire.is_read) == (1, False), "the second is under way"

    node.gate.set()
    await settled()
    assert peer.wire.is_read
    assert [await peer.hear_code() for _ in range(3)] == [PutReply.op] * 3


@in_virtual_time
async def test_who_waits_for_us_is_not_hung_up_on_for_being_half_way() -> None:
    node = ScriptedNode()
    node.gate = asyncio.Event()
    server = Server(node, ServerSettings(jobs_per_connection_max=1, stall_s=1.0))
    peer = await server.admit()
    peer.ask_together(2)
    for _ in range(20):
        await asyncio.sleep(0.5)
        peer.connection.check_progress(asyncio.get_running_loop().time())

    assert server.serving.counters["connections_stalled_total"] == 0
    node.gate.set()
    assert [await peer.hear_code() for _ in range(2)] == [PutReply.op] * 2


# --- the room for large values --------------------------------------------------------------------


@in_virtual_time
async def test_room_goes_to_nobody_who_left_while_waiting_for_it() -> None:
    node = ScriptedNode()
    node.gate = asyncio.Event()
    server = Server(node, ServerSettings(payload_bytes_max=len(LARGE)))
    first, waiting, last = [await server.admit() for _ in range(3)]
    first.ask(1, PUT, LARGE)
    waiting.ask(1, PUT, LARGE)
    last.ask(1, PUT, LARGE)
    await settled()
    assert node.under_way == 1
    waiting.wire.drop()
    await settled()

    node.gate.set()
    assert await first.hear_code() == PutReply.op
    assert await last.hear_code() == PutReply.op


@in_virtual_time
async def test_the_room_of_a_request_that_makes_no_sense_is_free_again() -> None:
    server = Server(ScriptedNode(), ServerSettings(payload_bytes_max=len(LARGE)))
    for _ in range(2):
        hostile = await server.admit()
        hostile.wire.say(frame(b"\xc1\xc1", len(LARGE)) + LARGE)
        assert await hostile.hear_code() == "peer_protocol"

    peer = await server.admit()
    peer.ask(1, PUT, LARGE)
    assert await peer.hear_code() == PutReply.op


class BusyNode(ScriptedNode):
    """Takes nothing at the moment."""

    def begin(self, request: Request, payload: Buffer, asker: Asker) -> Begun | None:
        raise Busy("not now")


class FailingNode(ScriptedNode):
    """Has a bug."""

    def begin(self, request: Request, payload: Buffer, asker: Asker) -> Begun | None:
        raise ZeroDivisionError


@pytest.mark.parametrize(("kind", "code"), [(BusyNode, "busy"), (FailingNode, "internal")])
@in_virtual_time
async def test_the_room_of_a_value_that_is_refused_at_once_is_free_again(
    kind: type[ScriptedNode], code: str
) -> None:
    server = Server(kind(), ServerSettings(payload_bytes_max=len(LARGE)))
    peer = await server.admit()
    for number in range(3):
        peer.ask(number, PUT, LARGE)
        assert await peer.hear_code() == code
