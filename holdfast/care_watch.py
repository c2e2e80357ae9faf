"""Follows an order that was given to every node until each has carried it out.  No I/O.

A node that was started again has forgotten the order: then it is to be given once more.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.status_text import rows_of

View = Mapping[str, object]


class CareWatch:
    """figure: what comes to a node's ticket when it is done, `repair_rounds` or `scrub_laps`.

    errors: by node, why it has not taken the order or does not answer.
    """

    def __init__(self, figure: str) -> None:
        self._figure = figure
        self._tickets: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self.errors: dict[str, str] = {}

    def ordered(self, view: View) -> None:
        """The answer to the order."""
        self._seen.clear()
        self._look(view)
        for row in rows_of(view, "nodes"):
            ticket = row.get("ticket")
            if isinstance(ticket, int):
                self._tickets[str(row.get("node"))] = ticket

    def looked(self, view: View) -> bool:
        """How far it is now; false when the order has to be given again."""
        before = dict(self._seen)
        self._look(view)
        restarted = any(seen < before.get(node, 0) for node, seen in self._seen.items())
        unordered = [
            node for node in self._seen if node not in self._tickets and node not in self.errors
        ]
        return not restarted and not unordered

    @property
    def pending(self) -> list[str]:
        """Nodes that have not done it."""
        return [
            node
            for node, seen in self._seen.items()
            if node in self.errors or seen < self._tickets.get(node, seen + 1)
        ]

    def _look(self, view: View) -> None:
        self.errors = {}
        for row in rows_of(view, "nodes"):
            node = str(row.get("node"))
            error = row.get("error")
            if error:
                self.errors[node] = str(error)
                self._seen.setdefault(node, 0)
            else:
                self._seen[node] = figure_of(row, self._figure)


class Growth:
    """How much a counter of the nodes grew while somebody looked, whoever made it grow.

    A node's counter that went back began anew, with the node's process.
    """

    def __init__(self, figure: str) -> None:
        self._figure = figure
        self._seen: dict[str, int] = {}
        self.total = 0

    def look(self, view: View) -> None:
        """A node that is seen for the first time has not grown."""
        for row in rows_of(view, "nodes"):
            if not isinstance(row.get("figures"), dict) or row.get("error"):
                continue
            node, now = str(row.get("node")), figure_of(row, self._figure)
            seen = self._seen.get(node, now)
            self.total += now - seen if now >= seen else now
            self._seen[node] = now


def figure_of(row: View, name: str) -> int:
    """A figure of a node, 0 when it has none."""
    figures = row.get("figures")
    value = figures.get(name) if isinstance(figures, dict) else None
    return value if isinstance(value, int) else 0


def total_of(view: View, name: str) -> int:
    """A figure over all nodes."""
    return sum(figure_of(row, name) for row in rows_of(view, "nodes"))


def ledger_of(view: View) -> View:
    """The ledger of an answer; empty when it has none."""
    ledger = view.get("ledger")
    return ledger if isinstance(ledger, dict) else {}


def is_counted_within(ledger: View, least_s: float) -> bool:
    """Whether all that a ledger rests on was found out in the last so many seconds."""
    age_s = ledger.get("counted_s_ago")
    return isinstance(age_s, int | float) and age_s <= least_s
