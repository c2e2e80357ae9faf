"""How much may be destroyed, so that every red seed is a bug.

Of each digest's eligible nodes at most W-1 may have lost or damaged theirs at any time.  A lost
disk counts until its node votes again, under a later incarnation than the lost one; a damaged copy
until the node has a whole one, or nothing to hold.  A damaged log counts until its disk is
replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ring.digest import Digest
from ring.errors import Corrupt
from ring.life import NodeId
from ring.recipe import Recipe
from ring.record import NO_ROOT, RecordKey, RecordKind, is_dead
from tests.sim.epochs import Epochs
from tests.sim.machine import Machine
from tests.sim.promises import Promises
from tests.sim.stores import copy_in


class DamageBudget:
    """Asked before anything is destroyed, told when it is.

    digests: of all records whose copies count: blobs and chunks.
    """

    def __init__(
        self,
        *,
        machines: Mapping[NodeId, Machine],
        epochs: Epochs,
        write_quorum: int,
        digests: Sequence[Digest],
        promises: Promises,
    ) -> None:
        self.digests = digests
        self._machines = machines
        self._epochs = epochs
        self._spare = write_quorum - 1
        self._promises = promises
        self._lost: dict[NodeId, int] = {}  # the incarnation that it has to reach
        self._lost_before: dict[NodeId, int] = {}  # what it was when a node was lost once more
        self._damaged: dict[tuple[NodeId, Digest], None] = {}
        self._logs: dict[NodeId, None] = {}
        self._threatened: Counter[NodeId] = Counter()
        self._ever: dict[Digest, None] = {}

    @property
    def damaged(self) -> list[tuple[NodeId, Digest]]:
        """Copies that are bad, or may be."""
        return list(self._damaged)

    def may_lose(self, node: NodeId) -> bool:
        """Whether all that a node has may be lost."""
        return self.may_damage(node, self.digests)

    def may_damage(self, node: NodeId, digests: Sequence[Digest]) -> bool:
        """Whether a node's copies of these may be lost."""
        self._forgive()
        anywhere = {*self._lost, *self._logs, *(+self._threatened), node}
        if len(anywhere) > self._spare:
            return False
        for digest in digests:
            damaged = {other for other, what in self._damaged if what == digest}
            if len((anywhere | damaged) & {*self._epochs.placement(digest).eligible}) > self._spare:
                return False
        return True

    def lose(self, node: NodeId) -> None:
        """All that a node had is gone, and it may not know."""
        machine = self._machines[node]
        before = self._lost.get(node, 0)
        self._lost_before[node] = before
        self._lost[node] = max(machine.boot[0] + 1, before)
        self._promises.forget(node)
        self._logs.pop(node, None)

    def regain(self, node: NodeId) -> None:
        """What seemed lost is still there; but what was lost before that is not."""
        self._lost.pop(node, None)
        if before := self._lost_before.pop(node, 0):
            self._lost[node] = before

    def damage(self, node: NodeId, digests: Sequence[Digest]) -> None:
        """A node's copies of these are bad, or will be."""
        for digest in digests:
            self._ever[digest] = None
            self._damaged[node, digest] = None
            self._promises.excuse(node, digest)

    @contextmanager
    def threatened(self, node: NodeId) -> Iterator[None]:
        """Any copy of a node may be damaged meanwhile, unnoticed."""
        self._threatened[node] += 1
        self.damage(node, self.digests)
        try:
            yield
        finally:
            if node in self._threatened:
                self._threatened[node] -= 1

    def damage_log(self, node: NodeId) -> None:
        """What a node's store remembers is damaged: it may refuse to start, or have bad copies."""
        self._logs[node] = None
        self.damage(node, self.digests)

    def has_damaged_log(self, node: NodeId) -> bool:
        """Whether the next start may end with that."""
        return node in self._logs

    def ever_damaged(self, digest: Digest) -> bool:
        """Whether a copy of it was ever damaged."""
        return digest in self._ever

    def _forgive(self) -> None:
        self._forget_the_retired()
        for node, incarnation in list(self._lost.items()):
            machine = self._machines[node]
            if machine.state == "voter" and machine.boot[0] >= incarnation:
                del self._lost[node]
        for node, digest in list(self._damaged):
            is_lasting = node in self._logs or self._threatened[node]
            if not is_lasting and self._is_whole(self._machines[node], digest):
                del self._damaged[node, digest]
                self._promises.demand(node, digest)

    def _forget_the_retired(self) -> None:
        """What is no member's machine any more has nothing that counts."""
        for node in [node for node in self._lost if node not in self._machines]:
            del self._lost[node]
        for node in [node for node in self._logs if node not in self._machines]:
            del self._logs[node]
        for node in [node for node in self._threatened if node not in self._machines]:
            del self._threatened[node]
        for copy in [copy for copy in self._damaged if copy[0] not in self._machines]:
            del self._damaged[copy]

    def _is_whole(self, machine: Machine, digest: Digest) -> bool:
        store = machine.store
        if store is None or machine.state != "voter" or machine.node in self._lost:
            return False
        states = store.stat_now([RecordKey(digest)])
        if states is None:
            return False
        (state,) = states
        if is_dead(state.root) and not state.claimed:
            return True
        if not state.held:
            return state.root == NO_ROOT and not state.claimed
        copy = copy_in(machine.disk, store, RecordKey(digest))
        if copy is None:
            return False
        content = machine.disk.content(copy.path)
        value = content[copy.offset : copy.offset + copy.size_bytes]
        return _is_intact(digest, state.kind, value)


def _is_intact(digest: Digest, kind: RecordKind, value: bytes) -> bool:
    if kind is not RecordKind.RECIPE:
        return digest.matches(value)
    try:
        Recipe.decode(digest, value)
    except Corrupt:
        return False
    return True
