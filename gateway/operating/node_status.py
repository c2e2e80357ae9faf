"""How every node is, and what that means for reads and writes, in words."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.fanout import Outcome
from ring.control import StatusReply
from ring.errors import HoldfastError
from ring.layout import LiveLayouts, Member

View = dict[str, object]


def summary(live: LiveLayouts, silent: Sequence[str]) -> str:
    """One sentence on what still works, by the worst partition."""
    members = [member.node for member in live.members]
    voting = [node for node in members if node not in silent]
    if not silent:
        return f"all {len(members)} nodes vote: everything reads and writes"
    placements = live.distinct_placements()
    down = f"{len(silent)} of {len(members)} nodes cannot vote ({', '.join(silent)})"
    if not all(placement.is_ack_set(voting) for placement in placements):
        return (
            f"{down}: writes fail with 503 where too few are left; what is there still reads "
            "where a copy is up, and absence cannot be told (503 instead of 404)"
        )
    if not all(placement.is_cover(voting) for placement in placements):
        return f"{down}: everything reads and writes, but absence cannot always be told"
    spared = all(
        placement.is_ack_set([node for node in voting if node != lost])
        for placement in placements
        for lost in voting
    )
    more = "one more may fail" if spared else "a second failure would stop writes"
    return f"{down}: everything reads and writes; {more}"


def is_voter(outcome: Outcome) -> bool:
    """Whether a node said that it votes."""
    if isinstance(outcome, HoldfastError) or not isinstance(outcome.reply, StatusReply):
        return False
    return outcome.reply.state == "voter"


def node_view(member: Member, outcome: Outcome | None) -> View:
    """A node as it describes itself, or the error."""
    view: View = {
        "node": member.node,
        "address": member.address,
        "zone": member.zone,
        "state": "unreachable",
        "reason": "",
        "records": None,
        "bytes_stored": None,
        "bytes_free": None,
        "counters": {},
        "error": None,
    }
    if outcome is None or isinstance(outcome, HoldfastError):
        view["error"] = "no answer" if outcome is None else outcome.detail
        return view
    reply = outcome.reply
    if isinstance(reply, StatusReply):
        view |= {
            "state": reply.state,
            "reason": reply.reason,
            "records": reply.records,
            "bytes_stored": reply.bytes_stored,
            "bytes_free": reply.bytes_free,
            "counters": dict(reply.counters),
        }
    else:
        view["error"] = f"answered {type(reply).__name__} when asked how it is"
    return view
