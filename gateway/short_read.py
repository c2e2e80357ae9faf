"""The usual GET: the first nodes answer, agree on a live root, and the best one delivers.

It asks what `ReadPlan` would ask first and serves what the plan would serve, at a fraction of the
cost.  Rule: whatever is not exactly the usual case is left to the plan, which is told what was
asked here and hears the answers as if it had asked itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from gateway.cluster import Cluster
from gateway.latency import Latency
from ring.life import NodeId
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.messages import Answer, GetRecord, RecordReply
from ring.record import RecordKey

Calls = list[tuple[NodeId, "asyncio.Future[Answer]"]]


class ShortRead:
    """One try.  calls: in the order of `first`, the first of which is asked for the bytes."""

    __slots__ = ("_cluster", "_left", "_loop", "_started_s", "_waiter", "calls")

    def __init__(
        self, cluster: Cluster, key: RecordKey, first: Sequence[NodeId], timeout_s: float
    ) -> None:
        self._cluster = cluster
        self._loop = loop = asyncio.get_running_loop()
        self._started_s = loop.time()
        self._waiter: asyncio.Future[None] = loop.create_future()
        self._left = len(first)
        self.calls: Calls = []
        bytes_max = PAYLOAD_SMALL_BYTES_MAX
        for node in first:
            call = cluster.ask(node, GetRecord(key, bytes_max), timeout_s=timeout_s)
            future = asyncio.ensure_future(call)
            future.add_done_callback(self._arrived)
            self.calls.append((node, future))
            bytes_max = 0

    async def run(self, patience: Patience) -> Answer | None:
        """The answer with the bytes (or too long for them), not verified yet; None for the plan.

        Cancelled, it cancels its calls.
        """
        patience.watch(self)
        try:
            await self._waiter
            while self._left and not self._failed() and not self._cluster.hedges.spend():
                self._waiter = self._loop.create_future()
                await self._waiter  # overdue, but no extra question may be asked now
        except asyncio.CancelledError:
            for _, future in self.calls:
                future.cancel()
            raise
        if self._left or self._failed():
            return None
        elapsed_s = self._loop.time() - self._started_s
        patience.observe(elapsed_s)
        best: Answer | None = None
        for node, future in self.calls:
            self._cluster.latency(node).observe(elapsed_s)
            answer = future.result()
            reply = answer.reply
            if (
                answer.peers is not None
                or type(reply) is not RecordReply
                or not self._cluster.counts(answer)
            ):
                return None
            if best is None:
                if not reply.state.held or not reply.state.visible:
                    return None
                best, root = answer, reply.state.root
            elif reply.state.root != root:
                return None
        return best

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return self._waiter.done()

    def overdue(self) -> None:
        """It takes longer than usual."""
        if not self._waiter.done():
            self._waiter.set_result(None)

    def _failed(self) -> bool:
        return any(
            future.done() and (future.cancelled() or future.exception() is not None)
            for _, future in self.calls
        )

    def _arrived(self, future: asyncio.Future[Answer]) -> None:
        self._left -= 1
        failed = future.cancelled() or future.exception() is not None
        if (failed or not self._left) and not self._waiter.done():
            self._waiter.set_result(None)


class Patience:
    """One timer for all short reads: wakes those that take longer than usual.

    A timer for each of ten thousand reads a second would cost more than it gives.
    floor_s: nobody is woken earlier than this.
    """

    __slots__ = ("_due", "_floor_s", "_latency", "_loop", "_timer")

    def __init__(self, floor_s: float) -> None:
        self._floor_s = floor_s
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
