"""Decide where to read one chunk: any eligible node's verified copy will do.

A chunk is named by a recipe that was already found live, so there is no generation to ask for and
no miss: a chunk that nobody can deliver is unavailable, never absent.
"""

from __future__ import annotations

from collections.abc import Sequence

from ring.life import NodeId
from ring.write_quorum import Outcome


class SourcePlan:
    """Nodes best first; one is asked, the next when it fails or is late."""

    __slots__ = ("_in_flight", "_late", "_untried", "source")

    def __init__(self, ranked: Sequence[NodeId]) -> None:
        self._untried = list(ranked)
        self._in_flight: dict[NodeId, None] = {}
        self._late: dict[NodeId, None] = {}
        self.source: NodeId | None = None

    @property
    def outcome(self) -> Outcome:
        """Committed with the first intact copy; failed when nobody is left."""
        if self.source is not None:
            return Outcome.COMMITTED
        return Outcome.PENDING if self._untried or self._in_flight else Outcome.FAILED

    def next_targets(self) -> tuple[NodeId, ...]:
        """The node to ask now, if any."""
        waiting = [node for node in self._in_flight if node not in self._late]
        if self.source is not None or waiting or not self._untried:
            return ()
        node = self._untried.pop(0)
        self._in_flight[node] = None
        return (node,)

    def delivered(self, node: NodeId) -> None:
        """Bytes came and hash right."""
        self._in_flight.pop(node)
        if self.source is None:
            self.source = node

    def failed(self, node: NodeId) -> None:
        """No copy, a bad copy, or no answer."""
        self._in_flight.pop(node)

    def late(self, node: NodeId) -> None:
        """Slower than usual: hedge."""
        if node in self._in_flight:
            self._late[node] = None
