"""When each peer last said anything, by the event loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ring.life import NodeId


class LastHeard:
    """Whoever has said nothing yet counts as heard of when `begin` was called."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._heard_s: dict[NodeId, float] = {}

    def begin(self) -> None:
        """From now on silence counts."""
        self._began_s = asyncio.get_running_loop().time()

    def note(self, node: NodeId) -> None:
        """It has just spoken or answered."""
        self._heard_s[node] = asyncio.get_running_loop().time()

    def silent(self, nodes: Sequence[NodeId], least_s: float) -> tuple[NodeId, ...]:
        """Those of `nodes` that have said nothing for so long, in their order."""
        since_s = asyncio.get_running_loop().time() - least_s
        heard_s, began_s = self._heard_s, self._began_s
        return tuple(node for node in nodes if heard_s.get(node, began_s) <= since_s)
