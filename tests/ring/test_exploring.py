"""The quick way to copy and compare machines finds what the slow and obvious one finds."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import pytest

from tests.ring.exploring import anatomy, explore, twin

Step = tuple[str, Callable[["Outer"], None]]


@dataclass(frozen=True)
class Fixed:
    """Never changes, so copies share it."""

    name: str


class Inner:
    """Two bounded counters by name."""

    __slots__ = ("counts", "order")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.order: list[str] = []

    def count(self, name: str) -> None:
        self.counts[name] = min(2, self.counts.get(name, 0) + 1)
        if name not in self.order:
            self.order.append(name)


class Outer:
    """A machine within a machine."""

    __slots__ = ("fixed", "inner", "seen")

    def __init__(self) -> None:
        self.fixed = Fixed("a")
        self.inner = Inner()
        self.seen: set[str] = set()

    def count(self, name: str) -> None:
        self.inner.count(name)
        self.seen.add(name)

    def forget(self) -> None:
        self.seen.clear()


def steps(machine: Outer) -> Iterable[Step]:
    for name in "xyz":
        yield f"count {name}", partial(Outer.count, name=name)
    if machine.seen:
        yield "forget", Outer.forget


def slowly(machine: Outer) -> str:
    """Everything in it as a text, without any help of the module under test."""
    counts = sorted(machine.inner.counts.items())
    return repr((machine.fixed, counts, machine.inner.order, sorted(machine.seen)))


def test_as_many_states_are_found_as_by_deep_copies() -> None:
    start = Outer()
    seen = {slowly(start)}
    frontier = [start]
    while frontier:
        machine = frontier.pop()
        for _, apply in steps(machine):
            child = copy.deepcopy(machine)
            apply(child)
            if slowly(child) not in seen:
                seen.add(slowly(child))
                frontier.append(child)

    assert len(seen) == explore(Outer(), events=steps, check=lambda machine, trace: None)


def test_a_twin_is_equal_and_shares_nothing_that_can_change() -> None:
    machine = Outer()
    machine.count("x")
    before = anatomy(machine)

    other = twin(machine)
    assert anatomy(other) == before
    other.count("y")
    other.inner.order.append("z")

    assert anatomy(machine) == before
    assert anatomy(other) != before
    assert other.fixed is machine.fixed


def test_the_order_of_a_list_tells_states_apart_and_that_of_a_dict_does_not() -> None:
    one, other = Inner(), Inner()
    one.counts, other.counts = {"x": 1, "y": 2}, {"y": 2, "x": 1}
    assert anatomy(one) == anatomy(other)

    one.order, other.order = ["x", "y"], ["y", "x"]
    assert anatomy(one) != anatomy(other)


def test_every_state_is_checked_once_with_a_trace_that_leads_to_it() -> None:
    traces: list[tuple[str, ...]] = []
    explore(Outer(), events=steps, check=lambda machine, trace: traces.append(trace))

    assert () == traces[0]
    assert len(traces) == len(set(traces))
    assert all(len(one) <= len(other) for one, other in pairwise(traces))


def test_a_fault_in_any_state_comes_out() -> None:
    def check(machine: Outer, trace: tuple[str, ...]) -> None:
        assert machine.inner.counts.get("z", 0) < 2, trace

    with pytest.raises(AssertionError, match="count z"):
        explore(Outer(), events=steps, check=check)


def test_a_container_of_things_that_change_is_refused() -> None:
    machine = Outer()
    machine.inner.counts["x"] = []  # type: ignore[assignment]  # the mistake under test

    with pytest.raises(TypeError, match="unhashable"):
        anatomy(machine)
