"""Things as values that can be compared and hashed, and numbers in their place.

Rule: equal numbers are equal things, so a state of the whole cluster is a tuple of a few numbers.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

import msgspec

from ring.errors import HoldfastError
from ring.layout import LiveLayouts

T = TypeVar("T")

_ATOMS = frozenset({int, str, bytes, float, type(None)})


def freeze(thing: Any) -> Hashable:
    """A value that is equal for equal things; raises TypeError for what it does not know."""
    if thing.__class__ in _ATOMS:
        return thing  # type: ignore[no-any-return]  # Any: one of those
    if isinstance(thing, bool | enum.Enum):
        return (thing.__class__.__name__, str(thing))  # else they would equal numbers
    if isinstance(thing, list | tuple):
        return (thing.__class__.__name__, *map(freeze, thing))
    if isinstance(thing, dict):
        return ("dict", *sorted(((freeze(k), freeze(v)) for k, v in thing.items()), key=repr))
    if isinstance(thing, bytearray | memoryview):
        return bytes(thing)
    if isinstance(thing, LiveLayouts):
        return ("layouts", thing.epochs)
    if isinstance(thing, HoldfastError):
        return (thing.code, thing.detail, tuple(sorted(thing.facts.items())))
    if isinstance(thing, msgspec.Struct):
        values = (freeze(getattr(thing, name)) for name in thing.__struct_fields__)
        return (thing.__class__.__name__, *values)
    hash(thing)
    return thing  # type: ignore[no-any-return]  # Any: the line before says that it is Hashable


class Numbers(Generic[T]):
    """Numbers from 0 for things, by their frozen form."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._things: list[T] = []

    def __len__(self) -> int:
        return len(self._things)

    def of(self, thing: T, frozen: Hashable | None = None) -> int:
        """The number of a thing; frozen: its form, if that is known already."""
        key = freeze(thing) if frozen is None else frozen
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._things)
            self._things.append(thing)
        return number

    def __getitem__(self, number: int) -> T:
        return self._things[number]
