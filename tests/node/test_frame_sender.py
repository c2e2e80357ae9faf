"""The writer: every byte in order, whatever the socket takes at a time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from node.frame_sender import Payload, SocketSender
from ring.limits import KIB, MIB
from tests.fakes.memory_span import MemorySpan
from tests.node.loops import LOOPS, NewLoop, run_on, until


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


class Line:
    """A sender and the other end of its socket."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self._near = near
        self._far = far
        self.failures: list[Exception] = []
        self.writes = 0
        loop = asyncio.get_running_loop()
        self.sender = SocketSender(loop, near, self._wrote, self.failures.append)

    def _wrote(self) -> None:
        self.writes += 1

    async def receive(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        received = bytearray()
        while len(received) < count:
            received += await loop.sock_recv(self._far, min(count - len(received), 50_000))
        return bytes(received)

    def hang_up(self) -> None:
        self._far.close()


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * KIB)
    held = Line(near, far)
    try:
        yield held
    finally:
        held.sender.close()
        near.close()
        far.close()


def pieces() -> list[tuple[bytes, bytes | None]]:
    sizes = [0, 1, 10, 1000, 70_000, 5, 3 * 65_536, 65_536, 65_537]
    return [
        (b"head%d" % i, None if i % 4 == 3 else bytes([i]) * sizes[i % len(sizes)])
        for i in range(40)
    ]


def whole(frames: list[tuple[bytes, bytes | None]]) -> bytes:
    return b"".join(head + (payload or b"") for head, payload in frames)


@pytest.mark.parametrize("as_spans", [False, True])
def test_everything_arrives_in_order(new_loop: NewLoop, as_spans: bool) -> None:
    frames = pieces()
    closed: list[int] = []

    def as_payload(data: bytes | None) -> Payload | None:
        return MemorySpan(data) if as_spans and data and len(data) > 999 else data

    async def main() -> None:
        async with line() as held:
            for number, (head, payload) in enumerate(frames):

                def sent(number: int = number) -> None:
                    closed.append(number)

                held.sender.send(head, as_payload(payload), None, sent)
            assert held.sender.queued_bytes == len(whole(frames))
            assert await held.receive(len(whole(frames))) == whole(frames)
            await until(lambda: len(closed) == len(frames))
            assert held.sender.queued_bytes == 0
            assert held.sender.written_bytes == len(whole(frames))
            assert closed == list(range(len(frames)))

    run_on(new_loop, main())


def test_what_one_turn_says_leaves_together(new_loop: NewLoop) -> None:
    async def main() -> None:
        async with line() as held:
            for i in range(20):
                held.sender.send(b"question %2d" % i)
            assert held.writes == 0
            await held.receive(20 * 11)
            assert held.writes == 1

    run_on(new_loop, main())


def test_whoever_has_nothing_to_write_is_left_alone(new_loop: NewLoop) -> None:
    """A socket that takes more wakes nobody for ever, however full it once was."""

    async def main() -> None:
        async with line() as held:
            held.sender.send(b"head", b"1" * MIB)
            await held.receive(MIB + 4)
            await until(lambda: held.sender.queued_bytes == 0)
            assert held.writes > 1, "the socket was full"
            writes = held.writes
            for _ in range(20):
                await asyncio.sleep(0)
            assert held.writes == writes
            held.sender.send(b"more")
            assert await held.receive(4) == b"more"

    run_on(new_loop, main())


def test_what_nobody_waits_for_is_left_out(new_loop: NewLoop) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with line() as held:
            over: asyncio.Future[None] = loop.create_future()
            waited: asyncio.Future[None] = loop.create_future()
            left: list[str] = []
            held.sender.send(b"one", b"1" * MIB, over, lambda: left.append("over"))
            held.sender.send(b"two", b"2" * 70_000, waited, lambda: left.append("waited"))
            over.set_result(None)
            assert await held.receive(70_003) == b"two" + b"2" * 70_000
            await until(lambda: held.sender.queued_bytes == 0)
            assert left == ["over", "waited"]

    run_on(new_loop, main())


def test_what_has_begun_to_leave_is_finished_from_a_copy(new_loop: NewLoop) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with line() as held:
            buffers = [bytearray(b"1" * MIB), bytearray(b"2" * MIB), bytearray(b"3" * MIB)]
            calls: list[asyncio.Future[None]] = [loop.create_future() for _ in buffers]
            for buffer, call in zip(buffers, calls, strict=True):
                held.sender.send(b"head", buffer, call)
            await until(lambda: held.sender.written_bytes > 0)
            calls[0].set_result(None)
            calls[1].set_result(None)
            held.sender.drop_unwanted()
            buffers[0][:] = buffers[1][:] = bytes(MIB)
            assert held.sender.queued_bytes <= 2 * (MIB + 4)
            expected = b"head" + b"1" * MIB + b"head" + b"3" * MIB
            assert await held.receive(len(expected)) == expected

    run_on(new_loop, main())


@pytest.mark.parametrize("how", ["close", "failure"])
def test_nothing_that_was_queued_is_forgotten_at_the_end(new_loop: NewLoop, how: str) -> None:
    async def main() -> None:
        async with line() as held:
            left: list[int] = []
            for number in range(4):

                def sent(number: int = number) -> None:
                    left.append(number)

                held.sender.send(b"head", MemorySpan(b"x" * MIB), None, sent)
            await until(lambda: held.sender.written_bytes > 0)
            if how == "close":
                held.sender.close()
                assert not held.failures
            else:
                held.hang_up()
                await until(lambda: len(held.failures) == 1)
            assert left == [0, 1, 2, 3]
            late: list[Callable[[], None]] = []
            held.sender.send(b"late", None, None, lambda: late.append(held.hang_up))
            assert late
            assert held.sender.queued_bytes == 0

    run_on(new_loop, main())
