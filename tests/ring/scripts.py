"""Golden scripts: what is told to a machine, and what it says, in words that people read.

A script is blocks with an empty line between them: what is told, `----`, what the machine says.
Lines that start with `#` are for people.  The first block makes the machine (`new`), each of the
others tells it one thing.
"""

from collections.abc import Callable
from typing import Protocol

from ring.life import NodeId
from ring.quorum import Group, Placement
from ring.record import NO_ROOT, Root, dead, generation_of, is_live, live

RULE = "----"


class Spoken(Protocol):
    """A machine that is spoken to."""

    def hear(self, event: str, words: list[str]) -> None:
        """Something happened."""

    def say(self) -> list[str]:
        """Whom it turns to now, and how it stands."""


def replay(script: str, start: Callable[[list[str]], Spoken]) -> str:
    """The script with what the machine says now."""
    spoken: Spoken | None = None
    blocks = []
    for block in script.strip("\n").split("\n\n"):
        told = block.split("\n" + RULE)[0]
        (line,) = (line for line in told.split("\n") if not line.startswith("#"))
        event, *words = line.split()
        if event == "new":
            spoken = start(words)
        else:
            assert spoken is not None
            spoken.hear(event, words)
        blocks.append("\n".join([told, RULE, *spoken.say()]))
    return "\n\n".join(blocks) + "\n"


def placement(words: list[str]) -> Placement:
    """`owners=a,b spares=c`, and once more after `and` while two layouts live."""
    groups = []
    for group in " ".join(words).split(" and "):
        named = dict(word.split("=") for word in group.split() if "=" in word)
        owners, spares = (
            tuple(NodeId(name) for name in named.get(key, "").split(",") if name)
            for key in ("owners", "spares")
        )
        groups.append(Group(owners, spares))
    return Placement(tuple(groups))


def root_of(words: list[str]) -> Root:
    """`live 2`, `dead 1` or `nothing`."""
    match words:
        case ["live", generation]:
            return live(int(generation))
        case ["dead", generation]:
            return dead(int(generation))
    assert words == ["nothing"], words
    return NO_ROOT


def words_of(root: Root) -> str:
    """As `root_of` reads it."""
    if root == NO_ROOT:
        return "nothing"
    return f"{'live' if is_live(root) else 'dead'} {generation_of(root)}"
