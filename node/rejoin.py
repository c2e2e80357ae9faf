"""How a receiver becomes a voter again: compare everything with a cover of the others.

Source of the rules: the exhaustive model of deletes (docs/ARCHITECTURE.md, Decisions).

1.  A partition is done when a cover of the *other* voters, each of which has stored this life
    first, has been listed and every newer record of theirs is here.
2.  Copies move from spares to owners, so everybody is listed twice: for every partition its spares
    were then listed before its owners.
3.  The highest floor of the cover is taken; what is live here at or below it, and which none of
    the cover has, is dropped.
4.  Becoming a receiver again, or of layouts changing, voids the comparison; what a peer said in a
    life that is over is void too.

This is the plain full comparison: its cost is the node's share of the data set, so it is begun only
when it can win a partition.  It never writes to a peer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from node.client import NodeClient
from node.local_store import LocalRecordStore
from node.membership import Membership
from ring.digest import Buffer, Digest
from ring.errors import Corrupt, DigestMismatch, HoldfastError, Unavailable
from ring.layout import LiveLayouts
from ring.life import Life, NodeId
from ring.limits import LIST_ENTRIES_MAX, PARTITIONS
from ring.listing import check_page
from ring.messages import Answer, Request
from ring.quorum import Placement
from ring.record import (
    RecordEntry,
    RecordKey,
    RecordState,
    generation_of,
    is_live,
    merge,
    without_value,
)
from ring.seams import RecordStore, Transport

CALL_TIMEOUT_S: Final = 10.0
RETRY_S: Final = 1.0
_PASSES: Final = 2

log = structlog.get_logger()


@dataclass(slots=True)
class Comparison:
    """What one comparison has learnt so far.

    listed: peers that were listed completely in every pass, and the life in which they stored this
    node's and were listed.  seen: keys that any of them has.
    """

    listed: dict[NodeId, Life]
    floors: dict[int, int] = field(default_factory=dict)
    seen: set[RecordKey] = field(default_factory=set)
    pulled: int = 0

    def covered(self, placement: Placement, node: NodeId) -> bool:
        """Whether the listed peers, without `node` itself, are a cover."""
        return placement.is_cover([peer for peer in self.listed if peer != node])


class Rejoin:
    """Drives comparisons until this node votes on all of its partitions."""

    def __init__(
        self, membership: Membership, store: LocalRecordStore, transport: Transport
    ) -> None:
        self._membership = membership
        self._store = store
        self._transport = transport
        self.pulled_total = 0

    async def run(self) -> None:
        """Rejoin whenever this node is a receiver; runs until cancelled."""
        while True:
            marker = self._membership.marker
            if marker is not None and marker.receiver and self._membership.settled.is_set():
                try:
                    await self._compare()
                except HoldfastError as error:
                    self._membership.reason = f"cannot compare yet: {error.detail}"
                    log.info("rejoin waits", node=self._membership.node, error=error.detail)
            await asyncio.sleep(RETRY_S)

    async def _compare(self) -> None:
        membership = self._membership
        since, live = membership.receiver_since, membership.layouts.live
        comparison = Comparison(listed=await self._welcoming_peers())
        for peer in list(comparison.listed):
            if not await self._take_floors_of(peer, comparison):
                del comparison.listed[peer]
        welcoming = ", ".join(comparison.listed) or "none"
        if not self._can_win(live, comparison):
            membership.reason = self._missing_voters(welcoming)
            return
        for _ in range(_PASSES):
            for peer in list(comparison.listed):
                if not await self._list_peer(peer, comparison):
                    del comparison.listed[peer]
        if since != membership.receiver_since or live is not membership.layouts.live:
            return
        for peer, life in list(comparison.listed.items()):
            if not membership.knows_no_later(peer, life):
                del comparison.listed[peer]
        done = [
            partition
            for partition in range(PARTITIONS)
            if self._is_done(partition, live.partition_placement(partition), comparison)
        ]
        await self._take_floors(done, comparison)
        await self._drop_purged(set(done), comparison)
        if live is not membership.layouts.live:
            return
        voting = bytearray(PARTITIONS // 8)
        for partition in done:
            voting[partition >> 3] |= 1 << (partition & 7)
        await membership.promote(bytes(voting), since)
        if len(done) < PARTITIONS:
            membership.reason = self._missing_voters(welcoming)

    def _missing_voters(self, welcoming: str) -> str:
        votes = sum(map(self._membership.votes, range(PARTITIONS)))
        return (
            f"votes on {votes} of {PARTITIONS} partitions; the rest waits to be compared with more "
            f"of the other nodes, of which these vote: {welcoming}"
        )

    def _can_win(self, live: LiveLayouts, comparison: Comparison) -> bool:
        """Whether there is a partition to win by listing these peers."""
        return any(
            self._is_done(partition, live.partition_placement(partition), comparison)
            and not self._membership.votes(partition)
            for partition in range(PARTITIONS)
        )

    async def _welcoming_peers(self) -> dict[NodeId, Life]:
        """Peers that have stored this life, in order, and theirs."""
        membership = self._membership
        others = [node for node in membership.layouts.live.newest.nodes if node != membership.node]
        lives = {peer: await membership.introduce_to(peer) for peer in others}
        return {peer: life for peer, life in lives.items() if life is not None}

    def _is_done(self, partition: int, placement: Placement, comparison: Comparison) -> bool:
        node = self._membership.node
        return node not in placement.eligible or comparison.covered(placement, node)

    def _client(self, peer: NodeId, comparison: Comparison) -> NodeClient:
        return NodeClient(
            _OneLife(self._transport, comparison.listed[peer]),
            peer,
            epochs=lambda: self._membership.layouts.live.epochs,
            timeout_s=CALL_TIMEOUT_S,
            background=True,
        )

    async def _take_floors_of(self, peer: NodeId, comparison: Comparison) -> bool:
        """Learn a peer's floors; false when it was silent or may not vote."""
        try:
            floors = await self._client(peer, comparison).floors()
        except HoldfastError as error:
            log.debug("rejoin: peer left out", peer=peer, error=error.detail)
            return False
        for partition, floor in sorted(floors.items()):
            comparison.floors[partition] = max(floor, comparison.floors.get(partition, 0))
        return True

    async def _list_peer(self, peer: NodeId, comparison: Comparison) -> bool:
        """Pull everything newer from a peer; false when it fell silent or may not vote."""
        client = self._client(peer, comparison)
        try:
            if not await self._take_floors_of(peer, comparison):
                return False
            after: RecordKey | None = None
            done = False
            while not done:
                entries, done = await client.page(after, LIST_ENTRIES_MAX, roots_only=False)
                check_page(after, [entry.key for entry in entries], done=done)
                mine = [entry for entry in entries if self._is_mine(entry.key)]
                comparison.seen.update(entry.key for entry in mine)
                await self._pull_newer(client, mine, comparison)
                after = entries[-1].key if entries else after
        except HoldfastError as error:
            log.info("rejoin: peer left out", peer=peer, error=error.detail)
            return False
        return True

    def _is_mine(self, key: RecordKey) -> bool:
        placement = self._membership.layouts.live.placement(key.digest)
        return self._membership.node in placement.eligible

    async def _pull_newer(
        self, client: RecordStore, entries: list[RecordEntry], comparison: Comparison
    ) -> None:
        states = await self._store.stat([entry.key for entry in entries])
        for entry, own in zip(entries, states, strict=True):
            claimants = await _all_claims(client, entry)
            if _brings_nothing(own, entry.state) and not claimants:
                continue
            state, value = entry.state, None
            if entry.state.held and not own.held:
                state, value = await client.get(entry.key)
            await self._absorb(entry.key, state, claimants, value)
            comparison.pulled += 1
            self.pulled_total += 1

    async def _absorb(
        self, key: RecordKey, state: RecordState, claimants: list[Digest], value: Buffer | None
    ) -> None:
        """A bad copy still testifies to its root and claims; its bytes are not taken."""
        try:
            await self._store.absorb(key, state, claimants, value)
        except (Corrupt, DigestMismatch) as error:
            log.warning("rejoin: bad copy at a peer", key=str(key.digest), error=error.detail)
            await self._store.absorb(key, without_value(state), claimants, None)

    async def _take_floors(self, done: list[int], comparison: Comparison) -> None:
        for partition in done:
            if partition in comparison.floors:
                await self._store.raise_floor(partition, comparison.floors[partition])

    async def _drop_purged(self, done: set[int], comparison: Comparison) -> None:
        """Rule 3: a put that arrived late must not outlive the purge of its tombstone."""
        after: RecordKey | None = None
        finished = False
        while not finished:
            entries, finished = await self._store.page(after, LIST_ENTRIES_MAX, roots_only=True)
            for entry in entries:
                key, root = entry.key, entry.state.root
                floor = comparison.floors.get(key.digest.partition, 0)
                purged = is_live(root) and generation_of(root) <= floor
                if purged and key.digest.partition in done and key not in comparison.seen:
                    await self._store.drop(key)
            after = entries[-1].key if entries else after


class _OneLife:
    """Calls to a peer that count only while it is in the life that was introduced to."""

    def __init__(self, transport: Transport, life: Life) -> None:
        self._transport = transport
        self._life = life

    async def call(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        epochs: tuple[int, ...],
        timeout_s: float,
        background: bool = False,
        bulk: bool = False,
    ) -> Answer:
        """See Transport; raises Unavailable for an answer of another life."""
        answer = await self._transport.call(
            node,
            request,
            payload,
            epochs=epochs,
            timeout_s=timeout_s,
            background=background,
            bulk=bulk,
        )
        if answer.life.process != self._life.process:
            raise Unavailable(f"{node} was started again in the middle of a comparison")
        return answer


def _brings_nothing(own: RecordState, theirs: RecordState) -> bool:
    """Whether merging `theirs` would leave `own` as it is, claims apart."""
    merged = merge(own, theirs)
    return (merged.root, merged.held) == (own.root, own.held)


async def _all_claims(client: RecordStore, entry: RecordEntry) -> list[Digest]:
    claims: list[Digest] = []
    done = not entry.state.claimed
    while not done:
        after = claims[-1] if claims else None
        page, done = await client.claims(entry.key, after, LIST_ENTRIES_MAX)
        check_page(after, page, done=done)
        claims += page
    return claims
