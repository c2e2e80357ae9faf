"""The simulated network: every message encoded and decoded, delayed, lost, doubled or cut off.

Rules:
1.  A request and its reply are two journeys; each may be lost by itself, so the work may be done
    although nobody hears of it.
2.  A request may arrive twice (it is served twice, the first reply wins), and long after its caller
    gave up.  It is served by whoever answers under that name by then.
3.  A process that ended neither sends nor hears: calls of a dead process never return.
4.  A broken connection is Unreachable; silence is DeadlineExceeded, in virtual time.
5.  What a node says travels only if it still lived when it said it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from node.handler import Asker, RequestHandler, Response
from ring.codec import (
    RejectedRequest,
    RequestEnvelope,
    Sender,
    decode_reply,
    decode_request,
    encode_error,
    encode_reply,
    encode_request,
)
from ring.control import Lives
from ring.digest import Buffer
from ring.errors import DeadlineExceeded, HoldfastError, Unreachable
from ring.life import NodeId
from ring.limits import ENVELOPE_BYTES_MAX, PAYLOAD_BYTES_MAX
from ring.messages import Answer, Reply, Request
from tests.fakes.served_request import served
from tests.sim.loop import owner
from tests.sim.message_words import words_of
from tests.sim.trace import Trace

Place = str
"""Name of a node or a gateway: what a link runs between."""


class Process(Protocol):
    """Something that ends: what it waits for afterwards never comes."""

    alive: bool


@dataclass(slots=True)
class NetworkFaults:
    """Rates are probabilities per journey.

    delay_s: mean of a journey.  straggle_s: the longest delay of a message that goes astray.
    enforced_rate: how often a server drops work whose asker's deadline has passed.
    """

    delay_s: float = 0.001
    loss_rate: float = 0.0
    duplicate_rate: float = 0.0
    straggle_rate: float = 0.0
    straggle_s: float = 60.0
    enforced_rate: float = 0.5
    slow: dict[Place, float] = field(default_factory=dict)


class Observer(Protocol):
    """Hears what crosses the network, for the checkers."""

    def asked(self, caller: Place, node: NodeId, request: Request) -> None:
        """A living process sends a request."""

    def answered(self, node: NodeId, request: Request, response: Response) -> None:
        """A living node sends a response that is no error."""


@dataclass(slots=True)
class Call:
    """One request on its way."""

    number: int
    caller: SimTransport
    node: NodeId
    envelope: bytes
    payload: bytes | None
    future: asyncio.Future[Answer]


class Network:
    """All links and who answers under which name."""

    def __init__(self, rng: Random, trace: Trace, observer: Observer | None = None) -> None:
        self.faults = NetworkFaults()
        self.refuses: dict[Place, bool] = {}  # a name with nobody behind it: refused, or silent
        self._rng = rng
        self._trace = trace
        self._observer = observer
        self._served: dict[NodeId, tuple[RequestHandler, Process]] = {}
        self._cuts: Counter[tuple[Place, Place]] = Counter()
        self._held: dict[Place, list[Callable[[], None]]] = {}
        self._calls = 0
        self._tasks: dict[asyncio.Task[None], None] = {}

    def attach(self, node: NodeId, handler: RequestHandler, process: Process) -> None:
        """From now on `handler` answers for `node`, as long as `process` lives."""
        self._served[node] = (handler, process)

    def detach(self, node: NodeId, *, refuses: bool) -> None:
        """Nobody answers for `node`: a closed port (`refuses`) or a machine that is off."""
        self._served.pop(node, None)
        self.refuses[node] = refuses

    def cut(self, source: Place, target: Place) -> None:
        """Nothing gets from `source` to `target` any more; the way back is another link."""
        self._cuts[source, target] += 1

    def join(self, source: Place, target: Place) -> None:
        """Take one cut back; the link works once all are."""
        if self._cuts[source, target]:
            self._cuts[source, target] -= 1

    def hold(self, target: Place) -> None:
        """Keep whatever reaches `target` outside until `release`."""
        self._held.setdefault(target, [])

    def release(self, target: Place) -> None:
        """Deliver what was held, in order."""
        for arrive in self._held.pop(target, []):
            arrive()

    def lose_held(self, target: Place) -> None:
        """What was held is not delivered: its connections broke with the process."""
        self._held.pop(target, None)

    def mend(self) -> None:
        """Every link works again."""
        self._cuts.clear()

    # --- one call ---------------------------------------------------------------------------------

    def call(
        self,
        caller: SimTransport,
        node: NodeId,
        request: Request,
        payload: Buffer | None,
        *,
        epochs: tuple[int, ...],
        timeout_s: float,
    ) -> asyncio.Future[Answer]:
        """See Transport."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        if not caller.process.alive:
            return future
        self._calls += 1
        deadline_ms = max(1, round(timeout_s * 1000))
        envelope = encode_request(self._calls, request, deadline_ms=deadline_ms, epochs=epochs)
        data = None if payload is None else bytes(payload)
        assert len(envelope) <= ENVELOPE_BYTES_MAX
        assert data is None or len(data) <= PAYLOAD_BYTES_MAX
        self._trace.event("ask", self._calls, caller.place, node, words_of(request))
        if self._observer is not None:
            self._observer.asked(caller.place, node, request)
        call = Call(self._calls, caller, node, envelope, data, future)
        timer = loop.call_later(timeout_s, self._give_up, call, timeout_s)
        future.add_done_callback(lambda _: timer.cancel())
        copies = 1
        if self._happens(self.faults.duplicate_rate):
            self._trace.fault("duplicate", self._calls)
            copies = 2
        for _ in range(copies):
            self._send(call, caller.place, node, lambda: self._arrive(call))
        return future

    def _give_up(self, call: Call, timeout_s: float) -> None:
        if call.caller.process.alive and not call.future.done():
            self._trace.event("silence", call.number)
            call.future.set_exception(DeadlineExceeded(f"{call.node}: nothing in {timeout_s} s"))

    def _send(self, call: Call, source: Place, target: Place, arrive: Callable[[], None]) -> None:
        """Let something travel; what is lost may break the connection, which the caller sees."""
        if self._cuts[source, target]:
            self._trace.event("cut-off", call.number)
            return
        loop = asyncio.get_running_loop()
        delay_s = self._delay_s(source, target)
        if self._happens(self.faults.loss_rate):
            self._trace.fault("loss", call.number)
            broken = partial(self._break, call, "connection lost")
            if self._rng.random() < 0.5:
                loop.call_later(delay_s, self._deliver, call.caller.place, broken)
            return
        if self._happens(self.faults.straggle_rate):
            self._trace.fault("straggler", call.number)
            delay_s += self._rng.uniform(0.0, self.faults.straggle_s)
        world = owner.set(None)  # what has been sent does not stop with its sender
        loop.call_later(delay_s, self._deliver, target, arrive)
        owner.reset(world)

    def _deliver(self, target: Place, arrive: Callable[[], None]) -> None:
        held = self._held.get(target)
        if held is None:
            arrive()
        else:
            context = copy_context()
            held.append(lambda: context.run(arrive))

    def _arrive(self, call: Call) -> None:
        served = self._served.get(call.node)
        if served is None or not served[1].alive:
            if self.refuses.get(call.node, True):
                back = call.caller.place
                self._send(call, call.node, back, lambda: self._break(call, "connection refused"))
            return
        handler, process = served
        token = owner.set(process)
        try:
            self._handle(call, handler, process)
        finally:
            owner.reset(token)

    def _handle(self, call: Call, handler: RequestHandler, process: Process) -> None:
        """A living node has a request."""
        try:
            envelope = decode_request(call.envelope)
        except RejectedRequest as rejected:
            self._answer(call, process, encode_error(call.number, rejected.error), None)
            return
        asker = Asker(call.caller.place, call.caller.is_peer, envelope.epochs)
        try:
            response = handler.handle_now(envelope.request, asker)
        except HoldfastError as error:
            self._answer(call, process, encode_error(call.number, error), None)
            return
        if response is not None:
            self._respond(call, handler, process, envelope.request, response)
            return
        self._serve(call, handler, process, envelope, asker)

    def _serve(
        self,
        call: Call,
        handler: RequestHandler,
        process: Process,
        envelope: RequestEnvelope,
        asker: Asker,
    ) -> None:
        """Let the node work on it, in a task that the network owns."""

        async def work() -> None:
            payload = None if call.payload is None else memoryview(bytearray(call.payload))
            try:
                response = await served(handler, envelope.request, payload, asker)
            except HoldfastError as error:
                self._answer(call, process, encode_error(call.number, error), None)
                return
            self._respond(call, handler, process, envelope.request, response)

        loop = asyncio.get_running_loop()
        task = loop.create_task(work(), name=f"call {call.number}")
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        if self._rng.random() < self.faults.enforced_rate:
            timer = loop.call_later(envelope.deadline_ms / 1000, task.cancel)
            task.add_done_callback(lambda _: timer.cancel())

    def _respond(
        self,
        call: Call,
        handler: RequestHandler,
        process: Process,
        request: Request,
        response: Response,
    ) -> None:
        if process.alive:
            words = "" if response.payload is None else "with its value"
            self._trace.event("answer", call.number, words_of(response.reply), words)
            if self._observer is not None:
                self._observer.answered(call.node, request, response)
        envelope = encode_reply(
            call.number, response.reply, voter=response.voter, sender=handler.sender()
        )
        assert len(envelope) <= ENVELOPE_BYTES_MAX
        value = response.payload
        if value is not None:
            assert isinstance(value, bytes | bytearray | memoryview), "SimDisk has no spans"
            value = bytes(value)
        self._answer(call, process, envelope, value)

    def _answer(
        self, call: Call, process: Process, envelope: bytes, payload: bytes | None
    ) -> None:
        if process.alive:
            back = call.caller.place
            self._send(call, call.node, back, lambda: self._return(call, envelope, payload))

    def _return(self, call: Call, envelope: bytes, payload: bytes | None) -> None:
        if not call.caller.process.alive or call.future.done():
            return
        reply = decode_reply(envelope)
        if isinstance(reply.outcome, HoldfastError):
            self._trace.event("refusal", call.number, reply.outcome.code)
            call.future.set_exception(reply.outcome)
            return
        assert isinstance(reply.outcome, Reply)
        assert reply.sender is not None
        self._trace.event("reply", call.number)
        peers = call.caller.news_from(call.node, reply.sender)
        answer = Answer(
            node=call.node,
            life=reply.sender.life,
            voter=reply.voter,
            reply=reply.outcome,
            payload=payload,
            peers=peers,
        )
        call.future.set_result(answer)

    def _break(self, call: Call, words: str) -> None:
        if call.caller.process.alive and not call.future.done():
            self._trace.event("broken", call.number)
            call.future.set_exception(Unreachable(f"{call.node}: {words}"))

    def _delay_s(self, source: Place, target: Place) -> float:
        slow = max(self.faults.slow.get(source, 1.0), self.faults.slow.get(target, 1.0))
        return (0.1 + self._rng.expovariate(1.0)) * self.faults.delay_s * slow

    def _happens(self, rate: float) -> bool:
        return bool(rate) and self._rng.random() < rate


class SimTransport:
    """The Transport seam of one process."""

    def __init__(
        self, network: Network, place: Place, process: Process, *, is_peer: bool
    ) -> None:
        self.place = place
        self.process = process
        self.is_peer = is_peer
        self._network = network
        self._senders: dict[NodeId, Sender] = {}

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
        return self._network.call(
            self, node, request, payload, epochs=epochs, timeout_s=timeout_s
        )

    def news_from(self, node: NodeId, sender: Sender) -> Lives | None:
        """Lives that a node tells of, unless its last answer told the same."""
        if self._senders.get(node) == sender:
            return None
        self._senders[node] = sender
        return sender.peers
