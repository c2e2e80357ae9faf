"""Bytes and round trips of a comparison, for differences from none to many, on the real wire."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

import uvloop
from msgspec import Struct

from bench import progress
from bench.plan import KIB
from bench.repair.node_pair import node_pair, rows
from node.repair.comparison import LEAF_FACTS

BUDGETS: Final = {0: 1 * KIB, 10: 32 * KIB}
_SUM_BYTES: Final = 25  # a sum with its prefix, there and back
_LISTED_BYTES: Final = 48  # a record with its fact
_DESCRIBED_BYTES: Final = 70  # a record with its state, there and back
_QUESTION_BYTES: Final = 40  # what each question and answer has besides


class Traffic(Struct, frozen=True):
    """One comparison: bytes both ways, questions, seconds."""

    records: int
    differences: int
    size_bytes: int
    expected_bytes: int
    questions: int
    seconds: float

    @property
    def budget_bytes(self) -> int | None:
        """At most so many, where the design says."""
        return BUDGETS.get(self.differences)


def expected_bytes(records: int, differences: int) -> int:
    """The formula of docs/REPAIR.md: what the tree of sums costs, and its leaves."""
    if not differences:
        return _QUESTION_BYTES + _SUM_BYTES
    levels = max(3, math.ceil(math.log(max(records / LEAF_FACTS, 1), 16)))
    branches = sum(min(16**level, differences) for level in range(levels))
    leaves = min(16**levels, differences)
    leaf_facts = records / 16**levels
    sums = (1 + 16 * branches) * _SUM_BYTES
    return int(sums + leaves * leaf_facts * _LISTED_BYTES + differences * _DESCRIBED_BYTES)


def measure(records: int, differences: Sequence[int]) -> list[Traffic]:
    """Two nodes with `records` each; one then loses some, more each time."""
    return uvloop.run(_measure(records, differences))


async def _measure(records: int, differences: Sequence[int]) -> list[Traffic]:
    progress.say(f"repair: two nodes with {records:,} records each")
    kept = rows(records)
    keys = iter(list(kept))
    found = []
    async with node_pair(kept) as pair:
        await pair.compare()  # connects, and counts both tables
        missing = 0
        for count in sorted(differences):
            pair.forget_here([next(keys) for _ in range(count - missing)])
            missing = count
            pair.counter.take()
            begun_s = time.perf_counter()
            compared = await pair.compare()
            seconds = time.perf_counter() - begun_s
            assert len(compared.differing) == count, (len(compared.differing), count)
            sent, received = pair.counter.take()
            found.append(
                Traffic(
                    records,
                    count,
                    sent + received,
                    expected_bytes(records, count),
                    compared.questions + math.ceil(count / 4096),
                    seconds,
                )
            )
    return found


def as_text(measured: Sequence[Traffic]) -> str:
    """A table."""
    lines = ["records    differing   bytes both ways   formula      questions  seconds  budget"]
    for row in measured:
        budget = "" if row.budget_bytes is None else f"{row.budget_bytes:,}"
        if row.budget_bytes is not None:
            budget += ": met" if row.size_bytes <= row.budget_bytes else ": missed"
        lines.append(
            f"{row.records:<10,} {row.differences:<11,} {row.size_bytes:<17,} "
            f"{row.expected_bytes:<12,} {row.questions:<10} {row.seconds:<8.3f} {budget}"
        )
    return "\n".join(lines)
