"""A whole cluster as one small tuple, and every step that it can take from there.

State: (images by node, histories by slot, uses by slot, messages of nobody, promises so far, faults
so far).  A slot is an operation of a client or a duty of a node; it stands still, is under way
(its history), or is over.

Steps: an operation or a duty begins; a call is delivered and answered at once (later is the same as
delivering later); a call fails although its message may still arrive (`losses`); a message that
nobody waits for arrives, however late; an operation becomes impatient (`lates`); a duty does
something to its own store; a disk is lost and the node is back (`wiped`); a node learns the next
layouts (`lessons`).  Every step may also never come: of a node that is away all messages wait.

Duties that are `whole` are done in one step; everybody answers, all but one node, or nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec.structs import replace

from node.marker import NO_PARTITIONS
from node.standing import admit_blank
from ring.control import TeachLayouts
from ring.errors import Unreachable
from ring.life import Life
from tests.model.actor import (
    AT_ONCE,
    BEGIN,
    LATE,
    Books,
    Event,
    Step,
    Waiting,
)
from tests.model.real_node import Cluster, Image, Message, nonce_of
from tests.model.state import (
    ACKED,
    STILL,
    UNKNOWN,
    Faults,
    Slot,
    State,
    age_of,
    with_item,
    with_messages,
)
from tests.model.words import Words

NOBODY: Final = -1
ALL: Final = -2  # of the others are silent


class Mistake(Exception):
    """The product broke a rule of its own: an assertion, an error that nobody expected."""


class World:
    """Steps of one scenario."""

    def __init__(
        self,
        cluster: Cluster,
        slots: tuple[Slot, ...],
        faults: Faults,
        books: Books | None = None,
    ) -> None:
        self.books = books or Books(cluster)
        self.slots = slots
        self.faults = faults
        self.cluster = cluster
        self._actors = [
            self.books.actor(slot.name, slot.node, slot.main) for slot in slots
        ]
        self._duties_of = [
            [index for index, slot in enumerate(slots) if slot.node == node and not slot.whole]
            for node in range(len(cluster.nodes))
        ]
        self._waiting: dict[tuple[int, int], Step] = {}
        self._wholes: dict[tuple[Any, ...], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._lost = self.books.outcome(error=Unreachable("the call was lost"))
        self.words = Words(self)

    # --- steps ------------------------------------------------------------------------------------

    def events(self, state: State) -> Iterator[Event]:
        """What may happen next."""
        for index, slot in enumerate(self.slots):
            history = state.slots[index]
            if history >= 0:
                yield from self._going_on(state, index, slot, self._waiting[index, history])
            elif history == STILL and state.uses[index] < slot.times and self._may(state, slot):
                if slot.whole:
                    yield ("whole", index, NOBODY)
                    if slot.in_peace:
                        continue
                    yield ("whole", index, ALL)
                    for node in range(len(state.images)):
                        if node != slot.node:
                            yield ("whole", index, node)
                else:
                    yield ("begin", index)
        for message in dict.fromkeys(state.orphans):
            yield ("arrives", message)
        if not state.faults[2]:
            for node in self.faults.wiped:
                yield ("wipe", node)
        for lesson, epochs in enumerate(self.faults.lessons):
            for node, image in enumerate(state.images):
                known = self.books.images[image].epochs
                if age_of(known) < age_of(epochs) and (lesson == 0 or state.faults[3] >= lesson):
                    yield ("learn", node, lesson)

    def _may(self, state: State, slot: Slot) -> bool:
        if slot.after >= 0 and state.slots[slot.after] not in {ACKED, UNKNOWN}:
            return False
        if slot.kind == "repair":
            return self._differs(state, slot)
        if slot.kind == "rejoin":
            return self.books.images[state.images[slot.node]].marker.receiver
        if slot.kind in {"collect", "handoff"}:
            image = self.books.images[state.images[slot.node]]
            return bool(image.rows) and not image.marker.receiver
        return True

    def _differs(self, state: State, slot: Slot) -> bool:
        """What a comparison would find: the rows of the record are not the same everywhere."""
        images = [self.books.images[number] for number in state.images]
        if images[slot.node].marker.receiver:
            return False
        return len({(image.rows, image.claims) for image in images}) > 1

    def _going_on(self, state: State, index: int, slot: Slot, step: Step) -> Iterator[Event]:
        for call in step.waiting:
            if call.node < 0:
                yield ("do", index, call.number)
                continue
            yield ("deliver", index, call.number)
            if state.faults[0] < self.faults.losses:
                yield ("lose", index, call.number)
        if step.can_be_late and slot.node < 0 and state.faults[1] < self.faults.lates:
            yield ("late", index)

    def after(self, state: State, event: Event) -> State:
        """The state after a step; raises Mistake."""
        match event:
            case ("begin", index):
                uses = with_item(state.uses, index, state.uses[index] + 1)
                state = replace(state, uses=uses, ghost=self._begun(state, index))
                return self._stepped(state, index, BEGIN)
            case ("whole", index, silent):
                uses = with_item(state.uses, index, state.uses[index] + 1)
                return self._whole(replace(state, uses=uses), index, silent)
            case ("deliver", index, number):
                return self._delivered(state, index, number)
            case ("do", index, number):
                return self._stepped(state, index, ("do", number))
            case ("lose", index, number):
                return self._lose(state, index, number)
            case ("late", index):
                faults = with_item(state.faults, 1, state.faults[1] + 1)
                return self._stepped(replace(state, faults=faults), index, LATE)
            case ("arrives", message):
                return self._arrived(state, message)
            case ("wipe", node):
                return self._wiped(state, node)
            case ("learn", node, lesson):
                return self._learnt(state, node, lesson)
        raise AssertionError(event)

    def _delivered(self, state: State, index: int, number: int) -> State:
        call = self.call(state, index, number)
        image, outcome = self.books.answer(state.images[call.node], call.message)
        if image != state.images[call.node]:
            state = replace(state, images=with_item(state.images, call.node, image))
        return self._stepped(state, index, ("end", number, outcome))

    def _lose(self, state: State, index: int, number: int) -> State:
        call = self.call(state, index, number)
        faults = with_item(state.faults, 0, state.faults[0] + 1)
        orphans = with_messages(state.orphans, self._late_ones(call))
        state = replace(state, faults=faults, orphans=orphans)
        return self._stepped(state, index, ("end", number, self._lost))

    def _late_ones(self, call: Waiting) -> tuple[int, ...]:
        request = self.books.messages[call.message].request
        changing = {"PutRecord", "BuryRecord", "ConfirmChunks", "HoldTombstones", "Introduce"}
        return (call.message,) if type(request).__name__ in changing else ()

    def _arrived(self, state: State, message: int) -> State:
        orphans = list(state.orphans)
        orphans.remove(message)
        node = self.books.messages[message].node
        image, _ = self.books.answer(state.images[node], message)
        images = with_item(state.images, node, image)
        return replace(state, orphans=tuple(orphans), images=images)

    def _stepped(self, state: State, index: int, event: Event) -> State:
        """One actor is told news, and what answers at once answers."""
        slot = self.slots[index]
        while True:
            image = state.images[slot.node] if slot.node >= 0 else -1
            history = state.slots[index]
            step = self.books.step(self._actors[index], history, image, event)
            if step.mistakes:
                raise Mistake("; ".join(step.mistakes))
            state = self._with_step(state, index, slot, step)
            hurry = None if step.over else self._at_once(step)
            if hurry is None:
                return state
            image, outcome = self.books.answer(state.images[hurry.node], hurry.message)
            state = replace(state, images=with_item(state.images, hurry.node, image))
            event = ("end", hurry.number, outcome)

    def _with_step(self, state: State, index: int, slot: Slot, step: Step) -> State:
        images, ghost = state.images, state.ghost
        if slot.node >= 0 and step.image != images[slot.node]:
            images = with_item(images, slot.node, step.image)
        mark = step.history
        if step.over:
            mark = STILL if slot.node >= 0 else self._end_of(slot, step)
            ghost = self._ended(state, index, step.result)
        else:
            self._waiting[index, step.history] = step
        slots = with_item(state.slots, index, mark)
        orphans = with_messages(state.orphans, step.orphans)
        state = State(images, slots, state.uses, orphans, ghost, state.faults)
        return self._tidied(state, slot) if step.over else state

    def _end_of(self, slot: Slot, step: Step) -> int:
        return ACKED if isinstance(step.result, tuple) and step.result[0] != "error" else UNKNOWN

    def _tidied(self, state: State, slot: Slot) -> State:
        """Forget what only a duty under way would look at: equal states are seen as equal."""
        node = slot.node
        if node < 0 or any(state.slots[index] >= 0 for index in self._duties_of[node]):
            return state
        image = self.books.images[state.images[node]]
        if image.dropped or image.next_condemned != 1 or image.receiver_since:
            assert not image.condemned, "a chunk is condemned and nobody is at work"
            image = replace(image, dropped=(), next_condemned=1, receiver_since=0)
            return replace(state, images=with_item(state.images, node, self.books.images.of(image)))
        return state

    def _at_once(self, step: Step) -> Waiting | None:
        for call in step.waiting:
            if call.node >= 0:
                request = self.books.messages[call.message].request
                if isinstance(request, AT_ONCE):
                    return call
        return None

    def call(self, state: State, index: int, number: int) -> Waiting:
        """A call under way."""
        return next(call for call in self.waiting(state, index) if call.number == number)

    def waiting(self, state: State, index: int) -> tuple[Waiting, ...]:
        """Calls of a slot under way."""
        return self._waiting[index, state.slots[index]].waiting

    # --- duties in one step -----------------------------------------------------------------------

    def _whole(self, state: State, index: int, silent: int) -> State:
        """It depends on nothing but the images, and on whether others are at work on its node."""
        node = self.slots[index].node
        busy = any(state.slots[other] >= 0 for other in self._duties_of[node])
        known = self._wholes.get((index, silent, busy, state.images))
        if known is None:
            after = self._done(replace(state, orphans=()), index, silent)
            known = self._wholes[index, silent, busy, state.images] = after.images, after.orphans
        images, orphans = known
        if images is state.images and not orphans:
            return state
        return replace(state, images=images, orphans=with_messages(state.orphans, orphans))

    def _done(self, state: State, index: int, silent: int) -> State:
        state = self._stepped(state, index, BEGIN)
        while state.slots[index] >= 0:
            call = self._waiting[index, state.slots[index]].waiting[0]
            if call.node < 0:
                state = self._stepped(state, index, ("do", call.number))
            elif silent in {call.node, ALL}:
                state = self._stepped(state, index, ("end", call.number, self._lost))
            else:
                state = self._delivered(state, index, call.number)
        return state

    # --- the world's own steps --------------------------------------------------------------------

    def _wiped(self, state: State, node: int) -> State:
        """An empty disk takes the place of the old one, and the node is back as a receiver."""
        image = self.books.images[state.images[node]]
        others = tuple(name for name in self.cluster.nodes if name != self.cluster.nodes[node])
        lives = dict(image.peers)
        own = Life(
            image.marker.incarnation,
            image.marker.boot,
            nonce_of(node, image.marker.incarnation, image.marker.boot),
        )
        admission = admit_blank(
            cluster_id=image.marker.cluster_id,
            node=self.cluster.nodes[node],
            others=others,
            remembered=dict.fromkeys(others, own),
            accept_blank=True,
        )
        assert admission.marker is not None
        assert admission.marker.voting == NO_PARTITIONS
        back = Image(
            admission.marker, tuple(sorted(lives.items())), image.peers, image.epochs,
            image.earlier,
        )
        slots, orphans = list(state.slots), state.orphans
        for index, slot in enumerate(self.slots):
            if slot.node == node and slots[index] >= 0:
                slots[index] = STILL
        images = with_item(state.images, node, self.books.images.of(back))
        faults = with_item(state.faults, 2, 1)
        return replace(
            state, images=images, slots=tuple(slots), orphans=orphans, faults=faults
        )

    def _learnt(self, state: State, node: int, lesson: int) -> State:
        epochs = self.faults.lessons[lesson]
        layouts = self.cluster.live[epochs].layouts
        message = Message(-1, node, TeachLayouts(layouts), None, epochs)
        image, _ = self.books.answer(state.images[node], self.books.messages.of(message))
        images = with_item(state.images, node, image)
        known = [age_of(self.books.images[number].epochs) for number in images]
        done = all(age >= age_of(epochs) for age in known)
        learnt = max(state.faults[3], lesson + 1) if done else state.faults[3]
        faults = with_item(state.faults, 3, learnt)
        return replace(state, images=images, faults=faults)

    # --- promises ---------------------------------------------------------------------------------

    def _begun(self, state: State, index: int) -> tuple[Any, ...]:
        """ghost[i]: of a write, whether its ack will promise anything; of a read, what it may find.

        A put's ack promises that the blob is there unless a delete was pending or came later, and
        the other way round.
        """
        slot, ghost = self.slots[index], list(state.ghost)
        if slot.writes:
            for other, theirs in enumerate(self.slots):
                if theirs.key != slot.key or not theirs.writes:
                    continue
                if (theirs.kind == "delete") == (slot.kind == "delete"):
                    continue
                started = state.uses[other] > 0
                if started and state.slots[other] != ACKED:
                    ghost[index] = False
                if started:
                    ghost[other] = False
            for other, theirs in enumerate(self.slots):
                if theirs.kind == "read" and theirs.key == slot.key and state.slots[other] >= 0:
                    ghost[other] = None
        if slot.kind == "read":
            ghost[index] = self.promise(state, slot.key)
        return tuple(ghost)

    def _ended(self, state: State, index: int, result: Any) -> tuple[Any, ...]:
        if self.slots[index].kind != "read":
            return state.ghost
        expected = state.ghost[index]
        found = result is not None and result[0]
        is_wrong = (expected == "there" and found == "missing") or (
            expected == "gone" and found == "found" and result[2]
        )
        return with_item(state.ghost, index, ("wrong", expected, found) if is_wrong else None)

    def promise(self, state: State, key: int) -> str | None:
        """What has been promised of a record: "there", "gone" or nothing."""
        for index, slot in enumerate(self.slots):
            is_acked = slot.key == key and slot.writes and state.slots[index] == ACKED
            if is_acked and state.ghost[index] is True:
                return "gone" if slot.kind == "delete" else "there"
        return None
