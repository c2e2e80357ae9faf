"""What operators read of records on their way out: the gateway's view as text."""

from __future__ import annotations

from holdfast.status_text import View, number_text, rows_of, size_text, table


def garbage_text(view: View) -> str:
    """The answer of GET /v1/admin/gc: what goes, what stays, and why, for each node."""
    lines = [("NODE", "WHAT", "FATE", "RECORDS", "SIZE", "WHY")]
    notes: list[str] = []
    for node in rows_of(view, "nodes"):
        name = str(node.get("node"))
        if node.get("error"):
            notes.append(f"{name} did not say: {node.get('error')}")
        elif not node.get("complete"):
            notes.append(f"{name} has too much for one answer: what is said of it is a part")
        lines += [
            (
                name,
                str(tally.get("what")),
                str(tally.get("fate")),
                number_text(tally.get("records")),
                size_text(tally.get("bytes")),
                str(tally.get("why")),
            )
            for tally in rows_of(node, "tallies")
        ]
    if len(lines) == 1:
        return "\n".join(["nothing is on its way out", *notes])
    return "\n".join([*table(lines), *notes])
