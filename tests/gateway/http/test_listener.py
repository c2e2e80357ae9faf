"""Who waits at the door is let in at once, however many wait, and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest

from gateway.http.listener import Listener
from tests.gateway.http.doors import HOST, until
from tests.gateway.http.wire import PATIENCE_S


class Greeter(asyncio.Protocol):
    """Says hello."""

    def __init__(self, made: list[Greeter]) -> None:
        self._made = made
        self.transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one without saying so
        self.transport = cast("asyncio.WriteTransport", transport)
        self.transport.write(b"hello")
        self._made.append(self)


class Greeting:
    """A listener that makes greeters, and how many turns of the loop there were."""

    def __init__(self) -> None:
        self.made: list[Greeter] = []
        self.listener = Listener(asyncio.get_running_loop(), self._greeter)
        self.port = 0
        self.ends_with_the_first = False

    def _greeter(self) -> Greeter:
        if self.ends_with_the_first:
            self.listener.close()
        return Greeter(self.made)

    async def turns_until(self, count: int) -> int:
        """Turns of the loop until so many clients were let in; at most 1,000."""
        for turn in range(1_000):
            if len(self.made) >= count:
                return turn
            await asyncio.sleep(0)
        raise AssertionError(f"{len(self.made)} of {count} were let in")


@asynccontextmanager
async def greeting(host: str = HOST) -> AsyncIterator[Greeting]:
    one = Greeting()
    _, one.port = await one.listener.open(host, 0, reuse_port=False)
    try:
        yield one
    finally:
        one.listener.close()
        await one.listener.arrived()
        for greeter in one.made:
            greeter.transport.close()
        await asyncio.sleep(0)


@contextmanager
def clients(count: int, port: int) -> Iterator[list[socket.socket]]:
    """Connections that the kernel made, and nobody took yet."""
    made: list[socket.socket] = []
    try:
        made.extend(socket.create_connection((HOST, port)) for _ in range(count))
        yield made
    finally:
        for client in made:
            client.close()


async def heard(client: socket.socket) -> bytes:
    """What the client is greeted with."""
    client.setblocking(False)
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.get_running_loop().sock_recv(client, 5)


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Nothing can be opened by this process, which hangs on to what it has."""
    probe = os.dup(0)
    os.close(probe)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_crowd_is_let_in_within_a_few_turns_of_the_loop() -> None:
    async with greeting() as one:
        with clients(600, one.port):
            assert await one.turns_until(600) <= 12


async def test_those_who_are_in_have_their_turns_while_a_crowd_is_let_in() -> None:
    async with greeting() as one:
        with clients(600, one.port):
            await one.turns_until(1)

            assert len(one.made) <= 256


async def test_a_host_that_has_several_addresses_is_listened_at() -> None:
    async with greeting("localhost") as one:
        with clients(1, one.port) as [client]:
            await one.turns_until(1)
            assert await heard(client) == b"hello"


async def test_what_was_taken_before_the_end_is_not_lost() -> None:
    async with greeting() as one:
        one.ends_with_the_first = True
        with clients(3, one.port) as connected:
            await one.turns_until(3)
            await one.listener.arrived()

            assert [await heard(client) for client in connected] == [b"hello"] * 3


async def test_nobody_is_let_in_after_the_end() -> None:
    async with greeting() as one:
        one.listener.close()
        one.listener.close()

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, one.port))


async def test_an_address_that_is_taken_is_an_error_and_nothing_listens() -> None:
    async with greeting() as one:
        other = Listener(asyncio.get_running_loop(), lambda: Greeter(one.made))
        with pytest.raises(OSError, match="in use"):
            await other.open(HOST, one.port, reuse_port=False)
        other.close()


async def test_without_descriptors_it_pauses_and_then_goes_on(
    logged: list[MutableMapping[str, Any]],
) -> None:
    async with greeting() as one:
        with clients(1, one.port) as [client]:
            with no_descriptors_left():
                await until(lambda: bool(logged))
            assert one.made == []

            await until(lambda: bool(one.made))
            assert await heard(client) == b"hello"
    assert [line["event"] for line in logged] == ["no connection can be taken"]


async def test_it_can_be_closed_while_it_pauses(logged: list[MutableMapping[str, Any]]) -> None:
    async with greeting() as one:
        with clients(1, one.port):
            with no_descriptors_left():
                await until(lambda: bool(logged))
            one.listener.close()

            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, one.port))
