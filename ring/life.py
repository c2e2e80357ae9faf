"""Which life of a node an answer comes from.

A data directory that is wiped gets a higher incarnation; each start of a process raises the boot
counter; the nonce tells two processes apart that started from the same (restored) directory.

Rule: an answer counts only if no other counted answer knows of a later life of its sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NewType

from msgspec import Struct

NodeId = NewType("NodeId", str)
"""Stable name of a member: [a-z0-9][a-z0-9.-]{0,62}.  Not its address."""

NO_PROCESS: Final = 0
"""A nonce that no process draws: of a life that two processes claim, neither counts."""


class Life(Struct, frozen=True):
    """incarnation: from 1; boot: from 1; nonce: 64 random bits of the process, not NO_PROCESS.

    A process may raise its boot counter while it runs.
    """

    incarnation: int
    boot: int
    nonce: int

    @property
    def pair(self) -> tuple[int, int]:
        """What is compared: nonces only tell equal pairs apart."""
        return (self.incarnation, self.boot)

    @property
    def process(self) -> tuple[int, int]:
        """What stays the same while a process goes on and is not fenced."""
        return (self.incarnation, self.nonce)

    def superseded_by(self, known: Life) -> bool:
        """Whether `known` shows that this life is over, or that its disk was rolled back."""
        # Field by field, without making pairs: every answer is looked at.
        if self.incarnation != known.incarnation:
            return self.incarnation < known.incarnation
        if self.boot != known.boot:
            return self.boot < known.boot
        return self.nonce != known.nonce


class Knowledge:
    """The latest life heard of each node, from the node itself or from a peer.

    It only grows, and holds one entry per member that ever was.  Two processes that claim one
    life void each other, whichever was heard first: one of them started from a copy of the disk.
    """

    __slots__ = ("_latest", "learnt_total")

    def __init__(self, latest: Mapping[NodeId, Life] | None = None) -> None:
        self._latest: dict[NodeId, Life] = dict(latest or {})
        self.learnt_total = 0  # how often anything changed

    def learn(self, node: NodeId, life: Life) -> bool:
        """Remember `life` if it is later; true when something was learnt."""
        known = self._latest.get(node)
        if known == life:
            return False
        if known is not None and life.pair <= known.pair:
            if life.pair < known.pair or known.nonce in {life.nonce, NO_PROCESS}:
                return False
            life = Life(life.incarnation, life.boot, NO_PROCESS)
        self._latest[node] = life
        self.learnt_total += 1
        return True

    def learn_all(self, lives: Iterable[tuple[NodeId, Life]]) -> bool:
        """Remember each; true when something was learnt."""
        learnt = False
        for node, life in lives:
            learnt = self.learn(node, life) or learnt
        return learnt

    def counts(self, node: NodeId, life: Life) -> bool:
        """Whether an answer of this life may still be counted."""
        known = self._latest.get(node)
        return known is None or known == life or not life.superseded_by(known)

    def latest(self, node: NodeId) -> Life | None:
        """The latest life heard of."""
        return self._latest.get(node)

    def items(self) -> list[tuple[NodeId, Life]]:
        """Everything known, by node id."""
        return sorted(self._latest.items())
