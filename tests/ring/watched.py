"""Suspicion as a machine under test: three nodes, and what becomes of the calls to them."""

from __future__ import annotations

from ring.life import NodeId
from ring.suspicion import Lane, Suspicion, SuspicionSettings, Tally

A, B, C = NODES = tuple(NodeId(name) for name in "abc")
SETTINGS = SuspicionSettings()
ROUND_S = SETTINGS.round_s
PROMPT_S = 0.002


class Watched:
    """A machine, and what three nodes do: each round every node is asked ten times.

    does: what becomes of a node's calls, in seconds until the answer; None is silence.
    """

    def __init__(self, lane: Lane = Lane.READS) -> None:
        self.machine = Suspicion()
        self.lane = lane
        self.now_s = 100.0
        self.does: dict[NodeId, float | None] = dict.fromkeys(NODES, PROMPT_S)
        self.probed: list[tuple[float, NodeId]] = []
        self.machine.begin(self.now_s)

    def tally(self, node: NodeId, lane: Lane | None = None) -> Tally:
        return self.machine.tallies(node)[self.lane if lane is None else lane]

    def act(self, node: NodeId, elapsed_s: float | None, lane: Lane | None = None) -> None:
        tally = self.tally(node, lane)
        tally.asked += 1
        if elapsed_s is not None:
            self.machine.answered(tally, elapsed_s, self.now_s)

    def round(self, calls: int = 10) -> None:
        """Nodes that are doubted are left out, but for their probes."""
        for node, elapsed_s in self.does.items():
            for _ in range(0 if self.tally(node).doubted else calls):
                self.act(node, elapsed_s)
        self.now_s += ROUND_S
        self.machine.judge(self.now_s)
        for tally in self.machine.probes(self.now_s):
            if tally.lane is self.lane:
                self.probed.append((self.now_s, tally.node))
            self.act(tally.node, self.does[tally.node], tally.lane)

    def rounds(self, seconds: float) -> None:
        for _ in range(round(seconds / ROUND_S)):
            self.round()

    def doubted(self) -> list[NodeId]:
        return [node for node in NODES if self.machine.is_doubted(node, self.lane)]
