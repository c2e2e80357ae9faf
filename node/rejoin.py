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

5.  It goes block by block of partitions and votes on a block as soon as that is done, so that a
    node with many records is of use, and a restart loses little, before all of them are here.
6.  What it has of partitions that are not its own any more is compared too, though nothing else of
    them is pulled: it may be from before a delete, and owners take what a voter offers.

This is the plain full comparison: its cost is the node's share of the data set, so it is begun only
when it can win a partition.  It never writes to a peer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from node.client import NodeClient, every_claim
from node.local_store import LocalRecordStore
from node.membership import Membership
from node.record_pages import RecordPages
from ring.control import GetStatus, StatusReply
from ring.digest import Buffer, Digest
from ring.errors import Corrupt, DigestMismatch, HoldfastError, Unavailable
from ring.layout import LiveLayouts
from ring.life import Life, NodeId
from ring.limits import LIST_ENTRIES_MAX, PARTITIONS
from ring.messages import Answer, Request, expect
from ring.quorum import Placement
from ring.record import (
    NO_ROOT,
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
PULLS_AT_ONCE: Final = 16
_PASSES: Final = 2
_BLOCKS_MAX: Final = 64
_BLOCK_RECORDS: Final = 8_192

log = structlog.get_logger()


@dataclass(slots=True)
class Comparison:
    """What the comparison of a block has learnt so far.

    block: its partitions.  listed: peers that were listed completely in every pass, and the life in
    which they stored this node's and were listed.  partitions_left, left: partitions that are not
    this node's any more, and its records of them (rule 6).  seen: keys that any of them has.
    """

    block: range
    listed: dict[NodeId, Life]
    partitions_left: set[int] = field(default_factory=set)
    left: set[RecordKey] = field(default_factory=set)
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
        """Block after block; what the peers' answers say of later ones may change meanwhile."""
        membership = self._membership
        listed = await self._welcoming_peers()
        size = PARTITIONS // await self._blocks(listed)
        for first in range(0, PARTITIONS, size):
            since, live = membership.receiver_since, membership.layouts.live
            comparison = Comparison(range(first, first + size), dict(listed))
            if not await self._compare_block(live, comparison, since):
                break
        if membership.marker is not None and membership.marker.receiver:
            membership.reason = self._missing_voters(", ".join(listed) or "none")

    async def _partitions_left(self, block: range, live: LiveLayouts) -> set[int]:
        """Rule 6."""
        return {
            partition
            for partition in await self._store.facts.counted()
            if partition in block
            and self._membership.node not in live.partition_placement(partition).eligible
        }

    async def _blocks(self, listed: dict[NodeId, Life]) -> int:
        """Into how many the partitions are divided: a power of two, by how much there is."""
        most = 0
        for peer in listed:
            try:
                most = max(most, await self._records_of(peer))
            except HoldfastError as error:
                log.debug("rejoin: a peer does not say how much it has", error=error.detail)
        return min(_BLOCKS_MAX, 1 << (most // _BLOCK_RECORDS).bit_length())

    async def _records_of(self, peer: NodeId) -> int:
        answer = await self._transport.call(
            peer,
            GetStatus(),
            epochs=self._membership.layouts.live.epochs,
            timeout_s=CALL_TIMEOUT_S,
            background=True,
        )
        return expect(answer, StatusReply).records

    async def _compare_block(
        self, live: LiveLayouts, comparison: Comparison, since: int
    ) -> bool:
        """False when nothing that was learnt may be used, for later blocks neither."""
        membership = self._membership
        if all(map(membership.votes, comparison.block)):
            return True
        comparison.partitions_left = await self._partitions_left(comparison.block, live)
        for peer in list(comparison.listed):
            if not await self._take_floors_of(peer, comparison):
                del comparison.listed[peer]
        if not self._can_win(live, comparison):
            return True
        for partition in sorted(comparison.partitions_left):
            comparison.left.update(key for key, _ in await self._store.facts.walk(partition))
        for _ in range(_PASSES):
            for peer in list(comparison.listed):
                if not await self._list_peer(peer, comparison):
                    del comparison.listed[peer]
        if since != membership.receiver_since or live is not membership.layouts.live:
            return False
        for peer, life in list(comparison.listed.items()):
            if not membership.knows_no_later(peer, life):
                del comparison.listed[peer]
        done = [
            partition
            for partition in comparison.block
            if self._is_done(partition, live.partition_placement(partition), comparison)
        ]
        await self._take_floors(done, comparison)
        await self._drop_purged(set(done), comparison)
        if live is not membership.layouts.live:
            return False
        voting = bytearray(PARTITIONS // 8)
        for partition in done:
            voting[partition >> 3] |= 1 << (partition & 7)
        return await membership.promote(bytes(voting), since)

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
            for partition in comparison.block
        )

    async def _welcoming_peers(self) -> dict[NodeId, Life]:
        """Peers that have stored this life, in order, and theirs."""
        membership = self._membership
        others = [node for node in membership.layouts.live.newest.nodes if node != membership.node]
        lives = {peer: await membership.introduce_to(peer) for peer in others}
        return {peer: life for peer, life in lives.items() if life is not None}

    def _is_done(self, partition: int, placement: Placement, comparison: Comparison) -> bool:
        node = self._membership.node
        concerns = node in placement.eligible or partition in comparison.partitions_left
        return not concerns or comparison.covered(placement, node)

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
            pages = RecordPages(client, comparison.block)
            while (entries := await pages.next()) is not None:
                mine = [entry for entry in entries if self._is_mine(entry.key, comparison)]
                comparison.seen.update(entry.key for entry in mine)
                await self._pull_newer(client, mine, comparison)
        except HoldfastError as error:
            log.info("rejoin: peer left out", peer=peer, error=error.detail)
            return False
        return True

    def _is_mine(self, key: RecordKey, comparison: Comparison) -> bool:
        placement = self._membership.layouts.live.placement(key.digest)
        return self._membership.node in placement.eligible or key in comparison.left

    async def _pull_newer(
        self, client: RecordStore, entries: list[RecordEntry], comparison: Comparison
    ) -> None:
        """Several at a time: most of a pull is waiting, for the peer and for the disk here."""
        turns = asyncio.Semaphore(PULLS_AT_ONCE)
        states = await self._store.stat([entry.key for entry in entries])
        failures: list[HoldfastError] = []

        async def pull(entry: RecordEntry, own: RecordState) -> None:
            try:
                await self._pull(client, entry, own, comparison)
            except HoldfastError as error:
                failures.append(error)
            finally:
                turns.release()

        async with asyncio.TaskGroup() as group:
            for entry, own in zip(entries, states, strict=True):
                if entry.state.claimed or not _brings_nothing(own, entry.state):
                    await turns.acquire()
                    if failures:
                        break
                    group.create_task(pull(entry, own))
        if failures:
            raise failures[0]

    async def _pull(
        self, client: RecordStore, entry: RecordEntry, own: RecordState, comparison: Comparison
    ) -> None:
        claimants = await self._claims(client, entry)
        if _brings_nothing(own, entry.state) and not claimants:
            return
        state, value = entry.state, None
        if not own.held and _has_wanted_value(entry.state):
            state, value = await client.get(entry.key)
        await self._absorb(entry.key, state, claimants, value)
        comparison.pulled += 1
        self.pulled_total += 1

    async def _claims(self, client: RecordStore, entry: RecordEntry) -> list[Digest]:
        if not entry.state.claimed:
            return []
        return await every_claim(lambda after: client.claims(entry.key, after, LIST_ENTRIES_MAX))

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
        await self._store.until_past()  # puts that were let in under lower floors are seen now

    async def _drop_purged(self, done: set[int], comparison: Comparison) -> None:
        """Rule 3: a put that arrived late must not outlive the purge of its tombstone."""
        for partition in sorted(done):
            floor = comparison.floors.get(partition, 0)
            if not floor:
                continue
            for key, state in await self._store.facts.walk(partition):
                purged = is_live(state.root) and generation_of(state.root) <= floor
                if purged and key not in comparison.seen:
                    await self._store.drop(key)


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


def _has_wanted_value(state: RecordState) -> bool:
    """Whether a copy is there that somebody may need: no trash."""
    return state.held and (state.claimed or state.root == NO_ROOT or is_live(state.root))


def _brings_nothing(own: RecordState, theirs: RecordState) -> bool:
    """Whether merging `theirs` would leave `own` as it is, claims apart."""
    wanted = _has_wanted_value(theirs) and not own.held
    return merge(own, theirs).root == own.root and not wanted
