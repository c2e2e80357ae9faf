"""What operators read: the gateway's views as text for a terminal or a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ring.errors import PeerProtocol

_UNKNOWN: Final = "-"
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_UNIT: Final = 1024

View = Mapping[str, object]


def status_text(view: View) -> str:
    """The answer of GET /v1/status: one line on what works, then a table of the nodes."""
    rows = [("NODE", "STATE", "RECORDS", "STORED", "FREE", "QUARANTINED", "ZONE", "ADDRESS", "")]
    for node in rows_of(view, "nodes"):
        counters = node.get("counters")
        quarantined = counters.get("quarantined_total") if isinstance(counters, dict) else None
        state = str(node.get("state"))
        note = node.get("error") or ("" if state == "voter" else node.get("reason"))
        rows.append(
            (
                str(node.get("node")),
                state,
                number_text(node.get("records")),
                size_text(node.get("bytes_stored")),
                size_text(node.get("bytes_free")),
                number_text(quarantined),
                str(node.get("zone")),
                str(node.get("address")),
                str(note or ""),
            )
        )
    head = (
        f"cluster {view.get('cluster_id')}, layout {view.get('epoch')}:"
        f" {view.get('replicas')} copies of every blob, stored when {view.get('write_quorum')} are"
    )
    return "\n".join([str(view.get("summary")), "", head, "", *table(rows)])


def where_text(view: View) -> str:
    """The answer of GET /v1/admin/where: a line for each node that may have a copy."""
    rows = [("NODE", "ROLE", "COPY", "ROOT", "")]
    rows += [
        (
            str(copy.get("node")),
            str(copy.get("role")),
            str(copy.get("state")),
            str(copy.get("root") or _UNKNOWN),
            str(copy.get("error") or ""),
        )
        for copy in rows_of(view, "copies")
    ]
    head = (
        f"{view.get('digest')}: partition {view.get('partition')} of layout {view.get('epoch')}"
    )
    return "\n".join([head, "", *table(rows)])


def rows_of(view: View, key: str) -> list[View]:
    """A list of objects in an answer; raises PeerProtocol."""
    rows = view.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PeerProtocol(f"the answer has no list of {key}")
    return rows


def table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Lines with columns of one width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def number_text(value: object) -> str:
    """A number with separators."""
    return f"{value:,}" if isinstance(value, int) else _UNKNOWN


def size_text(value: object) -> str:
    """A number of bytes in a unit that reads well."""
    if not isinstance(value, int):
        return _UNKNOWN
    size = float(value)
    for unit in _UNITS:
        if size < _UNIT or unit == _UNITS[-1]:
            break
        size /= _UNIT
    return f"{value} B" if unit == "B" else f"{size:.1f} {unit}"
