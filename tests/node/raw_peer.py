"""Someone who speaks to a server byte by byte, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from node.handshake import AskerHandshake, ConnectionClass
from node.transport import Credentials
from ring.address import Address
from ring.codec import HEADER, NO_PAYLOAD, encode_request, frame, unpack
from ring.messages import Request
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.node.wire_world import CLUSTER, NODE, SECRET

GATEWAY = Credentials.of_gateway(CLUSTER, SECRET)
_randomness = NumberedRandomness(3)


class RawPeer:
    """A socket and what was said on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.said = b""

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.said += data
        self._writer.write(data)

    async def say_slowly(self, data: bytes) -> None:
        """Send them one at a time."""
        for i in range(len(data)):
            self.say(data[i : i + 1])
            await self._writer.drain()
            await asyncio.sleep(0)

    def say_envelope(self, envelope: bytes) -> None:
        """Send a frame without a payload."""
        self.say(frame(envelope))

    def ask(
        self,
        number: int,
        request: Request,
        payload: bytes | None = None,
        *,
        deadline_ms: int = 10_000,
    ) -> None:
        """Send a request."""
        self.say(asking_frame(number, request, payload, deadline_ms=deadline_ms))

    async def tear(self, number: int, request: Request, payload: bytes) -> None:
        """Begin a request, and stop in the middle of its value."""
        data = asking_frame(number, request, payload)
        self.say(data[: len(data) - len(payload) // 2])
        await self._writer.drain()

    async def hear(self) -> tuple[list[Any], bytes | None]:
        """The next frame's envelope and payload."""
        envelope_bytes, payload_bytes = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        envelope = unpack(await self._reader.readexactly(envelope_bytes))
        assert isinstance(envelope, list)
        if payload_bytes == NO_PAYLOAD:
            return envelope, None
        return envelope, await self._reader.readexactly(payload_bytes)

    async def hear_codes(self, count: int) -> dict[int, object]:
        """By request number: the code of an error, or the op of a reply."""
        heard = [(await self.hear())[0] for _ in range(count)]
        return {fields[0]: fields[2] if fields[1] == 0 else fields[1] for fields in heard}

    async def heard_end(self) -> bool:
        """Read until the server hangs up."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(1 << 16):
                pass
        return True

    async def introduce(
        self,
        credentials: Credentials = GATEWAY,
        kind: ConnectionClass = ConnectionClass.CONTROL,
    ) -> None:
        """The handshake, done well."""
        handshake = AskerHandshake(credentials, NODE, kind, _randomness.octets(32))
        self.say_envelope(handshake.hello)
        proof, _ = handshake.prove(await self._raw_envelope())
        self.say_envelope(proof)
        handshake.welcomed(await self._raw_envelope())

    async def _raw_envelope(self) -> bytes:
        envelope_bytes, _ = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        return await self._reader.readexactly(envelope_bytes)

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


def asking_frame(
    number: int, request: Request, payload: bytes | None = None, *, deadline_ms: int = 10_000
) -> bytes:
    """A whole request as bytes."""
    envelope = encode_request(number, request, deadline_ms=deadline_ms, epochs=(1,))
    head = frame(envelope, None if payload is None else len(payload))
    return head + (payload or b"")


@contextlib.asynccontextmanager
async def stranger(address: Address) -> AsyncIterator[RawPeer]:
    """Connected, and nothing said yet."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    peer = RawPeer(reader, writer)
    try:
        yield peer
    finally:
        await peer.close()


@contextlib.asynccontextmanager
async def admitted(
    address: Address, kind: ConnectionClass = ConnectionClass.CONTROL
) -> AsyncIterator[RawPeer]:
    """Connected and welcome."""
    async with stranger(address) as peer:
        await peer.introduce(kind=kind)
        yield peer
