"""A scenario: nodes, layouts, operations, duties and faults, in the smallest numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from node.care_settings import CareSettings
from node.collection.collection_settings import CollectionSettings
from node.repair.repair_settings import RepairSettings
from ring.digest import Algorithm, Digest
from ring.layout import Layout, LiveLayouts
from ring.limits import PARTITIONS
from ring.messages import PutRecord
from ring.record import RecordKey, RecordKind
from tests.fakes.small_cluster import small_layout
from tests.model import deeds
from tests.model.actor import Main
from tests.model.promises import Promises, Subject
from tests.model.real_node import Cluster, Message, first_image
from tests.model.state import ACKED, STILL, Faults, Slot, State
from tests.model.world import World

EAGER_CARE: Final = CareSettings(
    repair=RepairSettings(bytes_per_s=1e18),
    collection=CollectionSettings(grace_s=0.0, trash_s=0.0),
)
VALUE: Final = b"value"
CHUNK: Final = b"chunk"
SMALL: Final = Subject("blob", Digest.of(VALUE))
LARGE: Final = Subject("A", Digest.of(CHUNK, Algorithm.SHA256), Digest.of(CHUNK))
OTHER: Final = Subject("B", Digest.of(CHUNK, Algorithm.SHA512), Digest.of(CHUNK))
ALGORITHMS: Final = {LARGE: Algorithm.SHA256, OTHER: Algorithm.SHA512}
DUTIES: Final = ("rejoin", "repair", "handoff", "collect")


class Built(Struct):
    """What an exploration needs."""

    world: World
    start: list[State]
    promises: Promises

    def delivered(self, slot: int, *nodes: int) -> Built:
        """Start later: this slot has begun, and its messages to these nodes were answered in order.

        -1 is a step of its own store.  What the start leaves out is the same by other names.
        """
        self.start = [self._delivered(state, slot, nodes) for state in self.start]
        return self

    def _delivered(self, state: State, slot: int, nodes: Sequence[int]) -> State:
        if not state.uses[slot]:
            state = self.world.after(state, ("begin", slot))
        for node in nodes:
            event = next(
                ("deliver" if node >= 0 else "do", slot, call.number)
                for call in self.world.waiting(state, slot)
                if call.node == node
            )
            state = self.world.after(state, event)
        return state


class Plan:
    """Collects the slots of a scenario; see Slot."""

    def __init__(
        self,
        nodes: int,
        replicas: int,
        subjects: Sequence[Subject] = (SMALL,),
        *,
        layouts: Sequence[Layout] = (),
        epochs: tuple[int, ...] = (1,),
        hinted: bool = False,
    ) -> None:
        self._hinted = hinted
        self.subjects = tuple(subjects)
        self.epochs = epochs
        every = {layout.epoch: layout for layout in layouts or (small_layout(nodes, replicas),)}
        self.cluster = Cluster(
            nodes=tuple(sorted({node for one in every.values() for node in one.nodes})),
            layouts=every,
            live={
                epochs: live_layouts(tuple(every[epoch] for epoch in epochs))
                for epochs in [(1,), (1, 2), (2,)]
                if set(epochs) <= set(every)
            },
            care=EAGER_CARE,
        )
        self._slots: list[Slot] = []

    def put(self, subject: Subject = SMALL, *, after: int = -1) -> int:
        """One PUT; the index of its slot."""
        key = self.subjects.index(subject)
        name = f"put {subject.name} #{len(self._slots)}"
        if subject.chunk is None:
            main = deeds.put(VALUE, self.epochs)
            return self._add(Slot("put", name, main, key=key, after=after))
        main = deeds.upload(ALGORITHMS[subject], CHUNK, self.epochs)
        return self._add(Slot("upload", name, main, key=key, after=after))

    def delete(
        self, subject: Subject = SMALL, *, after: int = -1, skip_trash: bool = True
    ) -> int:
        """One DELETE."""
        key = self.subjects.index(subject)
        main = deeds.delete(subject.digest, self.epochs, skip_trash=skip_trash)
        name = f"delete {subject.name} #{len(self._slots)}"
        return self._add(Slot("delete", name, main, key=key, after=after))

    def read(self, subject: Subject = SMALL, *, after: int = -1) -> int:
        """One HEAD."""
        key = self.subjects.index(subject)
        main = deeds.read(subject.digest, self.epochs)
        return self._add(Slot("read", f"read {subject.name}", main, key=key, after=after))

    def duty(
        self, kind: str, *nodes: int, times: int = 1, whole: bool = False,
        in_peace: bool = False, chunks: bool = False,
    ) -> None:
        """A duty of these nodes (all, if none are named), each so many times; see Slot.

        chunks: repair looks at the chunks of the subjects as well.
        """
        for node in nodes or range(len(self.cluster.nodes)):
            for main, key, what in self._mains(kind, chunks=chunks):
                name = f"{kind} {what}at {self.cluster.nodes[node]}"
                self._add(
                    Slot(
                        kind, name, main, node=node, key=key, times=times,
                        whole=whole or in_peace, in_peace=in_peace,
                    )
                )

    def _mains(self, kind: str, *, chunks: bool) -> list[tuple[Main, int, str]]:
        if kind != "repair":
            main = {
                "handoff": deeds.handoff, "collect": deeds.collect, "rejoin": deeds.rejoin
            }[kind]
            return [(main(), 0, "")]
        found = [
            (deeds.repair(subject.digest, hinted=self._hinted), key, f"of {subject.name} ")
            for key, subject in enumerate(self.subjects)
        ]
        if chunks and self.subjects[0].chunk is not None:
            found.insert(0, (deeds.repair(self.subjects[0].chunk), 0, "of c "))
        return found

    def _add(self, slot: Slot) -> int:
        self._slots.append(slot)
        return len(self._slots) - 1

    def built(
        self,
        faults: Faults | None = None,
        *,
        holding: Sequence[Sequence[int]] = (),
        acked: int | None = None,
        behind: int = -1,
        late: bool = True,
        floor: int = 0,
    ) -> Built:
        """holding: for each state to start from, the nodes that have a copy at generation 1.

        acked: the slot of the put that did that; its other messages are still under way if `late`.
        behind: a node that has a copy too, and lives by the first layout only.
        floor: everywhere, since another record of the partition was purged at that generation.
        """
        slots = tuple(self._slots)
        world = World(self.cluster, slots, faults or Faults())
        self._slots = []
        for kind in DUTIES:
            self.duty(kind, whole=True, chunks=True)
        peace = World(self.cluster, tuple(self._slots), Faults(), world.books)
        self._slots = list(slots)
        world.words.names.update(self._names())
        start = [self._start(world, nodes, acked, behind) for nodes in holding or [()]]
        if floor:
            start = [self._floored(world, state, floor) for state in start]
        if not late:
            start = [replace(state, orphans=()) for state in start]
        return Built(world, start, Promises(world, self.subjects, peace))

    def _floored(self, world: World, state: State, floor: int) -> State:
        floors = ((self.subjects[0].digest.partition, floor),)
        images = [replace(world.books.images[number], floors=floors) for number in state.images]
        return replace(state, images=tuple(map(world.books.images.of, images)))

    def _names(self) -> dict[bytes, str]:
        names = {subject.key.raw: subject.name for subject in self.subjects}
        chunks = [subject.chunk for subject in self.subjects if subject.chunk is not None]
        return names | {RecordKey(chunk).raw: "c" for chunk in chunks}

    def _start(
        self, world: World, holders: Sequence[int], acked: int | None, behind: int
    ) -> State:
        books, count = world.books, len(self.cluster.nodes)
        images, orphans = [], []
        for index in range(count):
            epochs = (1,) if index == behind else self.epochs
            number = books.images.of(first_image(self.cluster, index, epochs))
            request = PutRecord(self.subjects[0].key, RecordKind.DATA, len(VALUE), 1, None)
            message = books.messages.of(Message(-1, index, request, VALUE, epochs))
            if index in holders or index == behind:
                number, _ = books.answer(number, message)
            elif acked is not None:
                orphans.append(message)
            images.append(number)
        slots, uses = [STILL] * len(self._slots), [0] * len(self._slots)
        if acked is not None:
            slots[acked], uses[acked] = ACKED, 1
        ghost = (True,) * len(self._slots)
        return State(
            tuple(images), tuple(slots), tuple(uses), tuple(orphans), ghost, (0, 0, 0, 0)
        )


class Scenario(Struct, frozen=True):
    """name: for the command line.  words: what it is about.  build: makes it anew.

    seconds: how long it may take.  rest_every: see Exploration.  is_quick: part of `make test`.
    """

    name: str
    words: str
    build: Callable[[], Built]
    seconds: float = 25.0
    states_max: int = 2_000_000
    rest_every: int = 0
    is_quick: bool = False


@lru_cache
def four_nodes(epoch: int, *owners: int, retired: int = -1) -> Layout:
    """Everything is on these three; nobody is a spare."""
    first = small_layout(4, 3)
    count = len(first.members)
    members = [index for index in range(count) if index != retired]
    row = bytes(members.index(owner) for owner in owners)
    return Layout(
        cluster_id=first.cluster_id,
        epoch=epoch,
        replicas=3,
        spares=0,
        members=tuple(first.members[index] for index in members),
        table=row * PARTITIONS,
        retired=() if retired < 0 else (first.members[retired].node,),
    )


@lru_cache
def live_layouts(layouts: tuple[Layout, ...]) -> LiveLayouts:
    """One for all: placements are made once."""
    return LiveLayouts(layouts)
