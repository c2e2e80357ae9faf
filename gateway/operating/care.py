"""What nodes do in the background, for operators: repair, scrub, room; and orders to begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.fanout import Outcome
from gateway.operating.ledger_sum import add_up
from ring.errors import HoldfastError
from ring.life import NodeId
from ring.operating import CareReply, LedgerCount, StartedReply

View = dict[str, object]

_DAY_S = 86_400
_DAYS_MAX = 3_650


def care_view(
    nodes: Sequence[NodeId],
    outcomes: Mapping[NodeId, Outcome],
    started: Mapping[NodeId, Outcome] | None = None,
) -> View:
    """Keys: ledger (see ledger_sum.py) and nodes, a list of node, error, figures, remarks and
    ticket: what its `repair_rounds` or `scrub_laps` come to when an order is done, else None.
    """
    counts: dict[NodeId, LedgerCount] = {}
    reasons: dict[NodeId, str] = {}
    rows = []
    ages: list[int] = []
    for node in nodes:
        reply, error = _care_of(outcomes.get(node))
        row: View = {"node": node, "error": error, "figures": {}, "remarks": [], "ticket": None}
        if reply is None:
            reasons[node] = error or "no answer"
        else:
            row |= {"figures": dict(reply.figures), "remarks": list(reply.remarks)}
            if reply.ledger is None:
                reasons[node] = reply.reason
            else:
                counts[node] = reply.ledger
                oldest_s, now_s = reply.ledger.oldest_verified_s, dict(reply.figures).get("now_s")
                if oldest_s and now_s:
                    ages.append(max(0, now_s - oldest_s))
        if started is not None:
            row |= _ticket(started.get(node), error)
        rows.append(row)
    ledger = add_up(nodes, counts, reasons)
    ledger["oldest_verified_s_ago"] = max(ages, default=None)
    return {"ledger": ledger, "nodes": rows}


def forecast(figures: Mapping[str, int], bytes_free: object) -> View:
    """When a disk will be full if it fills as in the last hours: days_to_full and words.

    days_to_full: None when that is not known, or it does not fill.
    """
    span_s, grown = figures.get("growth_span_s"), figures.get("grown_bytes")
    if not span_s or grown is None or not isinstance(bytes_free, int):
        words = "unknown yet: less than half an hour is known"
        return {"days_to_full": None, "words": words}
    hours = max(1, round(span_s / 3600))
    if grown <= 0:
        words = f"it did not fill in the last {hours} h"
        return {"days_to_full": None, "words": words}
    days = bytes_free / grown * span_s / _DAY_S
    if days > _DAYS_MAX:
        return {"days_to_full": None, "words": f"years, at the pace of the last {hours} h"}
    return {
        "days_to_full": round(days, 1),
        "words": f"{days:.1f} days, at the pace of the last {hours} h",
    }


def _care_of(outcome: Outcome | None) -> tuple[CareReply | None, str | None]:
    if outcome is None:
        return None, "no answer"
    if isinstance(outcome, HoldfastError):
        return None, outcome.detail
    if not isinstance(outcome.reply, CareReply):
        return None, f"answered {type(outcome.reply).__name__} when asked what it does"
    return outcome.reply, None


def _ticket(outcome: Outcome | None, error: str | None) -> View:
    if outcome is None:
        return {"error": error or "no answer"}
    if isinstance(outcome, HoldfastError):
        return {"error": outcome.detail}
    if not isinstance(outcome.reply, StartedReply):
        return {"error": f"answered {type(outcome.reply).__name__} to an order"}
    return {"ticket": outcome.reply.ticket}
