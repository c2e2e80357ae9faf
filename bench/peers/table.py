"""The comparison as text that a README can quote, and as JSON.

Rule 1: who is ahead is decided in this file, against the best peer that has a figure; the limit is
        never a peer.
Rule 2: a figure that is missing is said to be missing, with the reason; nobody is ahead of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.peers.door import Part, Skipped, System
from bench.peers.rounds import Cell
from bench.peers.scale import Load, Scale

_MISSING: Final = "not measured"

Cells = Mapping[tuple[str, str], Cell]


@dataclass(frozen=True, slots=True)
class Standing:
    """Holdfast in one load: its median and a peer's; copies: what that peer keeps."""

    ours: float
    theirs: float
    peer: str
    copies: str

    @property
    def share(self) -> float:
        return self.ours / self.theirs

    @property
    def behind(self) -> bool:
        return self.ours < self.theirs


@dataclass(frozen=True, slots=True)
class Report:
    """All of a run. cells: by system's key and load's key. date: ISO, UTC."""

    date: str
    machine: str
    scale: Scale
    systems: Sequence[System]
    skipped: Sequence[Skipped]
    loads: Sequence[Load]
    cells: Cells

    @property
    def complete(self) -> bool:
        """Whether every system that was found has a figure in every load."""
        return all(
            self.cells[system.key, load.key].median is not None
            for system in self.systems
            for load in self.loads
        )

    def standing(self, load: Load) -> Standing | None:
        """Holdfast against the best peer, or None when one of them has no figure."""
        return next(iter(self.standings(load)), None)

    def standings(self, load: Load) -> list[Standing]:
        """Holdfast against each peer that has a figure, the best peer first."""
        ours = self._figures(load, Part.OURS)
        peers = sorted(self._figures(load, Part.PEER), key=lambda found: -found[0])
        return [
            Standing(median, rate, peer.name, peer.durability.copies)
            for median, _ in ours
            for rate, peer in peers
        ]

    def _figures(self, load: Load, part: Part) -> list[tuple[float, System]]:
        figures = []
        for system in self.systems:
            median = self.cells[system.key, load.key].median
            if system.part is part and median is not None:
                figures.append((median, system))
        return figures


def as_markdown(report: Report) -> str:
    """A heading line, one table, and below it what is behind, missing and skipped."""
    rounds = "once" if report.scale.rounds == 1 else f"median of {report.scale.rounds} rounds"
    head = f"Measured {report.date} on {report.machine}; systems in turns, {rounds}."
    sections = [head, "\n".join(_table(report)), "\n".join(_notes(report))]
    return "\n\n".join(section for section in sections if section)


def _table(report: Report) -> list[str]:
    names = [
        f"{system.name} (limit)" if system.part is Part.LIMIT else system.name
        for system in report.systems
    ]
    lines = [
        ["", *names, "Holdfast / best peer"],
        ["version", *(system.version for system in report.systems), ""],
        ["copies", *(system.durability.copies for system in report.systems), ""],
        ["synced at the answer", *(system.durability.synced for system in report.systems), ""],
    ]
    for load in report.loads:
        cells = [_amount(report.cells[system.key, load.key]) for system in report.systems]
        lines.append([f"{load.name}, {load.unit}", *cells, _verdict(report.standing(load))])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [_line(lines[0], widths), _line(rule, widths), *(_line(x, widths) for x in lines[1:])]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


def _amount(cell: Cell) -> str:
    return _MISSING if cell.median is None else f"{cell.median:,.0f}"


def _verdict(standing: Standing | None) -> str:
    if standing is None:
        return "-"
    return f"{standing.share:.2f}, behind" if standing.behind else f"{standing.share:.2f}"


def _notes(report: Report) -> list[str]:
    lines = [
        f"- {system.name}: {system.door}; {system.durability.words}." for system in report.systems
    ]
    for load in report.loads:
        ahead = [standing for standing in report.standings(load) if standing.behind]
        if ahead:
            told = ", and ".join(
                f"the {one.theirs:,.0f} of {one.peer} (copies: {one.copies}), that is by "
                f"{1 - one.share:.0%}"
                for one in ahead
            )
            ours = f"{ahead[0].ours:,.0f} {load.unit}"
            lines.append(f"- Behind in {load.name}: {ours} against {told}.")
    lines.extend(_failures(report))
    lines.extend(f"- {peer.name} is not measured: {peer.why}." for peer in report.skipped)
    lines.extend(_worth(report))
    return lines


def _worth(report: Report) -> list[str]:
    """What the figures are worth: how far rounds lie apart, and whether the machine was quiet."""
    lines = []
    widest = max(
        (
            (max(cell.rates) / min(cell.rates), system.name, load, cell)
            for system in report.systems
            for load in report.loads
            if (cell := report.cells[system.key, load.key]).median and len(cell.rates) > 1
        ),
        key=lambda found: found[0],
        default=None,
    )
    if widest is not None:
        _, name, load, cell = widest
        low, high = min(cell.rates), max(cell.rates)
        lines.append(f"- Rounds lie furthest apart for {name} in {load.name}: {low:,.0f} to "
                     f"{high:,.0f} {load.unit}.")
    cells = report.cells.values()
    restless, taken = sum(cell.restless for cell in cells), sum(len(cell.rates) for cell in cells)
    if restless:
        lines.append(f"- Not worth quoting: {restless} of {taken} measurements were taken while "
                     "something else kept the machine busy.")
    return lines


def _failures(report: Report) -> list[str]:
    """One line for each system and reason, with the loads that it concerns."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for system in report.systems:
        for load in report.loads:
            cell = report.cells[system.key, load.key]
            if cell.median is None:
                why = cell.failure or "it was never begun"
                reasons.setdefault((system.name, why), []).append(load.name)
    return [
        f"- {name} was not measured in {'; '.join(loads)}: {' '.join(why.split())}"
        for (name, why), loads in reasons.items()
    ]


def as_json(report: Report) -> str:
    """The same as one JSON object; null where there is no figure."""
    return json.dumps(
        {
            "date": report.date,
            "machine": report.machine,
            "rounds": report.scale.rounds,
            "small_seconds": report.scale.small_s,
            "large_bytes": report.scale.large_bytes,
            "systems": [_system(system) for system in report.systems],
            "skipped": [
                {"key": peer.key, "name": peer.name, "why": peer.why} for peer in report.skipped
            ],
            "loads": [_load(report, load) for load in report.loads],
        },
        indent=2,
    )


def _system(system: System) -> dict[str, object]:
    return {
        "key": system.key,
        "name": system.name,
        "version": system.version,
        "part": system.part.value,
        "copies": system.durability.copies,
        "synced": system.durability.synced,
        "durability": system.durability.words,
        "door": system.door,
    }


def _load(report: Report, load: Load) -> dict[str, object]:
    standing = report.standing(load)
    return {
        "key": load.key,
        "name": load.name,
        "unit": load.unit,
        "connections": load.connections,
        "figures": {
            system.key: _figure(report.cells[system.key, load.key]) for system in report.systems
        },
        "best_peer": standing.peer if standing else None,
        "share_of_best_peer": round(standing.share, 3) if standing else None,
        "behind": standing.behind if standing else None,
    }


def _figure(cell: Cell) -> dict[str, object]:
    return {
        "median": None if cell.median is None else round(cell.median, 1),
        "rounds": [round(rate, 1) for rate in cell.rates],
        "restless_rounds": cell.restless,
        "failure": cell.failure or None,
    }
