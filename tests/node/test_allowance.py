"""A bound with a queue: never beyond it, in order, and nobody waits for ever."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from node.allowance import Allowance


def test_what_fits_is_taken_at_once() -> None:
    allowance = Allowance(10)

    assert allowance.take_now(6)
    assert not allowance.full
    assert not allowance.take_now(5)
    assert allowance.take_now(4)
    assert allowance.full


def test_who_comes_later_does_not_pass_who_waits() -> None:
    allowance = Allowance(10)
    granted: list[str] = []
    assert allowance.take_now(8)
    allowance.wait(5, lambda: granted.append("first"))
    allowance.wait(1, lambda: granted.append("second"))

    assert not allowance.take_now(1)
    assert not granted
    allowance.give_back(2)
    assert not granted
    allowance.give_back(6)
    assert granted == ["first", "second"]
    assert allowance.used == 6


def test_something_larger_than_the_bound_passes_alone() -> None:
    allowance = Allowance(10)
    granted: list[int] = []

    assert allowance.take_now(25)
    assert not allowance.take_now(1)
    allowance.wait(30, lambda: granted.append(30))
    allowance.give_back(25)
    assert granted == [30]


def test_who_gives_up_waiting_gets_nothing() -> None:
    allowance = Allowance(1)
    granted: list[str] = []

    def impatient() -> None:
        granted.append("impatient")

    assert allowance.take_now(1)
    allowance.wait(1, impatient)
    allowance.wait(1, lambda: granted.append("patient"))
    allowance.withdraw(impatient)
    allowance.give_back(1)

    assert granted == ["patient"]


@given(st.lists(st.integers(0, 12), max_size=30), st.data())
def test_it_is_never_overdrawn_and_everybody_is_served_in_order(
    amounts: list[int], data: st.DataObject
) -> None:
    allowance = Allowance(10)
    held: deque[int] = deque()
    waiting: deque[int] = deque()
    for amount in amounts:

        def granted(amount: int = amount) -> None:
            assert waiting.popleft() == amount
            held.append(amount)

        if allowance.take_now(amount):
            assert not waiting
            held.append(amount)
        else:
            waiting.append(amount)
            allowance.wait(amount, granted)
        assert allowance.used == sum(held)
        assert allowance.used <= 10 or len([amount for amount in held if amount]) == 1
        ends: bool = data.draw(st.booleans())
        if held and ends:
            allowance.give_back(held.popleft())
    while held:
        allowance.give_back(held.popleft())

    assert not waiting
    assert allowance.used == 0
