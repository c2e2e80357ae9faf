"""The life of a node among its peers: introductions, fencing, and the right to vote.

Rules:
1.  A node votes only after a round of introductions in this boot: every peer that could be reached
    has stored this life, and none remembered a later one.  A new node votes only once every other
    member has: whoever votes must be remembered, or its disk could be lost and nobody would know.
2.  Whoever is fenced, at any time, stops voting at once and becomes a receiver under a new
    incarnation.
3.  A receiver stores, but neither votes nor counts; `node/rejoin.py` makes it a voter again.
4.  When the marker vanishes from the data directory (its disk was unmounted), the node stops
    voting, storing and writing until the process is started again.

Introductions go on for ever as a heartbeat, so lives spread even when no client talks.  Now and
then the boot counter is raised in mid-life: a disk that is rolled back to an earlier moment of the
same boot would else start with a counter that nobody has seen, and vote on what it has lost.  A
roll-back to a moment after the last raise is not noticed: RENEW_S bounds that gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog
from msgspec.structs import replace

from node.last_heard import LastHeard
from node.marker import ALL_PARTITIONS, Marker, NodeFiles
from node.node_layouts import NodeLayouts
from node.standing import Step, admit_blank, fence, fenced_by, incarnation_in, next_boot
from ring.codec import Sender
from ring.control import Introduce, IntroducedReply
from ring.errors import Fenced, HoldfastError, NotAdmitted, WrongEpoch
from ring.layout import Layout
from ring.life import NO_PROCESS, Knowledge, Life, NodeId
from ring.messages import Answer, expect
from ring.seams import Randomness, Transport

INTRODUCE_TIMEOUT_S: Final = 1.0
HEARTBEAT_S: Final = 2.0
BLANK_RETRY_S: Final = 0.25
RENEW_S: Final = 600.0
SILENT_S: Final = 10.0  # who says nothing for so long is not counted on in the background
_STARTING: Final = "starting"
_BLANK_LIFE: Final = Life(0, 0, NO_PROCESS)

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
        self.reason = _STARTING
        self.settled = asyncio.Event()  # the first round of introductions is over
        self.marker: Marker | None = None
        self.receiver_since = 0  # raised whenever this node becomes a receiver
        self._files = files
        self._transport = transport
        self._nonce = int.from_bytes(randomness.octets(8), "big") or NO_PROCESS + 1
        self._accept_blank = accept_blank
        self._knowledge = Knowledge()
        self._heard = Knowledge()  # from answers, in memory only
        self._peers_lock = asyncio.Lock()
        self._marker_lock = asyncio.Lock()
        self._sender = Sender(_BLANK_LIFE, ())
        self._lost_disk = False
        self._last_heard = LastHeard()

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

    @property
    def votes_everywhere(self) -> bool:
        """Whether an answer about all partitions counts."""
        return self.state == "voter"

    def others(self) -> list[NodeId]:
        """The other members of the live layouts, those of the newest first."""
        return [node for node in self.layouts.live.nodes if node != self.node]

    def silent_for(self, least_s: float) -> tuple[NodeId, ...]:
        """Other members that have neither spoken nor answered for so long."""
        return self._last_heard.silent(self.others(), least_s)

    async def load(self) -> None:
        """Read the data directory; with a marker, begin the next boot durably.

        Raises NotAdmitted, Corrupt or StorageFault: then this process must not serve.
        """
        self._last_heard.begin()
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
        if self.marker.is_newborn:
            await self._begin_to_vote()
        await self._introduce_to_all()
        self.settled.set()
        if not self.marker.receiver:
            self.reason = "votes"
        elif self.reason == _STARTING:
            self.reason = "has not compared everything yet"
        log.info("node settled", node=self.node, state=self.state, life=str(self.life.pair))

    async def heartbeat(self) -> None:
        """Introduce this node again and again, and watch the marker; runs until cancelled."""
        loop = asyncio.get_running_loop()
        renewal_s = loop.time() + RENEW_S
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if loop.time() >= renewal_s:
                await self._renew()
                renewal_s += RENEW_S
            await self._introduce_to_all()
            await self._watch_marker()

    async def introduced(self, request: Introduce) -> IntroducedReply:
        """Answer a peer's introduction; its life is stored durably before the answer.

        Raises Fenced when a later life of it is remembered, NotAdmitted when it is no member or
        when this node cannot remember anything yet.
        """
        if not self._is_member(request.node):
            raise NotAdmitted(f"{request.node} is no member of this cluster")
        known = self._knowledge.latest(request.node)
        if not request.blank:
            self._refuse_if_over(request)
            self._last_heard.note(request.node)
            if not self.admitted:
                raise NotAdmitted(f"{self.node} has no place to remember lives: {self.reason}")
            await self._remember(((request.node, request.life),))
            self._refuse_if_over(request)  # another life of it may have come at the same time
        return IntroducedReply(known, self._lives())

    def knows_no_later(self, peer: NodeId, life: Life) -> bool:
        """Whether what a peer said in this life may still be relied upon."""
        for known in (self._knowledge.latest(peer), self._heard.latest(peer)):
            if known and known.process != life.process and life.superseded_by(known):
                return False
        return True

    def hear(self, answer: Answer) -> None:
        """Learn what an answer says of lives: an answer of one that is over must not count."""
        self._heard.learn_all(answer.peers or ())
        self._heard.learn(answer.node, answer.life)
        self._last_heard.note(answer.node)

    async def learn_layouts(self, error: WrongEpoch) -> None:
        """A peer lives by newer layouts, which it told."""
        await self.layouts.learn_from(error, self._files if self.admitted else None)

    async def learn_earlier(self, layout: Layout) -> None:
        """Keep a layout that is over; raises NotAdmitted, DiskFull or StorageFault."""
        await self.layouts.learn_earlier(layout, self._files)

    async def introduce_to(self, peer: NodeId) -> Life | None:
        """Make a peer store this life; the peer's own, None when it did not for any reason."""
        assert self.marker is not None
        life = self.life
        request = Introduce(self.node, life, blank=False, receiver=self.marker.receiver)
        try:
            answer, reply = await self._introduce(peer, request)
            self._last_heard.note(peer)
            await self._remember((*reply.lives, (answer.node, answer.life)))
        except Fenced as fenced:
            await self._become_receiver(life, incarnation_in(fenced), peer)
            return None
        except HoldfastError as error:
            log.debug("introduction failed", node=self.node, peer=peer, error=error.detail)
            return None
        if life != self.life or not self.knows_no_later(peer, answer.life):
            return None
        return answer.life

    async def _introduce(self, peer: NodeId, request: Introduce) -> tuple[Answer, IntroducedReply]:
        epochs = self.layouts.live.epochs
        answer = await self._transport.call(
            peer, request, epochs=epochs, timeout_s=INTRODUCE_TIMEOUT_S, background=True
        )
        return answer, expect(answer, IntroducedReply)

    async def promote(self, voting: bytes, receiver_since: int) -> bool:
        """Vote on more partitions, durably; false when it became a receiver again meanwhile."""
        async with self._marker_lock:
            if self.marker is None or receiver_since != self.receiver_since:
                return False
            merged = bytes(a | b for a, b in zip(self.marker.voting, voting, strict=True))
            marker = next_boot(self.marker) if self.marker.is_newborn else self.marker
            await self._write(replace(marker, voting=merged))
            if not self.marker.receiver:
                self.reason = "votes"
                log.info("receiver became a voter", node=self.node)
            return True

    async def _begin_to_vote(self) -> None:
        """Of a new node: once all others remember it, and in its next boot.

        Another may have begun in this one, on a disk that was lost before anybody remembered it:
        whoever heard both believes neither.
        """
        assert self.marker is not None
        since = self.receiver_since
        while (missing := await self._introduce_to_all()) and self.marker.is_newborn:
            self.reason = f"new: waiting for {', '.join(missing)} to remember this node"
            await asyncio.sleep(BLANK_RETRY_S)
        await self.promote(ALL_PARTITIONS, since)

    def _others_of_newest(self) -> tuple[NodeId, ...]:
        """Without those that leave, which may be gone already."""
        return tuple(node for node in self.layouts.live.newest.nodes if node != self.node)

    async def _ask_whether_new(self) -> None:
        others = self._others_of_newest()
        request = Introduce(self.node, _BLANK_LIFE, blank=True, receiver=True)
        remembered: dict[NodeId, Life | None] = {}
        for peer in others:
            with suppress(HoldfastError):
                _, reply = await self._introduce(peer, request)
                remembered[peer] = reply.remembered
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
        if self._lost_disk:
            raise NotAdmitted("the marker vanished: nothing is written to what is there instead")
        await self._files.write_marker(marker)
        if marker.voting == ALL_PARTITIONS:
            marker = replace(marker, voting=ALL_PARTITIONS)
        self.marker = marker
        self._refresh_sender()

    async def _become_receiver(self, life: Life, incarnation: int, peer: NodeId) -> None:
        """`peer` remembers a later life than `life`, in that incarnation."""
        async with self._marker_lock:
            assert self.marker is not None
            if life != self.life:
                return  # another peer said so first
            marker = fenced_by(self.marker, incarnation)
            self.marker = marker  # stop voting now; a crash before the write is fenced again
            self.receiver_since += 1
            self.reason = f"fenced by {peer}, which remembers a later life: a disk rolled back"
            log.warning("fenced", node=self.node, by=peer, incarnation=marker.incarnation)
            await asyncio.sleep(0)  # what was answered as a voter leaves under the old life
            try:
                await self._write(marker)
            except HoldfastError as error:
                log.warning("cannot store the new life", node=self.node, error=error.detail)

    async def forgot(self) -> None:
        """The marker says that this node voted, but its records are gone: it is a receiver now."""
        async with self._marker_lock:
            assert self.marker is not None
            self.receiver_since += 1
            self.reason = "the record store lost its state, tombstones and floors included"
            log.error("record store lost its state", node=self.node)
            await self._write(fenced_by(self.marker, self.marker.incarnation))

    async def _renew(self) -> None:
        """The same process in a later life; what it said in the earlier one is void for others."""
        try:
            async with self._marker_lock:
                assert self.marker is not None
                await self._write(next_boot(self.marker))
        except HoldfastError as error:
            log.warning("cannot raise the boot counter", node=self.node, error=error.detail)

    async def _introduce_to_all(self) -> list[NodeId]:
        """The members that stay and did not store this life."""
        peers = self.others()
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(self.introduce_to(peer)) for peer in peers]
        silent = [peer for peer, call in zip(peers, calls, strict=True) if call.result() is None]
        return [peer for peer in silent if self.layouts.live.newest.member(peer) is not None]

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
        """Names that are no members' are not remembered, whoever tells of them."""
        if node == self.node or life.incarnation == 0:
            return False
        known = self._knowledge.latest(node)
        if known is not None and life.pair <= known.pair:
            return False
        return self._is_member(node)

    def _is_member(self, node: NodeId) -> bool:
        """One that is leaving is, while a layout lives that counts on it."""
        return any(layout.member(node) is not None for layout in self.layouts.live.layouts)

    def _refuse_if_over(self, request: Introduce) -> None:
        known = self._knowledge.latest(request.node)
        if known is not None and request.life.superseded_by(known):
            raise fence(request.node, known)

    def _lives(self) -> tuple[tuple[NodeId, Life], ...]:
        """Everything known, this node's own life included once it has one."""
        own = () if self.marker is None else ((self.node, self.life),)
        return (*self._peers(), *own)

    def _peers(self) -> tuple[tuple[NodeId, Life], ...]:
        return tuple(pair for pair in self._knowledge.items() if pair[0] != self.node)

    def _refresh_sender(self) -> None:
        life = _BLANK_LIFE
        if self.marker is not None:
            life = Life(self.marker.incarnation, self.marker.boot, self._nonce)
        self._sender = Sender(life, self._peers())
