"""Calls under way for one operation, and their outcomes in the order in which they arrive.

Outcomes are collected by callbacks into one queue: no task per call, and no set whose order could
differ between runs.  The operation that makes a `Fanout` ends it with `abandon` (reads) or hands
what is still under way to a `Stragglers` (writes, which finish under their own deadline).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from gateway.cluster import Cluster
from ring.digest import Buffer
from ring.errors import HoldfastError, Internal, LayoutUnknown, Unreachable, WrongEpoch
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.messages import Answer, Request

Outcome = Answer | HoldfastError


class Fanout:
    """One operation's calls.

    live: the layouts that the whole operation lives by, those in force when it began.
    """

    __slots__ = ("_arrived", "_cluster", "_is_wanted", "_loop", "_waiter", "live", "under_way")

    def __init__(self, cluster: Cluster, live: LiveLayouts | None = None) -> None:
        self.live = cluster.live if live is None else live
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[tuple[NodeId, Outcome]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_wanted = True
        self.under_way: dict[asyncio.Future[Answer], NodeId] = {}

    @property
    def exhausted(self) -> bool:
        """Whether nothing is under way and nothing is left to take."""
        return not self.under_way and not self._arrived

    @property
    def awaits_calls(self) -> bool:
        """Whether something is under way and everything that arrived was taken."""
        return bool(self.under_way) and not self._arrived

    def ask(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        timeout_s: float,
        bulk: bool = False,
    ) -> None:
        """Make one more call; a node that lives by older layouts is taught and asked again."""

        def ask_again() -> None:
            again = self._cluster.teach_and_ask(
                node, request, payload, live=self.live, timeout_s=timeout_s, bulk=bulk
            )
            self._start(node, again, None)

        call = self._cluster.ask(
            node, request, payload, live=self.live, timeout_s=timeout_s, bulk=bulk
        )
        self._start(node, call, ask_again)

    def _start(
        self, node: NodeId, call: Awaitable[Answer], untaught: Callable[[], None] | None
    ) -> None:
        future = asyncio.ensure_future(call)
        self.under_way[future] = node

        def done(future: asyncio.Future[Answer]) -> None:
            del self.under_way[future]
            outcome: Outcome
            if future.cancelled():
                if not self._is_wanted:
                    return
                outcome = Unreachable(f"the call to {node} was cancelled")
            else:
                error = future.exception()
                if isinstance(error, LayoutUnknown) and untaught is not None and self._is_wanted:
                    untaught()
                    return
                if error is None:
                    outcome = future.result()
                    self._cluster.hear(outcome)
                else:
                    outcome = self._failure(node, error)
            self._arrived.append((node, outcome))
            self._wake()

        future.add_done_callback(done)

    def _failure(self, node: NodeId, error: BaseException) -> HoldfastError:
        """How a failed call counts.  A bug is reported, and costs the operation no more than it."""
        if isinstance(error, WrongEpoch):
            try:
                self._cluster.learn_layouts(error, self.live)
            except HoldfastError as broken:
                return broken
        if isinstance(error, HoldfastError):
            return error
        context = {"message": f"a call to {node} failed unexpectedly", "exception": error}
        self._loop.call_exception_handler(context)
        return Internal(f"the call to {node} failed unexpectedly")

    async def next(self, patience_s: float | None = None) -> tuple[NodeId, Outcome] | None:
        """The next outcome; None when none arrives within `patience_s`.

        Every call has a deadline of its own, so waiting without patience ends too.
        """
        if not self._arrived:
            assert self.under_way, "nothing to wait for"
            self._waiter = self._loop.create_future()
            timer = None
            if patience_s is not None:
                timer = self._loop.call_later(patience_s, self._wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        return self._arrived.popleft() if self._arrived else None

    def abandon(self) -> None:
        """Cancel what is under way; its answers are not wanted any more."""
        self._is_wanted = False
        for future in list(self.under_way):
            future.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Stragglers:
    """Writes that were acknowledged without waiting for every node; bounded, cancelled at close.

    limit: how many calls may be under way; beyond it the oldest is cancelled and left to repair.
    """

    def __init__(self, limit: int) -> None:
        assert limit > 0
        self._limit = limit
        self._calls: dict[asyncio.Future[Answer], None] = {}
        self._is_closed = False
        self.cancelled_total = 0

    @property
    def under_way(self) -> int:
        """Calls that go on."""
        return len(self._calls)

    def adopt(self, fanout: Fanout, when_over: Callable[[], None] | None = None) -> None:
        """Own what is still under way; `when_over` is called once all of it has ended."""
        owned: dict[asyncio.Future[Answer], None] = {}

        def ended(future: asyncio.Future[Answer]) -> None:
            self._calls.pop(future, None)
            own_what_is_new()  # a node that had to be taught is asked again
            if not fanout.under_way and when_over is not None:
                when_over()

        def own_what_is_new() -> None:
            for call in [call for call in fanout.under_way if call not in owned]:
                owned[call] = self._calls[call] = None
                call.add_done_callback(ended)
            self._keep_bound()
            if self._is_closed:
                fanout.abandon()

        if fanout.under_way:
            own_what_is_new()
        elif when_over is not None:
            when_over()

    def close(self) -> None:
        """Cancel everything."""
        self._is_closed = True
        for call in list(self._calls):
            call.cancel()

    def _keep_bound(self) -> None:
        while len(self._calls) > self._limit:
            oldest = next(iter(self._calls))
            self._calls.pop(oldest)
            self.cancelled_total += 1
            oldest.cancel()
