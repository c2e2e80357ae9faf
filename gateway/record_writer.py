"""Replicated writes: drives WriteQuorum and Cover over the nodes.

Rules:
1.  Acks count at one generation only.  A refusal heard before the write is acknowledged restarts
    it one generation above (or at the higher live generation that the refusal named).
2.  A write that is acknowledged goes on to the other nodes under its own deadline.
3.  507 only when a node was full and nobody else could take its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.calls import CallSettings
from gateway.cluster import Cluster
from gateway.fanout import Fanout, Outcome, Stragglers
from ring.admission import PutAnswer, next_generation
from ring.cover import Cover
from ring.digest import Buffer, Digest
from ring.errors import DiskFull, HoldfastError, PeerProtocol, Unavailable
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.limits import GENERATION_MAX, KEYS_PER_REQUEST_MAX, PAYLOAD_SMALL_BYTES_MAX
from ring.messages import (
    Answer,
    BuryRecord,
    ConfirmChunks,
    FlagsReply,
    PutRecord,
    PutReply,
    RecordReply,
    StatesReply,
    StatRecords,
    expect,
)
from ring.quorum import Placement
from ring.record import RecordKey, RecordKind, RecordState, Root, dead, generation_of, live
from ring.write_quorum import Outcome as Standing
from ring.write_quorum import WriteQuorum

GENERATION_ATTEMPTS: Final = 8


class RefusedAt(Exception):
    """A node named a generation to try again at; never leaves this file.

    is_there: because the blob is live there, and not because it was deleted below.
    """

    def __init__(self, generation: int, *, is_there: bool) -> None:
        super().__init__(generation)
        self.generation = generation
        self.is_there = is_there


class Write:
    """One write to one record's nodes until an ack set holds it."""

    def __init__(
        self, cluster: Cluster, settings: CallSettings, request: PutRecord, value: Buffer
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._request = request
        self._value = value
        self._timeout_s = (
            settings.write_timeout_s
            if len(value) <= PAYLOAD_SMALL_BYTES_MAX
            else settings.bulk_timeout_s
        )
        self.fanout = Fanout(cluster)
        self._quorum = WriteQuorum(self.fanout.live.placement(request.key.digest))
        self._acks: dict[NodeId, tuple[Answer, PutAnswer]] = {}
        self._heard = cluster.knowledge.learnt_total
        self._errors: list[HoldfastError] = []

    async def run(self) -> bool:
        """Whether every ack said that a good copy was there already.

        Raises RefusedAt, DiskFull, Unavailable or WrongEpoch; then the caller abandons `fanout`.
        """
        quorum, fanout = self._quorum, self.fanout
        fanout.set_alarm(self._settings.write_patience_s)
        while quorum.outcome is Standing.PENDING:
            for node in quorum.next_targets():
                fanout.ask(node, self._request, self._value, timeout_s=self._timeout_s)
            arrived = await fanout.next()
            if arrived is None:
                for node in list(quorum.in_flight):
                    quorum.late(node)
                fanout.set_alarm(self._settings.write_patience_s)
            else:
                self._take(*arrived)
        if quorum.outcome is Standing.FAILED:
            raise self._failure()
        return all(self._acks[node][1].had for node in quorum.acks)

    def _take(self, node: NodeId, outcome: Outcome) -> None:
        if isinstance(outcome, HoldfastError):
            self._fail(node, outcome)
            return
        self._drop_superseded()
        try:
            reply = self._checked(outcome)
        except PeerProtocol as error:
            self._fail(node, error)
            return
        if reply.floor:
            self._cluster.learn_floor(self._request.key.digest.partition, reply.floor)
        generation = self._request.generation
        if generation and reply.root != live(generation):
            self._quorum.failed(node)
            again = next_generation(reply.root, reply.floor, generation)
            raise RefusedAt(again, is_there=reply.root == live(again))
        if not self._cluster.counts(outcome):
            self._quorum.failed(node)
            self._cluster.note_no_vote(node)
            return
        self._cluster.note_vote(node)
        self._acks[node] = outcome, reply
        self._quorum.acked(node)

    def _checked(self, answer: Answer) -> PutAnswer:
        """The answer to a put; raises PeerProtocol for a refusal that names no sound reason."""
        reply = expect(answer, PutReply).answer
        generation = self._request.generation
        if generation and reply.root != live(generation):
            if reply.root < live(generation) and reply.floor < generation:
                raise PeerProtocol(f"{answer.node} refused generation {generation} without reason")
            if next_generation(reply.root, reply.floor, generation) > GENERATION_MAX:
                raise PeerProtocol(f"{answer.node} says that no generation is left")
        return reply

    def _fail(self, node: NodeId, error: HoldfastError) -> None:
        self._errors.append(error)
        self._quorum.failed(node)
        self._cluster.note_error(node, error)

    def _drop_superseded(self) -> None:
        """Also after answers without news: another operation may have heard them."""
        heard = self._cluster.knowledge.learnt_total
        if heard == self._heard:
            return
        self._heard = heard
        for node, (answer, _) in self._acks.items():
            if not self._cluster.is_current(answer):
                self._quorum.superseded(node)

    def _failure(self) -> HoldfastError:
        for error in self._errors:
            if isinstance(error, DiskFull):
                return error
        words = "; ".join(error.detail for error in self._errors[:4]) or "receivers do not count"
        digest = self._request.key.digest
        return Unavailable(f"{digest}: {len(self._quorum.acks)} durable copies so far: {words}")


class RecordWriter:
    """Puts, confirmations and tombstones on an ack set or a cover of nodes."""

    def __init__(self, cluster: Cluster, settings: CallSettings, stragglers: Stragglers) -> None:
        self._cluster = cluster
        self._settings = settings
        self._stragglers = stragglers

    async def put_root(
        self, digest: Digest, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> bool:
        """See Records."""
        return await self._cluster.under_layouts(
            lambda: self._put_root(digest, kind, size_bytes, value)
        )

    async def put_chunk(
        self, chunk: Digest, claimant: Digest | None, value: Buffer
    ) -> Fanout:
        """Durable on an ack set; the calls that go on are the caller's to hand to Stragglers."""

        async def attempt() -> Fanout:
            key = RecordKey(chunk)
            request = PutRecord(key, RecordKind.DATA, len(value), 0, claimant)
            write = Write(self._cluster, self._settings, request, value)
            try:
                await write.run()
            except BaseException:
                write.fanout.abandon()
                raise
            return write.fanout

        return await self._cluster.under_layouts(attempt)

    async def _put_root(
        self, digest: Digest, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> bool:
        generation = self._cluster.floors.get(digest.partition, 0) + 1
        was_gone = False  # then copies that are there may be of the try before
        for _ in range(GENERATION_ATTEMPTS):
            request = PutRecord(RecordKey(digest), kind, size_bytes, generation, None)
            write = Write(self._cluster, self._settings, request, value)
            try:
                had = await write.run()
            except RefusedAt as refusal:
                generation = refusal.generation
                was_gone = was_gone or not refusal.is_there
                continue
            finally:
                self._stragglers.adopt(write.fanout)
            return was_gone or not had
        raise Unavailable(f"{digest}: put and delete keep overtaking each other")

    async def confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[Digest]:
        """See Records; each chunk needs an ack set of nodes that say yes."""
        distinct = list(dict.fromkeys(chunks))
        missing: list[Digest] = []
        for start in range(0, len(distinct), KEYS_PER_REQUEST_MAX):
            batch = distinct[start : start + KEYS_PER_REQUEST_MAX]
            missing += await self._cluster.under_layouts(
                lambda batch=batch: self._confirm(claimant, batch)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            )
        return missing

    async def _confirm(self, claimant: Digest, chunks: list[Digest]) -> list[Digest]:
        fanout = Fanout(self._cluster)
        by_node: dict[NodeId, list[Digest]] = {}
        for chunk in chunks:
            for node in fanout.live.placement(chunk).eligible:
                by_node.setdefault(node, []).append(chunk)
        said_yes: dict[Digest, dict[NodeId, Answer]] = {chunk: {} for chunk in chunks}
        try:
            for node in sorted(by_node):
                request = ConfirmChunks(claimant, tuple(by_node[node]))
                fanout.ask(node, request, timeout_s=self._settings.write_timeout_s)
            while not fanout.exhausted:
                arrived = await fanout.next()
                assert arrived is not None
                self._take_flags(*arrived, by_node, said_yes)
                missing = [
                    chunk
                    for chunk in chunks
                    if not self._is_there(fanout.live.placement(chunk), said_yes[chunk])
                ]
                if not missing:
                    return []
        finally:
            fanout.abandon()
        return missing

    def _take_flags(
        self,
        node: NodeId,
        outcome: Outcome,
        asked: dict[NodeId, list[Digest]],
        said_yes: dict[Digest, dict[NodeId, Answer]],
    ) -> None:
        if isinstance(outcome, HoldfastError):
            self._cluster.note_error(node, outcome)
            return
        try:
            flags = expect(outcome, FlagsReply).flags
            if len(flags) != len(asked[node]):
                raise PeerProtocol(f"{node} gave {len(flags)} flags for {len(asked[node])} chunks")
        except PeerProtocol as error:
            self._cluster.note_error(node, error)
            return
        for chunk, yes in zip(asked[node], flags, strict=True):
            if yes:
                said_yes[chunk][node] = outcome

    def _is_there(self, placement: Placement, answers: dict[NodeId, Answer]) -> bool:
        nodes = [node for node, answer in answers.items() if self._cluster.is_current(answer)]
        return placement.is_ack_set(nodes)

    async def bury(self, digest: Digest) -> None:
        """See Records."""
        await self._cluster.under_layouts(lambda: self._bury(digest))

    async def _bury(self, digest: Digest) -> None:
        key, live_layouts = RecordKey(digest), self._cluster.live
        newest = await self._poll(live_layouts, StatRecords((key,)), digest)
        if newest:
            await self._poll(live_layouts, BuryRecord(key, generation_of(newest)), digest)

    async def _poll(
        self, live_layouts: LiveLayouts, request: StatRecords | BuryRecord, digest: Digest
    ) -> Root:
        """The highest root in a cover of answers.

        A tombstone counts as held when the answer is at or above it, so a node that answers less
        counts as silent.  Raises Unavailable when no cover answers.
        """
        least = dead(request.generation) if isinstance(request, BuryRecord) else 0
        cover = Cover(live_layouts.placement(digest))
        fanout = Fanout(self._cluster, live_layouts)
        answers: dict[NodeId, Answer] = {}
        try:
            while cover.outcome is Standing.PENDING:
                for node in cover.next_targets():
                    fanout.ask(node, request, timeout_s=self._settings.write_timeout_s)
                arrived = await fanout.next(self._settings.write_patience_s)
                if arrived is None:
                    for node in list(cover.in_flight):
                        cover.late(node)
                    continue
                self._take_root(*arrived, cover, answers, least)
        finally:
            if isinstance(request, BuryRecord):
                self._stragglers.adopt(fanout)
            else:
                fanout.abandon()
        if cover.outcome is Standing.FAILED:
            raise Unavailable(f"{digest}: too few nodes answered to be sure of a delete")
        return cover.newest

    def _take_root(
        self,
        node: NodeId,
        outcome: Outcome,
        cover: Cover,
        answers: dict[NodeId, Answer],
        least: int,
    ) -> None:
        state: RecordState | None = None
        if isinstance(outcome, Answer):
            try:
                state = _state_of(outcome)
            except PeerProtocol as error:
                outcome = error
        if isinstance(outcome, HoldfastError):
            cover.failed(node)
            self._cluster.note_error(node, outcome)
            return
        if not self._cluster.counts(outcome) or state is None or state.root < least:
            cover.failed(node)
            self._cluster.note_no_vote(node)
        else:
            self._cluster.note_vote(node)
            answers[node] = outcome
            cover.answered(node, state.root)
        for earlier, answer in list(answers.items()):
            if not self._cluster.is_current(answer):
                del answers[earlier]
                cover.superseded(earlier)


def _state_of(answer: Answer) -> RecordState | None:
    """The state in an answer about one record, None when the node may not vote on it.

    Raises PeerProtocol for an answer to something else.
    """
    reply = answer.reply
    if isinstance(reply, RecordReply):
        return reply.state
    states = expect(answer, StatesReply).states
    if len(states) != 1:
        raise PeerProtocol(f"{answer.node} gave {len(states)} states for one record")
    return states[0]
