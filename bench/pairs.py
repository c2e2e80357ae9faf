"""Compare two rates on a machine that drifts.

A shared machine gets faster and slower within seconds, so a rate says little and a ratio of two
rates taken minutes apart says less. Both sides are therefore measured in turn, close together, in
changing order, and the pair whose ratio is the median is quoted whole: value / limit of a row is
exactly that ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rates in the same unit, taken one right after the other."""

    cluster: float
    bare: float

    @property
    def ratio(self) -> float:
        return self.cluster / self.bare


def measure_pairs(
    cluster: Callable[[], float], bare: Callable[[], float], count: int
) -> list[Pair]:
    """Take `count` pairs; each function measures once and returns a rate above 0.

    Every second pair starts with the cluster, so that a steady drift favours neither side.
    """
    assert count >= 1
    pairs = []
    for index in range(count):
        if index % 2 == 0:
            limit = bare()
            value = cluster()
        else:
            value = cluster()
            limit = bare()
        pairs.append(Pair(cluster=value, bare=limit))
    return pairs


def median_pair(pairs: Sequence[Pair]) -> Pair:
    """The pair with the median ratio; of an even number the lower of the two in the middle."""
    assert pairs
    return sorted(pairs, key=lambda pair: pair.ratio)[(len(pairs) - 1) // 2]


def spread(pairs: Sequence[Pair]) -> str:
    """How far the ratios lie apart, in words for a row's note."""
    ratios = sorted(pair.ratio for pair in pairs)
    counted = "1 pair" if len(pairs) == 1 else f"median of {len(pairs)} pairs"
    return f"{counted}, ratios {ratios[0]:.3f} to {ratios[-1]:.3f}"
