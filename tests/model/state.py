"""The values that a world is described by, and its state."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from tests.model.actor import NO_HISTORY, Main

ACKED: Final = -2
UNKNOWN: Final = -3  # it failed: it may still take effect, at any time
STILL: Final = NO_HISTORY


class Slot(Struct, frozen=True):
    """kind: "put", "delete", "read", "upload" or a duty.  key: index of the record it is about.

    node: index, -1 for clients.  times: how often it may begin.  whole: see world.py; in_peace:
    nobody is silent meanwhile.
    after: index of a slot that must be over before.
    """

    kind: str
    name: str
    main: Main
    node: int = -1
    key: int = 0
    times: int = 1
    whole: bool = False
    in_peace: bool = False
    after: int = -1

    @property
    def writes(self) -> bool:
        """Whether it is a client's write."""
        return self.kind in {"put", "upload", "delete"}


class State(Struct, frozen=True, gc=False):
    """See world.py.  ghost: per slot what its end will promise (promises.py).  faults: losses,
    lates, wipes and lessons so far.
    """

    images: tuple[int, ...]
    slots: tuple[int, ...]
    uses: tuple[int, ...]
    orphans: tuple[int, ...]
    ghost: tuple[Any, ...]
    faults: tuple[int, ...]


class Faults(Struct, frozen=True):
    """losses, lates: how many in all.  wiped: nodes whose disk may be lost, once in all.

    lessons: layouts that nodes may be taught, each when it lives by those before.
    """

    losses: int = 0
    lates: int = 0
    wiped: tuple[int, ...] = ()
    lessons: tuple[tuple[int, ...], ...] = ()


def with_item(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def with_messages(orphans: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted((*orphans, *more))) if more else orphans


def age_of(epochs: tuple[int, ...]) -> tuple[int, int]:
    return (epochs[-1], epochs[0])
