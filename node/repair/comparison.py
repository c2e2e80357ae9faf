"""Finds the records on which this node and a peer differ.

The facts of both are compared by sums in a tree with sixteen branches at each digit of the digest:
one sum when all is well, else down the branches that differ, to lists of records where few are
left.  With n records and d differences that is about d * (log16(n / 64) + 1) * 16 sums of some 21
bytes and d * 40 records of some 45.  (Merkle search by additive sums; the tree is never stored.)

Rules:
1.  It changes nothing.  What differs now may be a write on its way: whoever acts looks again.
2.  It is bounded: with more than `limit` differences it ends early and says so.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from msgspec import Struct

from node.fact_reader import FactReader
from node.repair.peers import Peers
from ring.comparing import PREFIX_DIGITS_MAX, PREFIXES_MAX, PrefixSum
from ring.life import NodeId
from ring.record import RecordKey

LEAF_FACTS: Final = 64
_DIGITS: Final = "0123456789abcdef"
_BRANCHES_AT_ONCE: Final = PREFIXES_MAX // len(_DIGITS)
_LEAVES_AT_ONCE: Final = 64


class Compared(Struct, frozen=True):
    """How a comparison went.

    differing: records of which the peer has other facts, none, or facts that are not here.
    complete: whether these are all.  facts: how many facts are here.  questions: round trips.
    """

    peer: NodeId
    differing: tuple[RecordKey, ...]
    complete: bool
    facts: int
    questions: int


class Comparison:
    """One comparison with one peer.

    shared: the partitions that both keep while `absent` are away.
    """

    def __init__(
        self,
        facts: FactReader,
        peers: Peers,
        peer: NodeId,
        shared: Container[int],
        absent: tuple[NodeId, ...] = (),
        *,
        limit: int,
    ) -> None:
        self._facts = facts
        self._peers = peers
        self._peer = peer
        self._shared = shared
        self._absent = absent
        self._limit = limit
        self._questions = 0
        self._differing: dict[RecordKey, None] = {}

    async def run(self) -> Compared:
        """Raises what Peers raise, Corrupt or StorageFault."""
        (root,) = await self._facts.fingerprints(("",), self._shared)
        pending = [prefix for prefix, _ in await self._unequal(("",))]
        leaves: list[str] = []
        while (pending or leaves) and len(self._differing) < self._limit:
            if len(leaves) >= _LEAVES_AT_ONCE or not pending:
                listed, leaves = leaves[:_LEAVES_AT_ONCE], leaves[_LEAVES_AT_ONCE:]
                pending += await self._list(listed)
                continue
            parents, pending = pending[-_BRANCHES_AT_ONCE:], pending[:-_BRANCHES_AT_ONCE]
            children = [parent + digit for parent in parents for digit in _DIGITS]
            for prefix, count in await self._unequal(children):
                if count <= LEAF_FACTS or len(prefix) == PREFIX_DIGITS_MAX:
                    leaves.append(prefix)
                else:
                    pending.append(prefix)
        return Compared(
            peer=self._peer,
            differing=tuple(self._differing),
            complete=not pending and not leaves,
            facts=root.count,
            questions=self._questions,
        )

    async def _unequal(self, prefixes: Sequence[str]) -> list[tuple[str, int]]:
        """Those below which the two differ, and how many facts are there at most."""
        self._questions += 1
        theirs = await self._peers.sums(self._peer, prefixes, self._absent)
        own: tuple[PrefixSum, ...] = await self._facts.fingerprints(prefixes, self._shared)
        return [
            (prefix, max(one.count, other.count))
            for prefix, one, other in zip(prefixes, own, theirs, strict=True)
            if one != other
        ]

    async def _list(self, prefixes: Sequence[str]) -> list[str]:
        """Compare record by record; the prefixes below which there are too many for that."""
        self._questions += 1
        theirs = await self._peers.facts(self._peer, prefixes, self._absent)
        own = await self._facts.listed(prefixes, self._shared)
        if theirs is None or own is None:
            return [prefix for prefix in prefixes if len(prefix) < PREFIX_DIGITS_MAX]
        here, there = dict(own), dict(theirs)
        for key in sorted({**here, **there}):
            if here.get(key) != there.get(key):
                self._differing[key] = None
        return []
