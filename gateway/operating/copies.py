"""What a node says of its copy of a blob."""

from __future__ import annotations

from gateway.fanout import Outcome
from ring.errors import HoldfastError
from ring.life import NodeId
from ring.messages import StatesReply
from ring.record import Root, generation_of, is_live

View = dict[str, object]


def copy_view(node: NodeId, role: str, outcome: Outcome | None) -> View:
    """role: owner or spare."""
    view: View = {
        "node": node,
        "role": role,
        "state": "unreachable",
        "held": None,
        "root": None,
        "verified_at_s": None,
    }
    if outcome is None or isinstance(outcome, HoldfastError):
        view["error"] = "no answer" if outcome is None else outcome.detail
        return view
    reply = outcome.reply
    state = reply.states[0] if isinstance(reply, StatesReply) and reply.states else None
    if state is None:
        return view | {"state": "receiver: its answer does not count"}
    present = "absent" if not state.exists else "present" if state.held else "no good copy"
    return view | {
        "state": present,
        "held": state.held,
        "root": root_text(state.root),
        "verified_at_s": state.verified_at_s or None,
    }


def root_text(root: Root) -> str:
    """A root as people write it: live(1), dead(1), none."""
    if root == 0:
        return "none"
    return f"{'live' if is_live(root) else 'dead'}({generation_of(root)})"
