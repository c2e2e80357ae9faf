"""What must hold in every state, and what must become of every state once faults have ended.

Promises are DESIGN's: P1 what was acked is there, P3 absence needs a cover, P7 the dead stay dead,
P9 convergence.  A put's ack promises something as long as no delete was pending at it or began
later, and the other way round (World.promise).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from node.record_row import unpack_row
from ring.digest import Digest
from ring.quorum import Placement
from ring.record import ABSENT, RecordKey, RecordState, is_live
from tests.model.state import STILL, State, age_of
from tests.model.world import NOBODY, World

ROUNDS_MAX: Final = 12

Promised = tuple[str | None, ...]


class Subject(Struct, frozen=True):
    """A record that operations are about.  chunk: of a large blob, its only one."""

    name: str
    digest: Digest
    chunk: Digest | None = None

    @property
    def key(self) -> RecordKey:
        """Where it is filed."""
        return RecordKey(self.digest)


class Promises:
    """Checks of one scenario.

    peace: the same cluster, whose slots are a round of work in peace, in order.
    """

    def __init__(
        self, world: World, subjects: Sequence[Subject], peace: World
    ) -> None:
        self._world = world
        self._subjects = subjects
        self._peace = peace
        self._known_states: dict[tuple[int, RecordKey], RecordState] = {}
        self._at_rest: dict[tuple[tuple[int, ...], Promised], str | None] = {}
        self._good: set[tuple[tuple[int, ...], Promised]] = set()
        self.rests = 0

    def broken(self, state: State) -> str | None:
        """What does not hold, in words."""
        promised = tuple(self._world.promise(state, k) for k in range(len(self._subjects)))
        for mark in state.ghost:
            if isinstance(mark, tuple):
                return f"P1/P7: a read that began when the blob was {mark[1]} says {mark[2]}"
        known = (state.images, promised)
        if known in self._good:
            return None
        for subject, promise in zip(self._subjects, promised, strict=True):
            if promise is None:
                continue
            for words in self._faults(state, subject, promise):
                return f"{subject.name}: {words}"
        self._good.add(known)
        return None

    def _faults(self, state: State, subject: Subject, promise: str) -> Iterator[str]:
        world = self._world
        images = [world.books.images[number] for number in state.images]
        for epochs in sorted({image.epochs for image in images}, key=age_of):
            placement = world.cluster.live[epochs].placement(subject.digest)
            roots = {
                world.cluster.nodes[index]: self._state(state.images[index], subject.key).root
                for index, image in enumerate(images)
                if world.cluster.nodes[index] in placement.eligible
                and age_of(image.epochs) <= age_of(epochs)
                and image.marker.votes(subject.digest.partition)
            }
            if promise == "there":
                noes = [node for node, root in roots.items() if not is_live(root)]
                if placement.is_cover(noes):
                    yield f"P1: an acked put, and {', '.join(noes)} are a cover of noes"
            for root in {root for root in roots.values() if is_live(root)}:
                quorum = [node for node, other in roots.items() if other <= root]
                if promise == "gone" and placement.is_ack_set(quorum):
                    yield f"P7: an acked delete, and {', '.join(quorum)} would return the blob"
        if promise == "there":
            yield from self._lost_copies(state, subject)

    def _lost_copies(self, state: State, subject: Subject) -> Iterator[str]:
        lost = 1 if state.faults[2] else 0
        keys = {"value": subject.key}
        if subject.chunk is not None:
            keys["chunk"] = RecordKey(subject.chunk)
        for what, key in keys.items():
            placement = self._placement(state, key)
            copies = sum(self._state(number, key).held for number in state.images)
            least = min(group.write_quorum for group in placement.groups)
            if copies < least - lost:
                yield f"P1: an acked put, and {copies} copies of its {what}"

    def _placement(self, state: State, key: RecordKey) -> Placement:
        images = [self._world.books.images[number] for number in state.images]
        epochs = max((image.epochs for image in images), key=age_of)
        return self._world.cluster.live[epochs].placement(key.digest)

    def _state(self, image: int, key: RecordKey) -> RecordState:
        known = self._known_states.get((image, key))
        if known is None:
            rows = dict(self._world.books.images[image].rows)
            row = rows.get(key.raw)
            known = ABSENT if row is None else unpack_row(row)
            self._known_states[image, key] = known
        return known

    # --- peace ------------------------------------------------------------------------------------

    def unrest(self, state: State) -> str | None:
        """Why there is no rest once clients and faults have ended; None if there is.

        What is under way is lost, every node begins anew and looks after everything in turn.
        """
        images = tuple(map(self._restarted, state.images))
        promised = tuple(self._world.promise(state, k) for k in range(len(self._subjects)))
        if (images, promised) in self._at_rest:
            return self._at_rest[images, promised]
        self.rests += 1
        count = len(self._peace.slots)
        calm = State(images, (STILL,) * count, (0,) * count, (), (True,) * count, state.faults)
        path = []
        verdict: str | None = f"P9: no rest after {ROUNDS_MAX} rounds"
        for _ in range(ROUNDS_MAX):
            if (calm.images, promised) in self._at_rest:
                verdict = self._at_rest[calm.images, promised]
                break
            path.append(calm.images)
            before = calm.images
            calm = self._round(calm)
            if calm.images == before:
                verdict = self._untidy(calm, promised)
                break
        for known in (images, *path):
            self._at_rest[known, promised] = verdict
        return verdict

    def _restarted(self, number: int) -> int:
        images = self._world.books.images
        image = images[number]
        plain = replace(image, dropped=(), condemned=(), next_condemned=1, receiver_since=0)
        return images.of(plain)

    def _round(self, state: State) -> State:
        world = self._peace
        for index, slot in enumerate(world.slots):
            is_receiver = world.books.images[state.images[slot.node]].marker.receiver
            if is_receiver == (slot.kind == "rejoin"):
                state = world.after(state, ("whole", index, NOBODY))
        return replace(state, uses=(0,) * len(world.slots), orphans=())

    def _untidy(self, state: State, promised: Promised) -> str | None:
        world = self._world
        for index, number in enumerate(state.images):
            if world.books.images[number].marker.receiver:
                return f"P9: {world.cluster.nodes[index]} stays a receiver"
        dangling = {
            subject.digest  # never acknowledged, told to operators, and not spread
            for subject, promise in zip(self._subjects, promised, strict=True)
            if promise is None and self._dangles(state, subject)
        }
        alive = {
            subject.digest
            for subject in self._subjects
            if subject.digest not in dangling
            and any(is_live(self._state(number, subject.key).root) for number in state.images)
        }
        for subject in self._subjects:
            if subject.digest in dangling:
                continue
            words = self._unlike(state, subject, is_alive=subject.digest in alive)
            if words is None and subject.chunk is not None:
                claimants = [s.digest for s in self._subjects if s.chunk == subject.chunk]
                needed = any(claimant in alive for claimant in claimants)
                words = self._unlike_chunk(state, RecordKey(subject.chunk), is_needed=needed)
            if words is not None:
                return f"P9: {subject.name}: {words}"
        return None

    def _dangles(self, state: State, subject: Subject) -> bool:
        """Whether it is a large blob whose chunk is gone."""
        if subject.chunk is None:
            return False
        chunk = RecordKey(subject.chunk)
        is_seen = any(self._state(number, subject.key).visible for number in state.images)
        return is_seen and not any(self._state(number, chunk).held for number in state.images)

    def _unlike(self, state: State, subject: Subject, *, is_alive: bool) -> str | None:
        owners = self._placement(state, subject.key).owners
        for index, number in enumerate(state.images):
            node, found = self._world.cluster.nodes[index], self._state(number, subject.key)
            if is_alive and node in owners and not (found.held and found.visible):
                return f"it is live, and {node} has {found}"
            if is_alive and node not in owners and found.exists:
                return f"{node} owns nothing of it and keeps {found}"
            if not is_alive and found.exists:
                return f"nobody needs it, and {node} keeps {found}"
        return None

    def _unlike_chunk(self, state: State, key: RecordKey, *, is_needed: bool) -> str | None:
        owners = self._placement(state, key).owners
        for index, number in enumerate(state.images):
            node, found = self._world.cluster.nodes[index], self._state(number, key)
            if is_needed and node in owners and not (found.held and found.claimed):
                return f"its chunk is needed, and {node} has {found}"
            if not is_needed and found.exists:
                return f"nobody needs its chunk, and {node} keeps {found}"
        return None
