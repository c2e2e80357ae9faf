"""Rounds are drawn from the seed, and never cost more copies than there are."""

from __future__ import annotations

from itertools import islice
from random import Random

from tests.nemesis.faults import DAMAGING, HARMLESS
from tests.nemesis.rounds import Round, rounds


def drawn(seed: int, count: int = 300) -> list[Round]:
    found = rounds(
        Random(seed), nodes=5, gateways=2, harmless=tuple(HARMLESS), damaging=tuple(DAMAGING)
    )
    return list(islice(found, count))


def test_the_same_seed_draws_the_same_rounds() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_every_fault_comes() -> None:
    found = drawn(1)
    assert {strike.fault for one in found for strike in one.strikes} == set(HARMLESS)
    assert {one.damage.fault for one in found if one.damage} == set(DAMAGING)
    assert {one.gateway for one in found} == {None, 0, 1}
    assert max(len(one.strikes) for one in found) == 5


def test_who_is_damaged_is_not_struck_as_well_and_everything_is_whole_afterwards() -> None:
    for one in drawn(2):
        nodes = [strike.node for strike in one.strikes]
        nodes += [one.damage.node] if one.damage else []
        assert len(nodes) == len(set(nodes))
        assert one.heals or one.damage is None


def test_every_strike_ends() -> None:
    for one in drawn(3):
        assert sorted(index for index, _ in one.endings) == list(range(len(one.strikes)))
