"""What operators read when they ask why a blob is as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast.care_text import duration_text
from holdfast.status_text import rows_of, table

View = Mapping[str, object]


def why_text(view: View) -> str:
    """The answer of GET /v1/admin/why: sentences, a line for each node, and what happened there."""
    words = view.get("words")
    sentences = [f"  {word}" for word in words] if isinstance(words, list) else []
    rows = [("NODE", "ROLE", "COPY", "ROOT", "VERIFIED", "")]
    rows += [_row(node) for node in rows_of(view, "nodes")]
    return "\n".join(
        [str(view.get("digest")), *sentences, "", *table(rows), *_history(rows_of(view, "nodes"))]
    )


def _row(node: View) -> tuple[str, str, str, str, str, str]:
    verified = node.get("verified_s_ago")
    held = node.get("held")
    return (
        str(node.get("node")),
        str(node.get("role")),
        "-" if held is None else "good" if held else "none",
        str(node.get("root") or "-"),
        f"{duration_text(verified)} ago" if isinstance(verified, int) else "-",
        str(node.get("error") or ""),
    )


def _history(nodes: list[View]) -> Iterator[str]:
    """Oldest first, node by node."""
    is_first = True
    for node in nodes:
        incidents = node.get("incidents")
        for one in incidents if isinstance(incidents, list) else ():
            if is_first:
                yield ""
            is_first = False
            times = one.get("times")
            again = f" ({times} times)" if isinstance(times, int) and times > 1 else ""
            ago = one.get("s_ago")
            when = duration_text(ago) if isinstance(ago, int) else "?"
            yield f"{when} ago, {node.get('node')}: {one.get('what')}: {one.get('words')}{again}"
