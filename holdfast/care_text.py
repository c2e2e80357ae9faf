"""What operators read of the ledger of copies, of repair and of the scrub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast.care_watch import figure_of, ledger_of, total_of
from holdfast.status_text import number_text, rows_of, size_text, table

View = Mapping[str, object]

_DAY_S, _HOUR_S = 86_400, 3_600
_MINUTE_S = 60
_REMARKS_MAX = 20
_CARE_HEADS = (
    "NODE",
    "TO REPAIR",
    "FAILED",
    "COPIES",
    "READS AGAIN",
    "LEFT TO READ",
    "RESERVE",
    "FULL IN",
)
_GAPS = (("does not count", "not_counting"), ("has not compared with", "not_compared"))


def ledger_lines(view: View) -> Iterator[str]:
    """How many digests have how many copies, of an answer with a ledger; nothing without one."""
    ledger = ledger_of(view)
    if not ledger:
        return
    yield str(ledger.get("words"))
    copies = ledger.get("copies")
    if isinstance(copies, dict):
        counts = ", ".join(f"{name}: {number_text(count)}" for name, count in copies.items())
        yield f"  digests by verified copies  {counts}"
    oldest_s = ledger.get("oldest_verified_s_ago")
    if isinstance(oldest_s, int):
        yield f"  longest not verified        {duration_text(oldest_s)}"
    if ledger.get("waiting_bytes"):
        yield f"  to be copied                {size_text(ledger.get('waiting_bytes'))}"
    for title, key in _GAPS:
        found = ledger.get(key)
        for node, what in found.items() if isinstance(found, dict) else ():
            words = ", ".join(what) if isinstance(what, list) else f"({what})"
            yield f"  {node} {title} {words}"


def remark_lines(view: View) -> Iterator[str]:
    """What nodes have to say, and which say nothing."""
    count = 0
    for row in rows_of(view, "nodes"):
        if row.get("error"):
            yield f"  {row.get('node')}: {row.get('error')}"
        remarks = row.get("remarks")
        for remark in remarks if isinstance(remarks, list) else ():
            count += 1
            if count <= _REMARKS_MAX:
                yield f"  {row.get('node')}: {remark}"
    if count > _REMARKS_MAX:
        yield f"  and {count - _REMARKS_MAX} more, see --json"


def care_lines(view: View) -> Iterator[str]:
    """What GET /v1/status says of copies, repair, scrub and room; nothing of an older gateway."""
    if not ledger_of(view):
        return
    yield ""
    yield from ledger_lines(view)
    rows = [_CARE_HEADS]
    for node in rows_of(view, "nodes"):
        figures, ahead = node.get("care"), node.get("forecast")
        row: View = {"figures": figures}
        known = isinstance(figures, dict) and bool(figures)
        rows.append(
            (
                str(node.get("node")),
                number_text(figure_of(row, "repair_queue")) if known else "-",
                number_text(figure_of(row, "repair_troubles")) if known else "-",
                f"{size_text(figure_of(row, 'repair_copied_bytes_per_s'))}/s" if known else "-",
                f"{size_text(figure_of(row, 'scrub_bytes_per_s'))}/s" if known else "-",
                scrub_left_text(row),
                size_text(figure_of(row, "reserve_bytes")) if known else "-",
                str(ahead.get("words")) if isinstance(ahead, dict) and known else "-",
            )
        )
    yield ""
    yield from table(rows)
    remarks = list(remark_lines({"nodes": [{**n, "error": None} for n in rows_of(view, "nodes")]}))
    if remarks:
        yield ""
        yield from remarks


def repair_text(view: View, *, healed: bool) -> str:
    """How a repair ended."""
    first, *rest = [*ledger_lines(view), *remark_lines(view)] or ["nothing was counted"]
    if healed:
        first = f"healed: {first.removeprefix('whole: ')}"
    return "\n".join([first, *rest])


def scrub_begun_text(view: View) -> str:
    """What nodes have begun to read."""
    nodes = [row for row in rows_of(view, "nodes") if isinstance(row.get("ticket"), int)]
    head = (
        f"{len(nodes)} of {len(rows_of(view, 'nodes'))} nodes read all their copies again;"
        " `holdfast admin status` says how far they are"
    )
    return "\n".join([head, *remark_lines(view)])


def scrub_text(view: View, *, bad_copies: int, pending: list[str]) -> str:
    """How a scrub ended."""
    if pending:
        head = f"{', '.join(pending)} did not finish; so far"
    else:
        head = "every copy was read again:"
    if bad_copies:
        noun = "copy was" if bad_copies == 1 else "copies were"
        found = (
            f"{bad_copies:,} {noun} bad or missing; `holdfast admin repair` says when all are"
            " replaced"
        )
    else:
        found = "none was bad or missing"
    lines = [f"{head} {found}"]
    unreadable = total_of(view, "scrub_unreadable")
    if unreadable:
        lines.append(f"{unreadable:,} copies cannot be read at the moment and are tried again")
    wrong = total_of(view, "scrub_wrong_recipes")
    if wrong:
        lines.append(f"{wrong:,} large blobs are not what their digests say")
    return "\n".join([*lines, *remark_lines(view)])


def scrub_left_text(row: View) -> str:
    """How much a lap of the scrub that was asked for has left."""
    if figure_of(row, "scrub_laps") >= figure_of(row, "scrub_laps_asked"):
        return "-"
    return size_text(figure_of(row, "scrub_bytes_left"))


def duration_text(seconds: int) -> str:
    """A time in words of one unit."""
    if seconds >= 2 * _DAY_S:
        return f"{seconds // _DAY_S} days"
    if seconds >= 2 * _HOUR_S:
        return f"{seconds // _HOUR_S} hours"
    if seconds >= 2 * _MINUTE_S:
        return f"{seconds // _MINUTE_S} minutes"
    return f"{seconds} s"
