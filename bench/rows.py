"""The rows of a report: what was measured, beside its limit and its budget.

Rule 1: whether a budget is met is decided in this file.
Rule 2: a row without a figure is never met, and one measured on a smaller scale than its budget
        names can miss the budget but never meet it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Rule(Enum):
    """How a figure is held against its budget."""

    SHARE_AT_LEAST = "share of the limit, at least"
    AT_MOST = "at most"


@dataclass(frozen=True, slots=True)
class Spec:
    """What a row is about, before anything is measured.

    key: short name for the command line. name: everything that distinguishes the measurement, with
    its sizes and counts. unit: of value and limit. budget: a share of the limit or an amount in
    `unit`, as `rule` says. due: whether the project must meet the budget by now.
    """

    key: str
    name: str
    unit: str
    rule: Rule
    budget: float
    due: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure and the limit measured in the same run, both in the row's unit.

    full_scale: False when fewer or smaller things were measured than the budget names.
    note: what a reader should know besides, in words.
    """

    value: float
    limit: float
    full_scale: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the report; `measured` is None when `failure` says why there is no figure."""

    spec: Spec
    measured: Measured | None
    failure: str = ""

    @property
    def share(self) -> float | None:
        """Value as a share of the limit, or None without a figure."""
        if self.measured is None or self.measured.limit == 0:
            return None
        return self.measured.value / self.measured.limit

    @property
    def met(self) -> bool | None:
        """True or False; None when what was measured is too small to say that the budget is met."""
        if self.measured is None:
            return False
        if self.spec.rule is Rule.SHARE_AT_LEAST:
            within = self.share is not None and self.share >= self.spec.budget
        else:
            within = self.measured.value <= self.spec.budget
        if within and not self.measured.full_scale:
            return None
        return within


def as_json(rows: Sequence[Row]) -> str:
    """The rows as a JSON list of name, value, unit, limit, budget, met; null where not measured."""
    return json.dumps([_fields(row) for row in rows], indent=2)


def _fields(row: Row) -> dict[str, object]:
    measured = row.measured
    return {
        "name": row.spec.name,
        "value": None if measured is None else _rounded(measured.value),
        "unit": row.spec.unit,
        "limit": None if measured is None else _rounded(measured.limit),
        "budget": row.spec.budget,
        "met": row.met,
    }


def _rounded(figure: float) -> float:
    return round(figure, 1) if figure >= 100 else round(figure, 3)


_HEADINGS: Final = ("what", "measured", "limit", "share", "budget", "met")


def as_text(rows: Sequence[Row]) -> str:
    """The rows as a table, with their notes below each."""
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = [_line(cells[0], widths), "-" * (sum(widths) + 2 * len(widths) - 2)]
    for row, line in zip(rows, cells[1:], strict=True):
        lines.append(_line(line, widths))
        note = row.failure or (row.measured.note if row.measured else "")
        if note:
            lines.append(f"    {note}")
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return "  ".join(padded).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    spec = row.spec
    if spec.rule is Rule.SHARE_AT_LEAST:
        budget = f">= {spec.budget:.2f}"
    else:
        budget = f"<= {spec.budget:g} {spec.unit}"
    if row.measured is None:
        return (spec.name, "not measured", "-", "-", budget, _verdict(row))
    relative = row.share is not None and spec.rule is Rule.SHARE_AT_LEAST
    return (
        spec.name,
        _amount(row.measured.value, spec.unit),
        _amount(row.measured.limit, spec.unit),
        f"{row.share:.3f}" if relative else "-",
        budget,
        _verdict(row),
    )


def _amount(figure: float, unit: str) -> str:
    return f"{figure:,.0f} {unit}" if figure >= 100 else f"{figure:,.2f} {unit}"


def _verdict(row: Row) -> str:
    words = {True: "yes", False: "no", None: "not judged"}[row.met]
    return words if row.spec.due else f"{words} (not due yet)"
