"""Walks every reachable state of a machine: the test of a machine is all of them, not examples.

A machine is an object whose slots hold atoms (things that never change), lists, sets and dicts of
atoms, and machines.  It is copied and compared slot by slot, twenty times as fast as by
`copy.deepcopy`; tests/ring/test_exploring.py holds the one against the other.
"""

import dataclasses
import enum
import gc
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from operator import attrgetter, methodcaller
from typing import Any, TypeVar

M = TypeVar("M")
T = TypeVar("T")
_ATOMS = (str, int, float, bytes, tuple, frozenset, enum.Enum, type(None))


@cache
def _is_atom(kind: type) -> bool:
    """Whether things of this type never change, so that copies may share them."""
    parameters: Any = getattr(kind, "__dataclass_params__", None)  # Any: dataclasses hide its type
    return issubclass(kind, _ATOMS) or (dataclasses.is_dataclass(kind) and parameters.frozen)


@cache
def _slots(kind: type) -> tuple[str, ...]:
    names = tuple(slot for base in kind.__mro__ for slot in getattr(base, "__slots__", ()))
    assert len(names) > 1, f"{kind} is no machine"
    return names


@cache
def _values(kind: type) -> Callable[[object], tuple[Any, ...]]:
    return attrgetter(*_slots(kind))


@cache
def _copier(kind: type) -> Callable[[Any], Any]:
    """How to copy a thing of this type."""
    if _is_atom(kind):
        return itself
    return methodcaller("copy") if kind in {dict, list, set} else twin


@cache
def _marker(kind: type) -> Callable[[Any], Hashable]:
    """How to turn a thing of this type into a value to compare."""
    markers: dict[type, Callable[[Any], Hashable]] = {
        dict: lambda part: frozenset(part.items()),
        list: tuple,
        set: frozenset,
    }
    return markers.get(kind, itself if _is_atom(kind) else anatomy)


def itself(atom: T) -> T:
    """Atoms are shared by copies, and compared as they are."""
    return atom


def twin(machine: M) -> M:
    """A machine in the same state that shares nothing with it that can change."""
    kind: Any = type(machine)  # Any, since mypy takes a `type` for unhashable
    other: M = object.__new__(kind)
    for name, part in zip(_slots(kind), _values(kind)(machine), strict=True):
        setattr(other, name, _copier(part.__class__)(part))
    return other


def anatomy(machine: object) -> Hashable:
    """The whole state as one value; the order of dicts and sets is disregarded, that of lists not.

    Raises TypeError for a container of things that change.
    """
    kind: Any = type(machine)  # Any, since mypy takes a `type` for unhashable
    parts: tuple[Any, ...] = _values(kind)(machine)
    return tuple([_marker(part.__class__)(part) for part in parts])


def explore(
    *starts: M,
    events: Callable[[M], Iterable[tuple[str, Callable[[M], object]]]],
    check: Callable[[M, tuple[str, ...]], None],
) -> int:
    """Visit every state reachable from any of `starts`, breadth first; the number of states.

    check is called once for each state with the shortest trace to it, and raises on a fault.
    """
    with _no_collection():
        return _walk(starts, events, check)


@contextmanager
def _no_collection() -> Iterator[None]:
    """A million values that are all needed: looking for garbage doubles the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _walk(
    starts: tuple[M, ...],
    events: Callable[[M], Iterable[tuple[str, Callable[[M], object]]]],
    check: Callable[[M, tuple[str, ...]], None],
) -> int:
    frontier: list[tuple[M, tuple[str, ...]]] = [(start, ()) for start in starts]
    seen = {anatomy(start) for start in starts}
    assert len(seen) == len(starts)
    while frontier:
        following: list[tuple[M, tuple[str, ...]]] = []
        for machine, trace in frontier:
            check(machine, trace)
            for name, apply in events(machine):
                child = twin(machine)
                apply(child)
                mark = anatomy(child)
                if mark not in seen:
                    seen.add(mark)
                    following.append((child, (*trace, name)))
        frontier = following
    return len(seen)
