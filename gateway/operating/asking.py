"""One question to many nodes, for operators: every node's answer, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.cluster import Cluster
from gateway.fanout import Fanout, Outcome
from ring.life import NodeId
from ring.messages import Request


async def ask_all(
    cluster: Cluster, nodes: Sequence[NodeId], request: Request, *, timeout_s: float
) -> dict[NodeId, Outcome]:
    """What each node said, in the order in which they answered."""
    fanout = Fanout(cluster)
    outcomes: dict[NodeId, Outcome] = {}
    try:
        for node in nodes:
            fanout.ask(node, request, timeout_s=timeout_s)
        while not fanout.exhausted:
            arrived = await fanout.next()
            assert arrived is not None
            outcomes[arrived[0]] = arrived[1]
    finally:
        fanout.abandon()
    return outcomes
