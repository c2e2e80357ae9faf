"""One step of the purge of tombstones, as a machine: who has to answer what before they may go.

Source of the rules: the exhaustive model of deletes (docs/ARCHITECTURE.md, Decisions).

1.  HOLD: every node that may lack the delete stores it.  Only a stored tombstone, or something
    newer, confirms; a floor or an absent record does not.  Then the asker's is *settled*.
2.  SETTLED: asked by the holder of a settled one, every such node says that its own is settled,
    that it has something newer, or that it has no root of the record any more.  Then the asker's
    goes.
3.  A confirmation counts in the round that asked, for the one life that gave it, from a voter.
    Nothing is concluded from silence or from time.
4.  While a node keeps bytes under the tombstone it is not settled: sums would differ until they go.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from ring.life import Life, NodeId
from ring.limits import KEYS_PER_REQUEST_MAX
from ring.record import NO_ROOT, RecordKey, RecordState, Root


class Tombstone(Struct, frozen=True):
    """A delete of a record, as it was when somebody looked."""

    key: RecordKey
    root: Root


class Step(enum.Enum):
    """What is asked."""

    HOLD = "hold"
    SETTLED = "settled"


def confirms(step: Step, tombstone: Tombstone, state: RecordState) -> bool:
    """Whether a voter's state lets the asker's tombstone take this step."""
    if state.root > tombstone.root:
        return True
    if step is Step.HOLD:
        return state.root == tombstone.root and state.is_tombstone
    if state.root == NO_ROOT:
        return True
    return state.root == tombstone.root and state.settled


class PurgeStep:
    """Several tombstones and the other nodes whose word each of them needs.

    The driver reports every question of `questions` once, by `answered` or `failed`.
    """

    def __init__(self, step: Step, needed: Mapping[Tombstone, Sequence[NodeId]]) -> None:
        self.step = step
        self._missing = {one: dict.fromkeys(nodes) for one, nodes in needed.items()}
        self._lives: dict[NodeId, Life] = {}
        self._void: dict[NodeId, None] = {}
        self._needed = needed

    @property
    def lives(self) -> list[tuple[NodeId, Life]]:
        """Who answered, in which life."""
        return list(self._lives.items())

    def questions(self) -> list[tuple[NodeId, tuple[Tombstone, ...]]]:
        """What to ask of whom; a node is asked about all of its tombstones together."""
        asked: dict[NodeId, list[Tombstone]] = {}
        for tombstone, nodes in self._needed.items():
            for node in nodes:
                asked.setdefault(node, []).append(tombstone)
        return [
            (node, tuple(tombstones[start : start + KEYS_PER_REQUEST_MAX]))
            for node, tombstones in asked.items()
            for start in range(0, len(tombstones), KEYS_PER_REQUEST_MAX)
        ]

    def answered(
        self,
        node: NodeId,
        life: Life,
        tombstones: Sequence[Tombstone],
        states: Sequence[RecordState | None],
    ) -> None:
        """The states in an answer, None where the node may not vote."""
        if self._lives.setdefault(node, life).process != life.process:
            self.superseded(node)
        for tombstone, state in zip(tombstones, states, strict=True):
            if state is not None and confirms(self.step, tombstone, state):
                self._missing[tombstone].pop(node, None)

    def superseded(self, node: NodeId) -> None:
        """The life in which it answered is over: all that it said is void."""
        self._void[node] = None

    def confirmed(self) -> list[Tombstone]:
        """Those that every node they need has confirmed, none of them void."""
        return [
            one
            for one, missing in self._missing.items()
            if not missing and not any(node in self._void for node in self._needed[one])
        ]

    def waiting(self) -> Counter[NodeId]:
        """For each node how many tombstones wait for its word."""
        waiting: Counter[NodeId] = Counter()
        for one, missing in self._missing.items():
            waiting.update(list(missing))
            waiting.update(n for n in self._needed[one] if n in self._void and n not in missing)
        return waiting
