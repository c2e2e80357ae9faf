"""What nodes say of records on their way out, as JSON for operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.fanout import Outcome
from ring.errors import HoldfastError
from ring.life import NodeId
from ring.purging import CollectionReply

View = dict[str, object]


def garbage_view(nodes: Sequence[NodeId], outcomes: Mapping[NodeId, Outcome]) -> View:
    """Keys: nodes, a list of node, error, complete and tallies (what, fate, why, records, bytes).

    complete: whether the node could look at everything in the time that it has for an answer.
    """
    return {"nodes": [_node_view(node, outcomes.get(node)) for node in nodes]}


def _node_view(node: NodeId, outcome: Outcome | None) -> View:
    view: View = {"node": node, "error": None, "complete": False, "tallies": []}
    if outcome is None or isinstance(outcome, HoldfastError):
        return view | {"error": "no answer" if outcome is None else outcome.detail}
    reply = outcome.reply
    if not isinstance(reply, CollectionReply):
        return view | {"error": f"answered {type(reply).__name__} when asked what goes"}
    tallies = [
        {
            "what": tally.what,
            "fate": tally.fate,
            "why": tally.why,
            "records": tally.records,
            "bytes": tally.size_bytes,
        }
        for tally in reply.tallies
    ]
    return view | {"complete": reply.complete, "tallies": tallies}
