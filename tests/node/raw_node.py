"""A node that speaks to its askers byte by byte, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from node.handshake import NodeHandshake
from node.transport import Credentials
from ring.address import Address
from ring.codec import (
    HEADER,
    NO_PAYLOAD,
    RequestEnvelope,
    decode_request,
    encode_error,
    encode_reply,
    frame,
)
from ring.errors import HoldfastError
from ring.messages import Reply
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.fakes.scripted_node import LIFE, ScriptedNode
from tests.node.wire_world import CLUSTER, NODE, SECRET

OF_NODE = Credentials.of_node(CLUSTER, NODE, SECRET)
_randomness = NumberedRandomness(4)


class RawNode:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def introduce(self, credentials: Credentials = OF_NODE) -> None:
        """The handshake, done well."""
        handshake = NodeHandshake(credentials, LIFE, _randomness.octets(32))
        self.say(frame(handshake.challenge(await self._envelope())))
        self.say(frame(handshake.admit(await self._envelope())))

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)

    def answer(self, number: int, reply: Reply, payload: bytes | None = None) -> None:
        """Send a reply."""
        sender = ScriptedNode().sender()
        envelope = encode_reply(number, reply, voter=True, sender=sender)
        self.say(frame(envelope, None if payload is None else len(payload)) + (payload or b""))

    def fail(self, number: int, error: HoldfastError) -> None:
        """Send an error."""
        self.say(frame(encode_error(number, error)))

    async def hear(self) -> tuple[RequestEnvelope, bytes | None]:
        """The next request and its value."""
        envelope_bytes, payload_bytes = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        asked = decode_request(await self._reader.readexactly(envelope_bytes))
        if payload_bytes == NO_PAYLOAD:
            return asked, None
        return asked, await self._reader.readexactly(payload_bytes)

    async def heard_end(self) -> bool:
        """Read until the asker hangs up."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(1 << 16):
                pass
        return True

    def hang_up(self) -> None:
        """Close."""
        self._writer.close()

    async def _envelope(self) -> bytes:
        envelope_bytes, _ = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        return await self._reader.readexactly(envelope_bytes)


Conduct = Callable[[RawNode], Awaitable[None]]


class Listening:
    """Where a raw node listens, and how often somebody came."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.accepted = 0


@contextlib.asynccontextmanager
async def raw_node(conduct: Conduct, *, port: int = 0) -> AsyncIterator[Listening]:
    """Conducts itself like that on every connection, then hangs up; failures fail the test."""
    failures: list[BaseException] = []
    tasks: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listening.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await conduct(RawNode(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the asker hung up first, or the test is over
        except (AssertionError, HoldfastError) as error:
            failures.append(error)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    listening = Listening(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        yield listening
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()
    assert not failures, failures
