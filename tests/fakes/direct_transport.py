"""Calls between processes of one test: no bytes, no sockets, and a hand on every message.

What a connection would do is done: a node tells its life and the lives it knows with the first
answer and again when they changed; the deadline is kept; a caller that gives up is not heard of
again, while the node goes on with the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from node.handler import Asker, RequestHandler, Response
from ring.codec import Sender
from ring.digest import Buffer
from ring.errors import DeadlineExceeded, HoldfastError, Unreachable
from ring.life import NodeId
from ring.messages import Answer, FlagsReply, RecordReply, Request, StatesReply
from tests.fakes.served_request import served

Rewrite = Callable[[Request, Answer], Answer]
Refuse = Callable[[NodeId, Request], HoldfastError | None]


@dataclass(slots=True)
class Asked:
    """One call, as the network saw it."""

    caller: str
    node: NodeId
    request: Request
    epochs: tuple[int, ...]
    bulk: bool


@dataclass(slots=True)
class Held:
    """Calls that wait: those of `kind` to `node`, before they are served or after."""

    node: NodeId
    kind: type[Request]
    answers: bool
    caller: str | None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0

    def release(self) -> None:
        """Let go of what waits and of what comes."""
        self.gate.set()


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on.

    down: refuse connections.  frozen: answer nothing, ever.  delay_s: before a node hears of it.
    rewrite: what becomes of a node's answers.  refuse: an error in place of the answer, asked for
    every call; the work is not done.  cut: pairs of caller and node without a connection.
    """

    down: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)
    delay_s: dict[str, float] = field(default_factory=dict)
    rewrite: dict[str, Rewrite] = field(default_factory=dict)
    refuse: Refuse | None = None
    cut: set[tuple[str, str]] = field(default_factory=set)


class DirectNetwork:
    """Who answers under which name.

    asked: every call so far.  under_way: calls whose caller still waits.
    """

    def __init__(self) -> None:
        self.handlers: dict[NodeId, RequestHandler] = {}
        self.faults = Faults()
        self.asked: list[Asked] = []
        self.under_way = 0
        self._held: list[Held] = []
        self._work: dict[asyncio.Task[None], None] = {}

    def hold(
        self,
        node: NodeId,
        kind: type[Request],
        *,
        answers: bool = False,
        caller: str | None = None,
    ) -> Held:
        """Make calls of that kind wait before they are served, or (`answers`) afterwards."""
        held = Held(node, kind, answers, caller)
        self._held.append(held)
        return held

    def count(self, kind: type[Request], node: NodeId | None = None) -> int:
        """How many calls of that kind were made so far."""
        return len(self.calls_of(kind, node))

    def calls_of(self, kind: type[Request], node: NodeId | None = None) -> list[Asked]:
        """Calls of that kind so far, in order."""
        return [
            asked
            for asked in self.asked
            if isinstance(asked.request, kind) and node in {None, asked.node}
        ]

    def serve(self, call: Call) -> None:
        """Begin to work on one call."""
        work = asyncio.get_running_loop().create_task(self._serve(call))
        self._work[work] = None
        work.add_done_callback(self._work.pop)
        self.under_way += 1
        call.future.add_done_callback(self._over)

    def _over(self, future: asyncio.Future[Answer]) -> None:
        self.under_way -= 1

    async def _serve(self, call: Call) -> None:
        faults, asked, future = self.faults, call.asked, call.future
        node, request = asked.node, asked.request
        await asyncio.sleep(faults.delay_s.get(node, 0))
        await self._wait_if_held(asked, answers=False)
        if node in faults.frozen or (node, asked.caller) in faults.cut:
            return
        try:
            if node in faults.down or node not in self.handlers:
                raise Unreachable(f"{node} is down")
            refusal = None if faults.refuse is None else faults.refuse(node, request)
            if refusal is not None:
                raise refusal
            handler = self.handlers[node]
            asker = Asker(asked.caller, call.transport.is_peer, asked.epochs)
            response = handler.handle_now(request, asker)
            if response is None:
                response = await served(handler, request, call.payload, asker)
        except HoldfastError as error:
            if not future.done():
                future.set_exception(error)
            return
        await self._wait_if_held(asked, answers=True)
        if node in faults.frozen or (node, asked.caller) in faults.cut or future.done():
            return
        answer = call.transport.answer_of(node, handler.sender(), response)
        rewrite = faults.rewrite.get(node)
        future.set_result(answer if rewrite is None else rewrite(request, answer))

    async def _wait_if_held(self, asked: Asked, *, answers: bool) -> None:
        for held in self._held:
            wanted = held.node == asked.node and isinstance(asked.request, held.kind)
            if wanted and held.answers is answers and held.caller in {None, asked.caller}:
                held.waiting += 1
                await held.gate.wait()


@dataclass(slots=True)
class Call:
    """One call on its way."""

    asked: Asked
    transport: DirectTransport
    payload: Buffer | None
    future: asyncio.Future[Answer]


class DirectTransport:
    """ring.seams.Transport of one process."""

    def __init__(self, network: DirectNetwork, name: str, *, is_peer: bool = False) -> None:
        self.name = name
        self.is_peer = is_peer
        self._network = network
        self._told: dict[NodeId, Sender] = {}

    def call(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        epochs: tuple[int, ...],
        timeout_s: float,
        background: bool = False,
        bulk: bool = False,
    ) -> asyncio.Future[Answer]:
        """See Transport."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        asked = Asked(self.name, node, request, epochs, bulk)
        self._network.asked.append(asked)
        if (self.name, node) in self._network.faults.cut:
            future.set_exception(Unreachable(f"{node} cannot be reached from {self.name}"))
            return future

        def expire() -> None:
            if not future.done():
                future.set_exception(DeadlineExceeded(f"{node} did not answer in time"))

        timer = loop.call_later(timeout_s, expire)
        future.add_done_callback(lambda _: timer.cancel())
        self._network.serve(Call(asked, self, payload, future))
        return future

    def answer_of(self, node: NodeId, sender: Sender, response: Response) -> Answer:
        """What a connection makes of a response."""
        payload = response.payload
        assert payload is None or isinstance(payload, bytes | bytearray | memoryview)
        news = None if self._told.get(node) is sender else sender.peers
        self._told[node] = sender
        return Answer(node, sender.life, response.voter, response.reply, payload, news)


def receivers_answer(request: Request, answer: Answer) -> Answer:
    """A rewrite: the node answers as it would if it might not vote."""
    reply = answer.reply
    if isinstance(reply, StatesReply):
        reply = StatesReply((None,) * len(reply.states))
    elif isinstance(reply, FlagsReply):
        reply = FlagsReply((False,) * len(reply.flags))
    payload = None if isinstance(reply, RecordReply) else answer.payload
    return replace(answer, voter=False, reply=reply, payload=payload)
