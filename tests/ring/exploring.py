"""Walks every reachable state of a machine: the test of a machine is all of them, not examples."""

import copy
import dataclasses
import enum
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

M = TypeVar("M")


def anatomy(thing: object) -> Hashable:
    """The whole state of a machine as one value: slots and attributes, order disregarded."""
    if isinstance(thing, dict):
        return frozenset((anatomy(key), anatomy(value)) for key, value in thing.items())
    if isinstance(thing, list | tuple):
        return tuple(anatomy(item) for item in thing)
    if isinstance(thing, set):
        return frozenset(anatomy(item) for item in thing)
    if dataclasses.is_dataclass(thing) and isinstance(thing, Hashable):
        return thing
    names = [*getattr(type(thing), "__slots__", ()), *getattr(thing, "__dict__", ())]
    if not names or isinstance(thing, enum.Enum):
        assert isinstance(thing, Hashable)
        return thing
    return tuple((name, anatomy(getattr(thing, name))) for name in names)


def explore(
    start: M,
    *,
    events: Callable[[M], Iterable[tuple[str, Callable[[M], object]]]],
    check: Callable[[M, tuple[str, ...]], None],
    shared: Sequence[object] = (),
) -> int:
    """Visit every state reachable from `start`, breadth first; the number of states.

    check is called once for each state with the shortest trace to it, and raises on a fault.
    shared: immutable parts of the machine, which need no copies.
    """
    memo = {id(part): part for part in shared}
    seen = {anatomy(start)}
    frontier: list[tuple[M, tuple[str, ...]]] = [(start, ())]
    while frontier:
        following: list[tuple[M, tuple[str, ...]]] = []
        for machine, trace in frontier:
            check(machine, trace)
            for name, apply in events(machine):
                child = copy.deepcopy(machine, dict(memo))
                apply(child)
                mark = anatomy(child)
                if mark not in seen:
                    seen.add(mark)
                    following.append((child, (*trace, name)))
        frontier = following
    return len(seen)
