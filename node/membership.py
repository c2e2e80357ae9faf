"""The life of a node among its peers: introductions, fencing, and the right to vote.

Rules:
1.  A node votes only after a round of introductions in this boot: every peer that could be reached
    has stored this life, and none remembered a later one.
2.  Whoever is fenced, at any time, stops voting at once and becomes a receiver under a new
    incarnation.
3.  A receiver stores, but neither votes nor counts; `node/rejoin.py` makes it a voter again.
4.  When the marker vanishes from the data directory (its disk was unmounted), the node stops
    voting and storing until the process is started again.

Introductions go on for ever as a heartbeat, so lives spread even when no client talks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from node.marker import ALL_PARTITIONS, Marker, NodeFiles
from node.node_layouts import NodeLayouts
from node.standing import Step, admit_blank, fenced_by, next_boot
from ring.codec import Sender
from ring.control import Introduce, IntroducedReply
from ring.errors import Fenced, HoldfastError, NotAdmitted
from ring.life import Knowledge, Life, NodeId
from ring.messages import expect
from ring.seams import Randomness, Transport

INTRODUCE_TIMEOUT_S: Final = 1.0
HEARTBEAT_S: Final = 2.0
BLANK_RETRY_S: Final = 0.25
_BLANK_LIFE: Final = Life(0, 0, 0)

log = structlog.get_logger()


class Membership:
    """Who this node is at the moment, and what it knows of the others.

    on_admitted: called once, before the first vote, when the directory may be written to.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        layouts: NodeLayouts,
        files: NodeFiles,
        transport: Transport,
        randomness: Randomness,
        accept_blank: bool,
    ) -> None:
        self.node = node
        self.layouts = layouts
        self.reason = "starting"
        self.settled = asyncio.Event()  # the first round of introductions is over
        self.marker: Marker | None = None
        self.receiver_since = 0  # raised whenever this node becomes a receiver
        self._files = files
        self._transport = transport
        self._nonce = int.from_bytes(randomness.octets(8), "big")
        self._accept_blank = accept_blank
        self._knowledge = Knowledge()
        self._peers_lock = asyncio.Lock()
        self._marker_lock = asyncio.Lock()
        self._sender = Sender(_BLANK_LIFE, ())
        self._lost_disk = False

    @property
    def life(self) -> Life:
        """This node's life; incarnation 0 while it is blank."""
        return self._sender.life

    @property
    def admitted(self) -> bool:
        """Whether the data directory may be written to."""
        return self.marker is not None and not self._lost_disk

    @property
    def state(self) -> str:
        """One word for operators."""
        if self.marker is None:
            return "blank"
        if self._lost_disk:
            return "lost its disk"
        if not self.settled.is_set():
            return "starting"
        return "receiver" if self.marker.receiver else "voter"

    def sender(self) -> Sender:
        """What every answer carries; another object whenever it changed."""
        return self._sender

    def votes(self, partition: int) -> bool:
        """Whether an answer about this partition's records counts."""
        marker = self.marker
        if marker is None or self._lost_disk or not self.settled.is_set():
            return False
        return marker.voting is ALL_PARTITIONS or marker.votes(partition)

    async def load(self) -> None:
        """Read the data directory; with a marker, begin the next boot durably.

        Raises NotAdmitted, Corrupt or StorageFault: then this process must not serve.
        """
        await self.layouts.load(self._files)
        self._knowledge = Knowledge(dict(await self._files.peers()))
        marker = await self._files.marker(self.layouts.live.cluster_id, self.node)
        if marker is not None:
            await self._adopt(next_boot(marker))

    async def wait_until_admitted(self, on_admitted: Callable[[], Awaitable[None]]) -> None:
        """Come to a marker, open the store, and introduce this life to everybody once."""
        while self.marker is None:
            await self._ask_whether_new()
        await on_admitted()
        await self._introduce_to_all()
        self.settled.set()
        self.reason = "has not compared everything yet" if self.marker.receiver else "votes"
        log.info("node settled", node=self.node, state=self.state, life=str(self.life.pair))

    async def heartbeat(self) -> None:
        """Introduce this node again and again, and watch the marker; runs until cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._introduce_to_all()
            await self._watch_marker()

    async def introduced(self, request: Introduce) -> IntroducedReply:
        """Answer a peer's introduction; its life is stored durably before the answer.

        Raises Fenced when a later life of it is remembered, NotAdmitted when it is no member.
        """
        if self.layouts.live.newest.member(request.node) is None:
            raise NotAdmitted(f"{request.node} is no member of this cluster")
        known = self._knowledge.latest(request.node)
        if not request.blank and request.life != known:
            if known is not None and request.life.superseded_by(known):
                raise Fenced(
                    f"{request.node} was seen in a later life {known.pair}",
                    incarnation=known.incarnation,
                    boot=known.boot,
                )
            if self.admitted:
                await self._remember(((request.node, request.life),))
        return IntroducedReply(known, self._lives())

    async def introduce_to(self, peer: NodeId) -> IntroducedReply | None:
        """Make a peer store this life; None when it did not, for whatever reason."""
        assert self.marker is not None
        life = self.life
        request = Introduce(self.node, life, blank=False, receiver=self.marker.receiver)
        try:
            answer = await self._transport.call(
                peer,
                request,
                epochs=self.layouts.live.epochs,
                timeout_s=INTRODUCE_TIMEOUT_S,
                background=True,
            )
            reply = expect(answer, IntroducedReply)
            await self._remember((*reply.lives, (answer.node, answer.life)))
        except Fenced as fenced:
            if life == self.life:
                await self._become_receiver(int(fenced.facts.get("incarnation", 0)), peer)
            return None
        except HoldfastError as error:
            log.debug("introduction failed", node=self.node, peer=peer, error=error.detail)
            return None
        return reply if life == self.life else None

    async def promote(self, voting: bytes, receiver_since: int) -> bool:
        """Vote on more partitions, durably; false when it became a receiver again meanwhile."""
        async with self._marker_lock:
            if self.marker is None or receiver_since != self.receiver_since:
                return False
            merged = bytes(a | b for a, b in zip(self.marker.voting, voting, strict=True))
            await self._write(replace(self.marker, voting=merged))
            if not self.marker.receiver:
                self.reason = "votes"
                log.info("receiver became a voter", node=self.node)
            return True

    async def _ask_whether_new(self) -> None:
        others = tuple(n for n in self.layouts.live.newest.nodes if n != self.node)
        remembered: dict[NodeId, Life | None] = {}
        for peer in others:
            try:
                answer = await self._transport.call(
                    peer,
                    Introduce(self.node, _BLANK_LIFE, blank=True, receiver=True),
                    epochs=self.layouts.live.epochs,
                    timeout_s=INTRODUCE_TIMEOUT_S,
                    background=True,
                )
                remembered[peer] = expect(answer, IntroducedReply).remembered
            except HoldfastError:
                continue
        admission = admit_blank(
            cluster_id=self.layouts.live.cluster_id,
            node=self.node,
            others=others,
            remembered=remembered,
            accept_blank=self._accept_blank,
        )
        if admission.reason != self.reason:
            log.info("blank data directory", node=self.node, reason=admission.reason)
            self.reason = admission.reason
        if admission.step is Step.BEGIN:
            assert admission.marker is not None
            await self._adopt(admission.marker)
        else:
            await asyncio.sleep(BLANK_RETRY_S)

    async def _adopt(self, marker: Marker) -> None:
        async with self._marker_lock:
            await self._write(marker)

    async def _write(self, marker: Marker) -> None:
        assert self._marker_lock.locked()
        await self._files.write_marker(marker)
        if marker.voting == ALL_PARTITIONS:
            marker = replace(marker, voting=ALL_PARTITIONS)
        self.marker = marker
        self._refresh_sender()

    async def _become_receiver(self, incarnation: int, peer: NodeId) -> None:
        async with self._marker_lock:
            assert self.marker is not None
            marker = fenced_by(self.marker, incarnation)
            self.marker = marker  # stop voting now; a crash before the write is fenced again
            self.receiver_since += 1
            self.reason = f"fenced by {peer}, which remembers a later life: a disk rolled back"
            log.warning("fenced", node=self.node, by=peer, incarnation=marker.incarnation)
            try:
                await self._write(marker)
            except HoldfastError as error:
                log.warning("cannot store the new life", node=self.node, error=error.detail)

    async def _introduce_to_all(self) -> None:
        peers = [n for n in self.layouts.live.newest.nodes if n != self.node]
        async with asyncio.TaskGroup() as group:
            for peer in peers:
                group.create_task(self.introduce_to(peer))

    async def _watch_marker(self) -> None:
        try:
            there = await self._files.has_marker()
        except HoldfastError as error:
            log.warning("data directory cannot be read", node=self.node, error=error.detail)
            return
        if not there and not self._lost_disk:
            self._lost_disk = True
            self.reason = "the marker vanished from the data directory: is its disk mounted?"
            log.error("marker vanished", node=self.node)

    async def _remember(self, lives: tuple[tuple[NodeId, Life], ...]) -> None:
        """Store later lives of others; what is already stored costs nothing."""
        if not any(self._is_news(node, life) for node, life in lives):
            return
        async with self._peers_lock:
            merged = Knowledge(dict(self._knowledge.items()))
            merged.learn_all(pair for pair in lives if self._is_news(*pair))
            if self.admitted:
                await self._files.write_peers(tuple(merged.items()))
            self._knowledge = merged
            self._refresh_sender()

    def _is_news(self, node: NodeId, life: Life) -> bool:
        if node == self.node or life.incarnation == 0:
            return False
        known = self._knowledge.latest(node)
        return known is None or life.pair > known.pair

    def _lives(self) -> tuple[tuple[NodeId, Life], ...]:
        """Everything known, this node's own life included once it has one."""
        own = () if self.marker is None else ((self.node, self.life),)
        return (*(pair for pair in self._knowledge.items() if pair[0] != self.node), *own)

    def _refresh_sender(self) -> None:
        life = _BLANK_LIFE
        if self.marker is not None:
            life = Life(self.marker.incarnation, self.marker.boot, self._nonce)
        peers = tuple(pair for pair in self._knowledge.items() if pair[0] != self.node)
        self._sender = Sender(life, peers)
