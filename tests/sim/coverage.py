"""What a run of many seeds went through: faults by kind, and rare ways of the product (probes).

A kind of fault that never happened, in a run long enough for all of them, is a hole in the
simulator: the run fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tests.sim.options import COSTLY, FREE, RATES

SEEDS_ENOUGH: Final = 300
KINDS: Final = (*RATES, *FREE, *COSTLY)


class Coverage:
    """Sums over seeds.  probes: what the product counted, and what the world saw it do."""

    def __init__(self) -> None:
        self.seeds = 0
        self.virtual_s = 0.0
        self.faults: Counter[str] = Counter()
        self.probes: Counter[str] = Counter()

    def add(
        self, virtual_s: float, faults: Mapping[str, int], probes: Mapping[str, int]
    ) -> None:
        """One more seed."""
        self.seeds += 1
        self.virtual_s += virtual_s
        self.faults.update(faults)
        self.probes.update(probes)

    @property
    def holes(self) -> list[str]:
        """Kinds of faults that should have happened by now and did not."""
        if self.seeds < SEEDS_ENOUGH:
            return []
        return [kind for kind in KINDS if not self.faults[kind]]

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.virtual_s / 3600:.1f} virtual hours"
        yield f"faults: {_sorted(self.faults.items())}"
        yield f"probes: {_sorted(self.probes.items())}"
        if self.holes:
            yield f"never happened: {' '.join(self.holes)}"


def _sorted(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts) if count) or "none"
