"""Steps and states in words, for traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.record_row import unpack_row
from ring.record import RecordKey, generation_of, is_live
from tests.model.actor import Event
from tests.model.real_node import Image

if TYPE_CHECKING:
    from tests.model.state import State
    from tests.model.world import World


class Words:
    """names: of records, by RecordKey.raw."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.names: dict[bytes, str] = {}

    def step(self, state: State, event: Event) -> str:
        """A step and the state that it leads to."""
        words = f"{self._event(state, event):64}"
        try:
            after = self._world.after(state, event)
        except Exception as error:  # noqa: BLE001 - told, since it is what the trace is about
            return f"{words} | {error!r}"
        return f"{words} | {self.state(after)}"

    def _event(self, state: State, event: Event) -> str:
        world = self._world
        nodes = world.cluster.nodes
        match event:
            case ("begin", index):
                return f"{world.slots[index].name} begins"
            case ("whole", index, silent):
                names = {-1: "", -2: ", all others silent"}
                missing = names.get(silent) or (f", {nodes[silent]} silent" if silent >= 0 else "")
                return f"{world.slots[index].name}, in one go{missing}"
            case ("deliver" | "lose" | "do" as what, index, number):
                call = world.call(state, index, number)
                name = world.slots[index].name
                if what == "do":
                    return f"{name}: {call.what} on its own store"
                ends = "answered" if what == "deliver" else "LOST (may still arrive)"
                return f"{name}: {self._message(call.message)}, {ends}"
            case ("late", index):
                return f"{world.slots[index].name} becomes impatient"
            case ("arrives", message):
                return f"late, heard by nobody: {self._message(message)}"
            case ("wipe", node):
                return f"{nodes[node]} loses its disk and is back, a receiver"
            case ("learn", node, lesson):
                return f"{nodes[node]} learns layouts {world.faults.lessons[lesson]}"
        return str(event)

    def _message(self, number: int) -> str:
        message = self._world.books.messages[number]
        request = message.request
        facts = []
        for name in ("generation", "keys", "key", "tombstones", "claimant"):
            value = getattr(request, name, None)
            if value is None:
                continue
            if isinstance(value, RecordKey):
                facts.append(self.names.get(value.raw, "?"))
            elif isinstance(value, tuple):
                raws = [getattr(one, "key", one) for one in value]
                facts += [self.names.get(getattr(one, "raw", b""), "?") for one in raws]
            elif isinstance(value, int):
                facts.append(f"g{value}")
        who = self._world.cluster.nodes[message.node]
        return f"{type(request).__name__}({' '.join(facts)}) to {who}"

    def state(self, state: State) -> str:
        """Every node in short, and who is under way."""
        images = [self._world.books.images[number] for number in state.images]
        nodes = "  ".join(self._node(image) for image in images)
        marks = []
        for index, slot in enumerate(self._world.slots):
            mark = state.slots[index]
            if slot.node < 0 and mark != -1:
                marks.append(f"{slot.name}:{ {-2: 'ok', -3: 'failed'}.get(mark, '..')}")
        return f"{nodes}  {' '.join(marks)}"

    def _node(self, image: Image) -> str:
        parts = []
        for raw, row in image.rows:
            state = unpack_row(row)
            root = state.root
            text = "-" if not root else f"{'L' if is_live(root) else 'D'}{generation_of(root)}"
            text += "*" * state.held + "!" * state.settled + "c" * state.claimed
            parts.append(f"{self.names.get(raw, '?')}={text}")
        text = ",".join(parts) or "nothing"
        if image.floors:
            text += "/f" + ",".join(str(floor) for _, floor in image.floors)
        if image.condemned:
            text += " condemned"
        marks = "r" * image.marker.receiver
        if image.epochs != (1,):
            marks += "@" + "+".join(map(str, image.epochs))
        return f"{image.marker.node}{marks}[{text}]"
