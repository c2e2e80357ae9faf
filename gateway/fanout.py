"""Calls under way for one operation, and their outcomes in the order in which they arrive.

Outcomes are collected by callbacks into one queue: no task per call, and no set whose order could
differ between runs.  The operation that makes a `Fanout` ends it with `abandon` (reads) or hands
what is still under way to a `Stragglers` (writes, which finish under their own deadline).
Every call that is real work is told to the vigil as it is made and as it ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from gateway.cluster import Cluster
from ring.digest import Buffer
from ring.errors import HoldfastError, Internal, LayoutUnknown, Unreachable, WrongEpoch
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.messages import Answer, BuryRecord, PutRecord, Request
from ring.suspicion import Lane, Tally

Outcome = Answer | HoldfastError
_WRITES: Final = (Lane.WRITES, Lane.CHUNKS)


class Asked(Struct, frozen=True):
    """A call under way, and what it takes to make it again once its node has been taught."""

    node: NodeId
    request: Request
    payload: Buffer | None
    timeout_s: float
    bulk: bool
    tally: Tally | None
    asked_at_s: float
    is_taught: bool = False
    is_trial: bool = False


class Fanout:
    """One operation's calls.

    live: the layouts that the whole operation lives by, those in force when it began.
    """

    __slots__ = ("_alarm", "_arrived", "_cluster", "_is_wanted", "_loop", "_rang", "_under_way",
                 "_vigil", "_waiter", "_when_idle", "live")

    def __init__(self, cluster: Cluster, live: LiveLayouts | None = None) -> None:
        self.live = cluster.live if live is None else live
        self._cluster = cluster
        self._vigil = cluster.vigil
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[tuple[NodeId, Outcome]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._rang = False
        self._is_wanted = True
        self._when_idle: Callable[[Fanout], None] | None = None
        self._under_way: dict[asyncio.Future[Answer], Asked] = {}

    @property
    def silent(self) -> list[NodeId]:
        """Nodes that were asked and have not answered, in the order of asking."""
        return [asked.node for asked in self._under_way.values()]

    @property
    def exhausted(self) -> bool:
        """Whether nothing is under way and nothing is left to take."""
        return not self._under_way and not self._arrived

    @property
    def awaits_calls(self) -> bool:
        """Whether something is under way and everything that arrived was taken."""
        return bool(self._under_way) and not self._arrived

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
        cluster = self._cluster
        tally = cluster.tally(node, request, payload, bulk=bulk)
        is_trial = False
        if tally is not None:
            self._vigil.asked(tally, request)
            if tally.doubted:
                is_trial = True
                tally.trials += 1
        call = cluster.ask(node, request, payload, live=self.live, timeout_s=timeout_s, bulk=bulk)
        now_s = self._loop.time()
        self._follow(
            Asked(node, request, payload, timeout_s, bulk, tally, now_s, False, is_trial), call
        )

    def _ask_again(self, asked: Asked) -> None:
        node, request, payload = asked.node, asked.request, asked.payload
        timeout_s, bulk = asked.timeout_s, asked.bulk
        again = self._cluster.teach_and_ask(
            node, request, payload, live=self.live, timeout_s=timeout_s, bulk=bulk
        )
        now_s = self._loop.time()
        asked = Asked(
            node, request, payload, timeout_s, bulk, asked.tally, now_s, is_taught=True
        )
        self._follow(asked, again)

    def _follow(self, asked: Asked, call: Awaitable[Answer]) -> None:
        future = asyncio.ensure_future(call)
        self._under_way[future] = asked
        future.add_done_callback(self._ended)

    def _ended(self, future: asyncio.Future[Answer]) -> None:
        asked = self._under_way.pop(future)
        tally = asked.tally
        if asked.is_trial:
            assert tally is not None
            tally.trials -= 1
        if future.cancelled():
            self._missed(asked)
            if self._is_wanted:
                self._take(asked.node, Unreachable(f"the call to {asked.node} was cancelled"))
        elif (error := future.exception()) is None:
            answer = future.result()
            self._cluster.hear(answer)
            if tally is not None:
                self._vigil.ended(tally, None, asked.asked_at_s, answer.voter)
            self._take(asked.node, answer)
        elif isinstance(error, LayoutUnknown) and not asked.is_taught and self._is_wanted:
            self._ask_again(asked)
        else:
            if tally is not None:
                self._vigil.ended(tally, error, asked.asked_at_s)
            if not isinstance(error, WrongEpoch):
                self._missed(asked)
            self._take(asked.node, self._failure(asked.node, error))
        if self._when_idle is not None and not self._under_way:
            self._when_idle(self)

    def _take(self, node: NodeId, outcome: Outcome) -> None:
        self._arrived.append((node, outcome))
        self._wake()

    def _missed(self, asked: Asked) -> None:
        """A write that an owner did not confirm is left to repair, which is told where to look."""
        request = asked.request
        if isinstance(request, PutRecord | BuryRecord):
            key = request.key
            if asked.node in self.live.placement(key.digest).owners:
                self._cluster.missed.note(asked.node, key)

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

    def set_alarm(self, after_s: float) -> None:
        """Have `next` give None once, when so much time has passed and nothing is to be taken."""
        self.silence()
        self._alarm = self._loop.call_later(after_s, self._ring)

    def silence(self) -> None:
        """Take the alarm back; whoever sets one does so before it lets go."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._rang = False

    async def next(self, patience_s: float | None = None) -> tuple[NodeId, Outcome] | None:
        """The next outcome; None when none arrives within `patience_s`, or before the alarm.

        Every call has a deadline of its own, so waiting without patience ends too.
        """
        if not self._arrived and not self._rang:
            assert self._under_way, "nothing to wait for"
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
        if self._arrived:
            return self._arrived.popleft()
        self._rang = False
        return None

    def abandon(self) -> None:
        """Cancel what is under way; its answers are not wanted any more."""
        self._is_wanted = False
        self.silence()
        for future in list(self._under_way):
            future.cancel()

    def give_up_writes_in_doubt(self) -> None:
        """Cancel writes to nodes that are not expected to answer soon."""
        for future, asked in list(self._under_way.items()):
            tally = asked.tally
            if tally is not None and tally.doubted and tally.lane in _WRITES:
                future.cancel()

    def leave(self, when_idle: Callable[[Fanout], None]) -> bool:
        """Let what is under way go on alone; whether anything is, and is told of later."""
        self.silence()
        if self._under_way:
            self._when_idle = when_idle
        return bool(self._under_way)

    def _ring(self) -> None:
        self._alarm = None
        self._rang = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
