"""Calls to one node over one connection, which is made when somebody asks and made again when it
broke.

Rules:
1.  A call is a future and an entry in a table: no task, no timer of its own.
2.  Every call ends: by an answer, at its deadline, when the connection breaks, or when whoever made
    it cancels it.  An answer that comes later is dropped.
3.  Once a call is over, nothing reads its payload any more.
4.  While a node is known to be down, calls fail at once; attempts go on behind them, further and
    further apart, for as long as somebody asks.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from node.asker_connection import AskerConnection
from node.deadline_sweep import DeadlineSweep
from ring.codec import Sender, decode_reply, encode_request, frame
from ring.control import Lives
from ring.digest import Buffer
from ring.errors import Busy, DeadlineExceeded, HoldfastError, PeerProtocol, Unreachable
from ring.life import Life, NodeId
from ring.limits import MIB, PAYLOAD_SMALL_BYTES_MAX
from ring.messages import Answer, Request
from ring.seams import Randomness

_LOOKS_APART_S_MAX: Final = 2.0  # they come every fifth of a second while a node is in doubt

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Patience and bounds of connections to nodes.

    connect_timeout_s: from the first packet to being welcome.
    retry_s_min, retry_s_max: between attempts while a node is down, doubling, with jitter.
    unacknowledged_bytes_max: payload bytes sent or to be sent to one node and not answered yet.
        Above the chunks that a gateway holds in memory (CallSettings), so that a cluster with slow
        disks makes uploads wait for memory and does not turn them away.
    calls_max: calls under way on one connection.
    silence_s: how long a connection of a node in doubt may be silent.
    """

    connect_timeout_s: float = 2.0
    retry_s_min: float = 0.05
    retry_s_max: float = 1.0
    unacknowledged_bytes_max: int = 512 * MIB
    calls_max: int = 16_384
    silence_s: float = 2.0


class Unacknowledged:
    """Payload bytes under way to one node, over all its connections."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Call(asyncio.Future[Answer]):
    """One call under way."""

    __slots__ = ("deadline", "link", "number", "payload_bytes")
    deadline: float
    link: Link
    number: int
    payload_bytes: int

    def cancel(self, msg: object = None) -> bool:
        """See asyncio.Future; the call is forgotten."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.link.forget(self)
        return cancelled

    def fail(self, error: HoldfastError) -> None:
        """End it; that nobody looks at the error of an abandoned call is no fault."""
        self.set_exception(error)
        self.exception()


class Link:
    """One connection to `node`, now or when needed.  dial: makes one and waits to be welcome."""

    def __init__(
        self,
        node: NodeId,
        dial: Callable[[Link], Awaitable[tuple[AskerConnection, Life]]],
        *,
        settings: LinkSettings,
        unacknowledged: Unacknowledged,
        randomness: Randomness,
        counters: Counter[str],
    ) -> None:
        self.node = node
        self._dial = dial
        self._settings = settings
        self._unacknowledged = unacknowledged
        self._randomness = randomness
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._sweep = DeadlineSweep(self._loop, self._expire)
        self._pending: dict[int, Call] = {}
        self._unsent: deque[tuple[bytes, Buffer | None, Call]] = deque()
        self._number = 0
        self._connection: AskerConnection | None = None
        self._life = Life(0, 0, 0)
        self._news: Lives | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._down: HoldfastError | None = None
        self._failures = 0
        self._asked = False
        self._silent: tuple[int, float] | None = None  # see hang_up_if_silent
        self._looked_s = 0.0

    def call(
        self, request: Request, payload: Buffer | None, epochs: tuple[int, ...], timeout_s: float
    ) -> Call:
        """See ring.seams.Transport."""
        loop = self._loop
        call = Call(loop=loop)
        size = 0 if payload is None else len(payload)
        refusal = self._refusal(timeout_s, size)
        if refusal is not None:
            call.fail(refusal)
            return call
        self._number = number = self._number + 1
        deadline = loop.time() + timeout_s
        call.link, call.number, call.deadline, call.payload_bytes = self, number, deadline, size
        envelope = encode_request(
            number, request, deadline_ms=math.ceil(timeout_s * 1000), epochs=epochs
        )
        head = frame(envelope, None if payload is None else size)
        self._unacknowledged.bytes += size
        self._pending[number] = call
        self._sweep.watch(deadline)
        if self._connection is not None:
            self._connection.sender.send(head, payload, call)
        else:
            self._unsent.append((head, payload, call))
            if self._dialling is None:
                self._dialling = loop.create_task(self._dial_until_up())
        return call

    def forget(self, call: Call) -> None:
        """Nobody waits for this call any more; its payload is the caller's again."""
        if self._pending.pop(call.number, None) is None:
            return
        self._unacknowledged.bytes -= call.payload_bytes
        if call.payload_bytes > PAYLOAD_SMALL_BYTES_MAX:
            self._drop_unwanted()

    def answered(self, envelope: memoryview, payload: Buffer | None) -> None:
        """See AnswerTaker."""
        reply = decode_reply(envelope)
        sender = reply.sender
        if sender is not None:
            self._heard_of(sender)
        call = self._pending.pop(reply.request_id, None)
        if call is None:
            self._unexpected(reply.request_id, reply.outcome)
            return
        self._unacknowledged.bytes -= call.payload_bytes
        outcome = reply.outcome
        if isinstance(outcome, HoldfastError):
            call.fail(outcome)
            return
        news, self._news = self._news, None
        call.set_result(Answer(self.node, self._life, reply.voter, outcome, payload, news))

    def lost(self, error: HoldfastError) -> None:
        """See AnswerTaker."""
        connection, self._connection = self._connection, None
        if connection is None:
            return  # it broke before the dialling task could say that it is up
        self._counters["connections_lost_total"] += 1
        if isinstance(error, PeerProtocol):
            self._counters["protocol_violations_total"] += 1
            log.warning("a node broke the protocol", node=self.node, error=error.detail)
        self._failures = self._failures + 1 if connection.answers == 0 else 0
        self._fail_all(error)

    def hang_up_if_silent(self) -> None:
        """Break the connection if calls wait and nothing came since this was asked `silence_s` ago.

        It has to be asked again and again meanwhile: of a silence that nobody looked at it is not
        known whether anybody waited.
        The next call makes a new one.  What the network lost of the old one would be sent again
        after a pause as long as the loss: a node that is back would stay away for as long again.
        """
        connection, now = self._connection, self._loop.time()
        was_left, self._looked_s = now - self._looked_s > _LOOKS_APART_S_MAX, now
        if connection is None or not self._pending:
            self._silent = None
            return
        if was_left or self._silent is None or self._silent[0] != connection.answers:
            self._silent = (connection.answers, now)
        elif now - self._silent[1] >= self._settings.silence_s:
            self._silent = None
            self._counters["connections_hung_up_total"] += 1
            connection.abort()

    def refuse(self) -> None:
        """Fail every call from now on."""
        self._down = Unreachable("this process is closing its connections")

    async def close(self) -> None:
        """Fail what is under way and let go of the connection."""
        self.refuse()
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        if self._connection is not None:
            gone = self._connection.gone
            self._connection.abort()
            await gone
        self._fail_all(Unreachable("this process is closing its connections"))
        self._sweep.close()

    def _refusal(self, timeout_s: float, payload_bytes: int) -> HoldfastError | None:
        """Why a call fails before it is made; None for most."""
        if self._down is not None:
            self._asked = True
            return type(self._down)(self._down.detail)
        if timeout_s <= 0:
            return DeadlineExceeded(f"no time was left to ask {self.node}")
        if len(self._pending) >= self._settings.calls_max:
            self._counters["busy_total"] += 1
            return Busy(f"{len(self._pending)} calls to {self.node} are under way")
        bytes_max = self._settings.unacknowledged_bytes_max
        if payload_bytes and self._unacknowledged.bytes + payload_bytes > bytes_max:
            self._counters["busy_total"] += 1
            return Busy(f"{bytes_max} bytes to {self.node} are not acknowledged yet")
        return None

    def _heard_of(self, sender: Sender) -> None:
        self._life = sender.life
        self._news = sender.peers

    def _unexpected(self, number: int, outcome: object) -> None:
        """An answer that nobody waits for: too late, or a word before the node hangs up."""
        if number == 0 and isinstance(outcome, HoldfastError):
            self._counters["protocol_violations_total"] += 1
            log.warning("a node refused the connection", node=self.node, error=outcome.detail)
        else:
            self._counters["late_replies_total"] += 1

    def _expire(self, now: float) -> float:
        due = [call for call in self._pending.values() if call.deadline <= now]
        freed = False
        for call in due:
            del self._pending[call.number]
            self._unacknowledged.bytes -= call.payload_bytes
            freed = freed or call.payload_bytes > PAYLOAD_SMALL_BYTES_MAX
            self._counters["deadline_exceeded_total"] += 1
            call.fail(DeadlineExceeded(f"{self.node} did not answer in time"))
        if freed:
            self._drop_unwanted()
        return min((call.deadline for call in self._pending.values()), default=math.inf)

    def _drop_unwanted(self) -> None:
        if self._unsent:
            self._unsent = deque(entry for entry in self._unsent if not entry[2].done())
        if self._connection is not None:
            self._connection.sender.drop_unwanted()

    def _fail_all(self, error: HoldfastError) -> None:
        pending, self._pending = self._pending, {}
        self._unsent.clear()
        for call in pending.values():
            self._unacknowledged.bytes -= call.payload_bytes
            call.fail(type(error)(f"{self.node}: {error.detail}"))

    async def _dial_until_up(self) -> None:
        try:
            while not await self._dial_once():
                self._asked = False
                await asyncio.sleep(self._pause_s())
                if not self._asked:
                    self._down = None  # nobody is interested; the next call tries again
                    return
        finally:
            self._dialling = None

    async def _dial_once(self) -> bool:
        """Whether the link is up now."""
        try:
            connection, self._life = await self._dial(self)
            if connection.over:
                raise Unreachable("the connection broke at once")
        except HoldfastError as error:
            failure = error
        except Exception as error:  # the top of a task: log, count, fail the calls
            log.exception("dialling failed unexpectedly", node=self.node)
            failure = Unreachable(f"dialling failed: {type(error).__name__}")
        else:
            self._connection, self._down = connection, None
            self._counters["connections_total"] += 1
            while self._unsent:
                connection.sender.send(*self._unsent.popleft())
            return True
        self._counters["connection_failures_total"] += 1
        self._failures += 1
        self._fail_all(failure)
        self._down = type(failure)(f"{self.node}: {failure.detail}")
        return False

    def _pause_s(self) -> float:
        """Doubling with each failure; between half of it and all of it, so that nodes spread."""
        doubled: float = self._settings.retry_s_min * 2 ** min(self._failures - 1, 16)
        share = 0.5 + self._randomness.octets(1)[0] / 510
        return min(doubled, self._settings.retry_s_max) * share
