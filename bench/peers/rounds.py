"""Measure the systems in turns, load by load, so that a machine that drifts favours nobody.

All systems run side by side for the whole comparison and wait in silence while one is measured. A
round measures each of them once, one after the other; the order moves on by one from round to
round. Before each measurement the disk is synced and the machine has to come to rest, so that the
copies and compactions that one system still owes are not paid by the next.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import progress
from bench.deadline import Deadline
from bench.failure import RowFailed

_PROC_STAT: Final = Path("/proc/stat")
_LOOK_S: Final = 0.25
_BUSY_MOST: Final = 0.15  # of all cores
_SYNC_S: Final = 60.0


@dataclass(slots=True)
class Cell:
    """What one system made of one load: a rate per round, or why there is none.

    restless: how many of the rates were taken while something else kept the machine busy.
    """

    rates: list[float] = field(default_factory=list)
    failure: str = ""
    restless: int = 0

    @property
    def median(self) -> float | None:
        """The median of the rounds, or None when a round failed or none was measured."""
        if self.failure or not self.rates:
            return None
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True)
class Turn:
    """One system's measurement of a load; `measure` is given the number of the round, from 0."""

    name: str
    cell: Cell
    measure: Callable[[int], float]


def order(count: int, round_number: int) -> list[int]:
    """Who is measured when: 0 to `count` - 1, beginning one later in every round."""
    return [(round_number + place) % count for place in range(count)]


def take_rounds(
    turns: Sequence[Turn], rounds: int, what: str, unit: str, at_rest: Callable[[], bool]
) -> None:
    """Fill the cells of one load. A system that fails once is not measured again in this load.

    at_rest: waits for the machine before each measurement and returns whether it came to rest;
    where it did not, it is measured all the same and the cell counts it.
    """
    for number in range(rounds):
        for place in order(len(turns), number):
            turn = turns[place]
            if turn.cell.failure:
                continue
            try:
                restless = not at_rest()
                rate = turn.measure(number)
            except RowFailed as error:
                turn.cell.failure = str(error)
                progress.say(f"{what}: {turn.name} was not measured: {error}")
                continue
            turn.cell.rates.append(rate)
            turn.cell.restless += restless
            words = " (the machine was not at rest)" if restless else ""
            progress.say(f"{what}: {turn.name} {rate:,.0f} {unit}{words}")


def settle(folder: Path, rest_s: float, deadline: Deadline) -> bool:
    """Sync the disk below `folder`, then wait at most `rest_s` for the processors to come to rest.

    Returns whether they did. RowFailed when no time is left.
    """
    share_s = deadline.share_s(_SYNC_S, "syncing the disk")
    try:
        subprocess.run(
            ["sync", "--file-system", str(folder)], timeout=share_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RowFailed(f"the disk was not in sync after {share_s:.0f} s") from error
    patience = Deadline(deadline.share_s(rest_s, "coming to rest"))
    while _busy_share() > _BUSY_MOST:
        if patience.remaining_s() == 0:
            return False
    return True


def parse_cpu(text: str) -> tuple[int, int]:
    """Ticks busy and ticks in all since boot, from /proc/stat; see proc(5). Waiting is not busy."""
    fields = [int(value) for value in text.splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def _busy_share() -> float:
    busy, total = parse_cpu(_PROC_STAT.read_text())
    time.sleep(_LOOK_S)
    busy_then, total_then = parse_cpu(_PROC_STAT.read_text())
    return (busy_then - busy) / max(1, total_then - total)
