"""Which faults come when: drawn from a seed.  A machine: no I/O, no clock.

Rules:
1.  Any number of nodes may be killed, frozen or cut off at once: nothing that was acknowledged may
    be lost by that.
2.  At most one node of a round loses or damages what it stored, and before the next round that does
    so, everything must have been read again and found whole: two copies of three may be all that
    there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

_DAMAGED_SHARE: Final = 0.6
_GATEWAY_SHARE: Final = 0.3
_HEALED_SHARE: Final = 0.3
_VICTIMS: Final = (1, 1, 2, 2, 3, 5)
_BETWEEN_S: Final = 2.0
_HOLD_S: Final = 15.0
_AWAY_S: Final = 25.0


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault of a node, and how long to wait before what comes next."""

    fault: str
    node: int
    then_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """damage: first, and over before the rest begins.  strikes: in this order; `hold_s` later they
    end in the order of `endings`, which has their indexes and how long to wait after each.

    gateway: one that is killed, and started again before the strikes end.  heals: whether
    everything has to be whole before the next round.
    """

    number: int
    damage: Strike | None
    strikes: tuple[Strike, ...]
    endings: tuple[tuple[int, float], ...]
    gateway: int | None
    hold_s: float
    heals: bool


def rounds(
    random: Random, *, nodes: int, gateways: int, harmless: Sequence[str], damaging: Sequence[str]
) -> Iterator[Round]:
    """For ever; the same for the same state of `random`."""
    number = 0
    while True:
        number += 1
        victims = random.sample(range(1, nodes + 1), min(nodes, random.choice(_VICTIMS)))
        damage = None
        if random.random() < _DAMAGED_SHARE:
            away_s = random.choice((0.0, random.uniform(0, _AWAY_S)))
            damage = Strike(random.choice(damaging), victims.pop(), away_s)
        strikes = [
            Strike(random.choice(harmless), node, random.uniform(0, _BETWEEN_S))
            for node in victims
        ]
        order = random.sample(range(len(strikes)), len(strikes))
        yield Round(
            number,
            damage,
            tuple(strikes),
            tuple((index, random.uniform(0, _BETWEEN_S)) for index in order),
            random.randrange(gateways) if random.random() < _GATEWAY_SHARE else None,
            random.uniform(0, _HOLD_S),
            heals=damage is not None or random.random() < _HEALED_SHARE,
        )
