"""The usual GET: the first nodes answer, agree on a live root, and the best one delivers.

It asks what `ReadPlan` would ask first and serves what the plan would serve, at a fraction of the
cost.  Rule: whatever is not exactly the usual case is left to the plan, which asks for itself; it
is told who was slow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from gateway.cluster import Cluster
from gateway.latency import Latency
from gateway.state_questions import StateQuestions
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.messages import Answer, GetRecord, RecordReply
from ring.record import RecordKey, RecordState
from ring.suspicion import Lane, Tally


class ShortRead:
    """One try.  The first of `first` is asked for the bytes, the others for their states."""

    __slots__ = ("_call", "_cluster", "_first", "_gave_up", "_is_unusual", "_left", "_loop",
                 "_started_s", "_states", "_tally", "_waiter")

    def __init__(
        self,
        cluster: Cluster,
        questions: StateQuestions,
        key: RecordKey,
        first: Sequence[NodeId],
        *,
        live: LiveLayouts,
        timeout_s: float,
    ) -> None:
        self._cluster = cluster
        self._first = first
        self._loop = loop = asyncio.get_running_loop()
        self._started_s = loop.time()
        self._waiter: asyncio.Future[None] = loop.create_future()
        self._left = len(first)
        self._is_unusual = False
        self._gave_up = False  # on the bytes
        self._states: list[RecordState] = []
        request = GetRecord(key, PAYLOAD_SMALL_BYTES_MAX)
        self._tally: Tally = cluster.suspicion.tallies(first[0])[Lane.READS]
        cluster.vigil.asked(self._tally, request)
        call = cluster.ask(first[0], request, live=live, timeout_s=timeout_s)
        self._call: asyncio.Future[Answer] = asyncio.ensure_future(call)
        self._call.add_done_callback(self._bytes_arrived)
        for node in first[1:]:
            questions.ask(node, live, key, self)

    async def run(self, patience: Patience) -> Answer | None:
        """The answer with the bytes (or too long for them), not verified yet; None for the plan."""
        patience.watch(self)
        try:
            await self._waiter
            while self._left and not self._is_unusual and not self._may_ask_others():
                self._waiter = self._loop.create_future()
                patience.recheck(self)
                await self._waiter  # overdue, but no extra question may be asked now
        finally:
            self._gave_up = not self._call.done()
            if self._gave_up:
                self._call.cancel()
        if self._left or self._is_unusual:
            return None
        elapsed_s = self._loop.time() - self._started_s
        patience.observe(elapsed_s)
        answer = self._agreed()
        if answer is not None:
            self._cluster.latency(self._first[0]).observe(elapsed_s)  # the others get their turn
        return answer

    def _may_ask_others(self) -> bool:
        """Within the budget, or because of a node in doubt."""
        cluster = self._cluster
        if cluster.suspicion.has_doubts:
            silent = self._silent(is_without_bytes=not self._call.done())
            if any(cluster.is_doubted(node, Lane.READS) for node in silent):
                return True
        return cluster.hedges.spend()

    def _agreed(self) -> Answer | None:
        """The answer with the bytes, if all roots are the same live one."""
        answer = self._call.result()
        reply = answer.reply
        if (
            answer.peers is not None
            or not isinstance(reply, RecordReply)
            or not self._cluster.counts(answer)
        ):
            return None
        state = reply.state
        if not state.held or not state.visible or not state.kind:
            return None
        for other in self._states:
            if other.root != state.root:
                return None
        return answer

    def slow(self) -> Sequence[NodeId]:
        """After an overdue end: who had not answered."""
        if self._is_unusual or not self._left:
            return ()
        return self._silent(is_without_bytes=self._gave_up)

    def _silent(self, *, is_without_bytes: bool) -> Sequence[NodeId]:
        missing_state = len(self._states) < len(self._first) - 1
        late = self._first[1:] if missing_state else ()
        return (self._first[0], *late) if is_without_bytes else late

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return self._waiter.done()

    def overdue(self) -> None:
        """It takes longer than usual."""
        if not self._waiter.done():
            self._waiter.set_result(None)

    def state_arrived(self, state: RecordState) -> None:
        self._states.append(state)
        self._left -= 1
        if not self._left and not self._waiter.done():
            self._waiter.set_result(None)

    def state_failed(self) -> None:
        self._is_unusual = True
        self.overdue()

    def _bytes_arrived(self, future: asyncio.Future[Answer]) -> None:
        if future.cancelled():
            if not self._gave_up:
                self.state_failed()
            return
        error = future.exception()
        is_voter = error is not None or future.result().voter
        self._cluster.vigil.ended(self._tally, error, self._started_s, is_voter=is_voter)
        if error is not None:
            if not self._gave_up:
                self.state_failed()  # the plan asks again, and says what is wrong
            return
        self._cluster.hear(future.result())
        self._left -= 1
        if not self._left:
            self.overdue()


class Patience:
    """One timer for all short reads: wakes those that take longer than usual.

    A timer for each of ten thousand reads a second would cost more than it gives.
    floor_s: nobody is woken earlier than this.  recheck_s: between later looks at one read.
    """

    __slots__ = ("_due", "_floor_s", "_latency", "_loop", "_recheck_s", "_timer")

    def __init__(self, floor_s: float, recheck_s: float) -> None:
        self._floor_s = floor_s
        self._recheck_s = recheck_s
        self._latency = Latency()
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, ShortRead]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, read: ShortRead) -> None:
        """Wake `read` after the usual time, if it is not over by then."""
        due = self._loop.time() + max(self._floor_s, 2 * self._latency.p95_s)
        self._due.append((due, read))
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._tick)

    def recheck(self, read: ShortRead) -> None:
        """Wake it again after a while; costs a timer, as only trouble does."""
        self._loop.call_later(self._recheck_s, read.overdue)

    def observe(self, elapsed_s: float) -> None:
        """A short read ended well."""
        self._latency.observe(elapsed_s)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._due and (self._due[0][0] <= now or self._due[0][1].is_over):
            _, read = self._due.popleft()
            read.overdue()
        if self._due:
            self._timer = self._loop.call_at(self._due[0][0], self._tick)
