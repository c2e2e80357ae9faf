"""The figures of the store's bench: what was measured, its limit, its budget, table and JSON.

Rule: as in bench/rows.py a figure that was not measured is never met, and one at a smaller scale
than its budget names can miss it but never meet it.  Many figures here have no budget.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.pairs import Pair, median_pair, spread


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    limit: in `unit`, of the same run; `limit_of` says what that is.  budget: the most that `value`
    may be, in `unit`.  value is None when `failure` says why there is none.
    """

    key: str
    name: str
    unit: str
    value: float | None
    limit: float | None = None
    limit_of: str = ""
    budget: float | None = None
    full_scale: bool = True
    note: str = ""
    failure: str = ""

    @property
    def share(self) -> float | None:
        """Value by limit, or None where one is missing."""
        if self.value is None or not self.limit:
            return None
        return self.value / self.limit

    @property
    def met(self) -> bool | None:
        """True or False; None without a budget, and where the scale is too small to say yes."""
        if self.budget is None:
            return None
        if self.value is None:
            return False
        within = self.value <= self.budget
        return None if within and not self.full_scale else within


def of_pairs(
    names: tuple[str, str], unit: str, pairs: Sequence[Pair], limit_of: str, note: str = ""
) -> Figure:
    """names: key and name.  The pair with the median ratio; their spread goes into the note."""
    key, name = names
    pair = median_pair(pairs)
    words = f"{note}; {spread(pairs)}" if note else spread(pairs)
    return Figure(key, name, unit, pair.cluster, pair.bare, limit_of, note=words)


def as_json(figures: Sequence[Figure]) -> str:
    """A JSON list; null where there is nothing to say."""
    return json.dumps([_fields(figure) for figure in figures], indent=2)


def _fields(figure: Figure) -> dict[str, object]:
    return {
        "key": figure.key,
        "name": figure.name,
        "value": _rounded(figure.value),
        "unit": figure.unit,
        "limit": _rounded(figure.limit),
        "limit_of": figure.limit_of,
        "budget": figure.budget,
        "full_scale": figure.full_scale,
        "met": figure.met,
        "note": figure.failure or figure.note,
    }


def _rounded(value: float | None) -> float | None:
    if value is None:
        return None
    return round(value, 1) if value >= 100 else round(value, 3)


_HEADINGS: Final = ("what", "measured", "limit", "by limit", "budget", "met")


def as_text(figures: Sequence[Figure]) -> str:
    """A table, with limits in words and notes below each line."""
    cells = [_HEADINGS, *(_cells(figure) for figure in figures)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = [_line(cells[0], widths), "-" * (sum(widths) + 2 * len(widths) - 2)]
    for figure, line in zip(figures, cells[1:], strict=True):
        lines.append(_line(line, widths))
        limit = f"limit: {figure.limit_of}" if figure.limit_of else ""
        said = figure.failure or "; ".join(part for part in (limit, figure.note) if part)
        if said:
            lines.append(f"    {said}")
    return "\n".join(lines)


def _cells(figure: Figure) -> tuple[str, ...]:
    words = {True: "yes", False: "no", None: "-" if figure.budget is None else "not judged"}
    return (
        figure.name,
        "not measured" if figure.value is None else _amount(figure.value, figure.unit),
        "-" if figure.limit is None else _amount(figure.limit, figure.unit),
        "-" if figure.share is None else f"{figure.share:.3f}",
        "-" if figure.budget is None else f"<= {figure.budget:g} {figure.unit}",
        words[figure.met],
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return "  ".join(padded).rstrip()


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:,.2f} {unit}"
