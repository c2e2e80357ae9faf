"""Whoever does something over several messages: a client's operation, or a duty of a node.

An actor is the real coroutine; its state is what it has been told so far, as a number (`history`).
To take a step it is run once more from its beginning, told the same again, and then the news.  What
a step leads to depends on nothing but the history, the image of its node and the news, so it is
worked out once.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Final

import structlog
from msgspec import Struct

from ring.control import GetStatus, Introduce
from ring.digest import Buffer
from ring.errors import HoldfastError
from ring.life import NodeId
from ring.messages import Answer, BuryRecord, ConfirmChunks, PutRecord, Request
from ring.purging import HoldTombstones
from tests.model.frozen import Numbers
from tests.model.real_node import Cluster, Image, Message, RealNode
from tests.model.step_loop import step_loop
from tests.model.views import Outcome, OwnNode, Recorder

NO_HISTORY: Final = -1
BEGIN: Final = ("begin",)
LATE: Final = ("late",)
_RINGS_MAX: Final = 50
_GARBAGE_STEPS: Final = 500
_LIVE_MAX: Final = 200
_ACKS: Final = 2  # W in every scenario
_CHANGING: Final = (PutRecord, BuryRecord, ConfirmChunks, HoldTombstones, Introduce)
AT_ONCE: Final = (GetStatus,)

Event = tuple[Any, ...]


class Waiting(Struct, frozen=True):
    """A call under way.  node: index of whom it is made to, -1 for a step of the own store.

    message: number of the message, or of nothing.  what: in words.
    """

    number: int
    node: int
    message: int
    what: str


class Step(Struct, frozen=True):
    """What came of a step.  image: of the own node afterwards.  orphans: messages under way whose
    sender does not wait any more.  result: once it is over; mistakes: ours, in words.
    """

    history: int
    image: int
    over: bool
    result: Hashable
    waiting: tuple[Waiting, ...]
    orphans: tuple[int, ...]
    mistakes: tuple[str, ...]
    can_be_late: bool


class Books:
    """The numbers of everything, shared by all of one exploration."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.images: Numbers[Image] = Numbers()
        self.messages: Numbers[Message] = Numbers()
        self.outcomes: Numbers[Outcome] = Numbers()
        self.histories: Numbers[tuple[int, Event, tuple[int, ...]]] = Numbers()
        self.nodes = [RealNode(cluster, index, self.images) for index in range(len(cluster.nodes))]
        self.index_of = {node: index for index, node in enumerate(cluster.nodes)}
        self._actors = itertools.count()
        self._live: dict[tuple[int, int], _Run] = {}
        self._steps: dict[tuple[int, int, int, Event], Step] = {}
        self._answers: dict[tuple[int, int], tuple[int, int]] = {}

    def actor(self, name: str, node: int, main: Main) -> Actor:
        """One more."""
        return Actor(next(self._actors), name, node, main)

    def outcome(self, value: Any = None, error: HoldfastError | None = None) -> int:
        """Its number."""
        outcome = Outcome(value, error)
        return self.outcomes.of(outcome, outcome.frozen)

    def answer(self, image: int, message: int) -> tuple[int, int]:
        """The image of a node after a message, and what it answers."""
        known = self._answers.get((image, message))
        if known is None:
            asked = self.messages[message]
            node = self.nodes[asked.node]
            node.load(image)
            said = node.answer(asked)
            is_answer = isinstance(said, Answer)
            number = self.outcome(said) if is_answer else self.outcome(error=said)  # type: ignore[arg-type]  # an error, then
            known = self._answers[image, message] = (node.image(), number)
        return known

    def step(self, actor: Actor, history: int, image: int, event: Event) -> Step:
        """What comes of telling an actor some news; image: -1 for a client."""
        key = (actor.number, history, image, event)
        known = self._steps.get(key)
        if known is None:
            run = self._live.pop((actor.number, history), None)
            if run is None:
                run = _Run(self, actor)
                run.replay(history)
            known = self._steps[key] = run.step(history, image, event)
            self._keep(run, (actor.number, known.history), is_over=known.over)
            if not len(self._steps) % _GARBAGE_STEPS:
                gc.collect()  # what a run leaves behind goes in rings
                gc.freeze()  # and what is here now stays: do not look at it again
        return known

    def _keep(self, run: _Run, key: tuple[int, int], *, is_over: bool) -> None:
        """A run that is not over may be told the next news, which saves a replay."""
        if not is_over and key not in self._live:
            self._live[key] = run
            if len(self._live) <= _LIVE_MAX:
                return
            run = self._live.pop(next(iter(self._live)))
        run.dismiss()

    def close(self) -> None:
        """End what is kept for later."""
        for run in self._live.values():
            run.dismiss()
        self._live.clear()

    def told(self, history: int) -> list[tuple[Event, tuple[int, ...]]]:
        """What an actor was told, from the beginning."""
        steps = []
        while history != NO_HISTORY:
            history, event, local = self.histories[history]
            steps.append((event, local))
        return steps[::-1]


Main = Callable[["Surroundings"], Coroutine[Any, Any, Hashable]]


class Actor(Struct, frozen=True):
    """number: unlike any other's of the exploration.  node: index, -1 for a client.

    main: what it does; returns its result.
    """

    number: int
    name: str
    node: int
    main: Main


class Surroundings:
    """What an actor has: a transport, its node, the cluster."""

    def __init__(self, transport: Any, own: OwnNode | None, cluster: Cluster) -> None:
        self.transport = transport
        self._own = own
        self.cluster = cluster

    @property
    def own(self) -> OwnNode:
        """Its node; a client has none."""
        assert self._own is not None
        return self._own


class _Run(Recorder):
    """One run of an actor, which ends with one step."""

    def __init__(self, books: Books, actor: Actor) -> None:
        self._books = books
        self._actor = actor
        self._loop = step_loop()
        self._node = books.nodes[actor.node] if actor.node >= 0 else None
        own = None if self._node is None else OwnNode(self, self._node, self)
        self._surroundings = Surroundings(self, own, books.cluster)
        self._futures: list[asyncio.Future[Any]] = []
        self._calls: list[Waiting] = []
        self._work: dict[int, Callable[[], Any]] = {}
        self._replayed: list[int] | None = None
        self._written: list[int] = []
        self._known: dict[Hashable, Any] = {}
        self._is_at_work = False  # in the own store, which asks whether it still may
        self._is_over = False
        self._orphans: list[int] = []
        self._left: set[int] = set()  # calls whose answers are of no matter
        self._task: asyncio.Task[Hashable] | None = None

    def replay(self, history: int) -> None:
        """Tell everything so far."""
        for earlier, local in self._books.told(history):
            self._replayed = list(local)[::-1]
            self._feed(earlier)
            assert not self._replayed, "a replay went another way"
            if not self._is_ended:
                waiting = self._of_no_matter(self._waiting())
                self._left.update(call.number for call in waiting)
        self._replayed = None

    def step(self, history: int, image: int, event: Event) -> Step:
        """See Books."""
        self._orphans = []
        self._written = []
        if self._node is not None:
            self._node.load(image)
        if event[0] == "do":
            event = ("end", event[1], self._carry_out(event[1]))
        self._feed(event)
        return self._seen(history, image, event)

    def dismiss(self) -> None:
        """End it, whatever it waits for."""
        self._is_over = True
        self._loop.dismiss()

    # --- what the actor asks for ------------------------------------------------------------------

    def call(
        self, node: NodeId, request: Request, payload: Buffer | None = None, *,
        epochs: tuple[int, ...], **_: object,
    ) -> Awaitable[Answer]:
        """See Transport."""
        books, target = self._books, self._books.index_of[node]
        value = None if payload is None else bytes(payload)
        message = Message(self._actor.node, target, request, value, epochs)
        return self._waited(target, books.messages.of(message), type(request).__name__)

    def deferred(self, name: str, work: Callable[[], Any]) -> Awaitable[Any]:
        """See Recorder."""
        self._work[len(self._calls)] = work
        return self._waited(-1, -1, name)

    def told(self, key: Hashable, look: Callable[[], Any], *, changes: bool) -> Any:
        """See Recorder."""
        if self._is_over:
            return None
        if self._is_at_work:
            return self._look(look).get()
        if changes:
            self._known.clear()
        elif key in self._known:
            return self._known[key].get()
        if self._replayed is not None:
            outcome = self._books.outcomes[self._replayed.pop()]
        else:
            outcome = self._look(look)
            self._written.append(self._books.outcomes.of(outcome, outcome.frozen))
        if not changes:
            self._known[key] = outcome
        return outcome.get()

    def _look(self, look: Callable[[], Any]) -> Outcome:
        assert self._node is not None
        try:
            with self._node.running():
                value = look()
            if inspect.iscoroutine(value):
                coro = value
                value = self._node.do(lambda: coro)
        except HoldfastError as error:
            return Outcome(error=error.with_traceback(None))
        return Outcome(value)

    def _waited(self, node: int, message: int, what: str) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._futures.append(future)
        self._calls.append(Waiting(len(self._calls), node, message, what))
        future.add_done_callback(lambda one: self._let_go(one, message))
        return future

    def _let_go(self, future: asyncio.Future[Any], message: int) -> None:
        if future.cancelled() and not self._is_over and self._may_arrive_late(message):
            self._orphans.append(message)

    def _may_arrive_late(self, message: int) -> bool:
        """Whether it would change anything; questions that nobody waits for do not."""
        return message >= 0 and isinstance(self._books.messages[message].request, _CHANGING)

    # --- news -------------------------------------------------------------------------------------

    def _carry_out(self, number: int) -> int:
        """A step of the own store, as it is now."""
        self._is_at_work = True
        outcome = self._look(self._work[number])
        self._is_at_work = False
        return self._books.outcomes.of(outcome, outcome.frozen)

    def _feed(self, event: Event) -> None:
        self._known.clear()
        if event == BEGIN:
            with self._loop.running():
                self._task = self._loop.create_task(self._actor.main(self._surroundings))
        elif event == LATE:
            self._loop.ring_next()
        else:
            _, number, outcome = event
            self._end(self._futures[number], self._books.outcomes[outcome])
        self._loop.settle()
        for _ in range(_RINGS_MAX):
            if self._is_ended or self._waiting() or not self._loop.has_timers:
                return
            self._loop.ring_next()

    def _end(self, future: asyncio.Future[Any], outcome: Outcome) -> None:
        if outcome.error is None:
            future.set_result(outcome.value)
            return
        try:
            outcome.get()
        except HoldfastError as error:
            future.set_exception(error)
            future.exception()

    @property
    def _is_ended(self) -> bool:
        assert self._task is not None
        return self._task.done()

    def _waiting(self) -> list[Waiting]:
        pairs = zip(self._calls, self._futures, strict=True)
        return [call for call, future in pairs if not future.done()]

    def _of_no_matter(self, waiting: list[Waiting]) -> list[Waiting]:
        """Writes of a client that were acknowledged, as is seen by its having gone on: of their
        other messages only the arrival matters.
        """
        if self._node is not None:
            return []
        requests = [self._books.messages[call.message].request for call in self._calls]
        found = []
        for call in waiting:
            same = [n for n, one in enumerate(requests) if one == requests[call.number]]
            answers = [self._futures[n] for n in same if self._futures[n].done()]
            good = [one for one in answers if not one.cancelled() and one.exception() is None]
            voters = sum(one.result().voter for one in good)
            is_write = isinstance(requests[call.number], PutRecord)
            if is_write and voters >= _ACKS and same[-1] < len(self._calls) - 1:
                found.append(call)
        return found

    def _seen(self, history: int, image: int, event: Event) -> Step:
        assert self._task is not None
        books, result, mistakes = self._books, None, tuple(self._loop.complaints)
        waiting = self._waiting()
        if not self._is_ended:
            for call in self._of_no_matter(waiting):
                waiting.remove(call)
                if call.number not in self._left:
                    self._left.add(call.number)
                    self._orphans.append(call.message)
        else:
            self._orphans += [
                call.message
                for call in waiting
                if self._may_arrive_late(call.message) and call.number not in self._left
            ]
            waiting = []
            error = self._task.exception()
            if error is None:
                result = self._task.result()
            elif isinstance(error, HoldfastError):
                result = ("error", error.code)
            else:
                mistakes += (repr(error),)
        if self._node is not None:
            image = self._node.image()
        local = tuple(self._written)
        entry = (history, event, local)
        return Step(
            history=books.histories.of(entry, entry),
            image=image,
            over=self._is_ended or not waiting,
            result=result,
            waiting=tuple(waiting),
            orphans=tuple(self._orphans),
            mistakes=mistakes,
            can_be_late=bool(waiting) and self._loop.has_timers,
        )


def no_logs() -> None:
    """What the product logs is of no interest here, and it logs at every step."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
