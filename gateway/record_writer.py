"""Replicated writes: drives WriteQuorum over the nodes.

Rules:
1.  Acks count at one generation only.  A refusal heard before the write is acknowledged restarts
    it one generation above (or at the higher live generation that the refusal named).
2.  A write that is acknowledged goes on to the other nodes under its own deadline.
3.  507 only when a node was full and nobody else could take its place.
4.  To a node in doubt a spare is added at once, and nobody waits for it.  It is sent to all the
    same, until it has enough to do for us; what it misses is noted for repair.
5.  Spares that join because a well node is late have a budget: trouble does not multiply load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.burial import Burial
from gateway.calls import CallSettings
from gateway.cluster import Cluster
from gateway.fanout import Fanout, Outcome
from gateway.stragglers import Stragglers
from ring.admission import PutAnswer, next_generation
from ring.digest import Buffer, Digest
from ring.errors import DiskFull, HoldfastError, PeerProtocol, Unavailable
from ring.life import NodeId
from ring.limits import GENERATION_MAX, KEYS_PER_REQUEST_MAX, PAYLOAD_SMALL_BYTES_MAX
from ring.messages import (
    Answer,
    ConfirmChunks,
    FlagsReply,
    PutRecord,
    PutReply,
    expect,
)
from ring.quorum import Placement
from ring.record import RecordKey, RecordKind, live
from ring.suspicion import Lane
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
        self._lane = Lane.WRITES if len(value) <= PAYLOAD_SMALL_BYTES_MAX else Lane.CHUNKS
        self._passed_over: dict[NodeId, None] = {}
        self._heard = cluster.knowledge.learnt_total
        self._errors: dict[NodeId, HoldfastError] = {}

    async def run(self) -> bool:
        """Whether every ack said that a good copy was there already.

        Raises RefusedAt, DiskFull, Unavailable or WrongEpoch; then the caller abandons `fanout`.
        """
        quorum, fanout, suspicion = self._quorum, self.fanout, self._cluster.suspicion
        self._cluster.spares.earn()
        fanout.set_alarm(self._settings.write_patience_s)
        while quorum.outcome is Standing.PENDING:
            while targets := quorum.next_targets():
                for node in targets:
                    if suspicion.has_doubts:
                        self._send(node)
                    else:
                        fanout.ask(node, self._request, self._value, timeout_s=self._timeout_s)
            arrived = await fanout.next()
            if arrived is None:
                for node in self._cluster.overdue(list(quorum.in_flight), self._lane):
                    quorum.late(node)
                fanout.set_alarm(self._settings.write_patience_s)
            else:
                self._take(*arrived)
        if quorum.outcome is Standing.FAILED:
            raise self._failure()
        return all(self._acks[node][1].had for node in quorum.acks)

    def _send(self, node: NodeId) -> None:
        cluster, key = self._cluster, self._request.key
        is_doubted = cluster.is_doubted(node, self._lane)
        if (
            is_doubted
            and node not in self._passed_over
            and cluster.is_tried_enough(node, self._lane)
        ):
            self._passed_over[node] = None
            self._quorum.pass_over(node)
            if node in self._quorum.placement.owners:
                cluster.missed.note(node, key)
            return
        self.fanout.ask(node, self._request, self._value, timeout_s=self._timeout_s)
        if is_doubted:
            self._quorum.late(node)

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
            return
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
        self._errors[node] = error
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
        """DiskFull only when those that have room are too few: others may be back in a moment."""
        errors, placement = self._errors, self._quorum.placement
        full = {node: error for node, error in errors.items() if isinstance(error, DiskFull)}
        rest = [node for node in placement.eligible if node not in full]
        if not placement.is_ack_set(rest):
            return next(iter(full.values()))
        told = [error.detail for error in errors.values()]
        words = "; ".join(told[:4]) or "receivers do not count"
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
            if self._stragglers.is_full:
                await self._stragglers.room()
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
                arrived = await fanout.next(self._settings.write_patience_s)
                if arrived is None:
                    if all(self._cluster.is_doubted(n, Lane.WRITES) for n in fanout.silent):
                        break
                    for node in fanout.silent:
                        self._cluster.vigil.late(node, Lane.WRITES)
                    continue
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

    async def bury(self, digest: Digest, *, skip_trash: bool) -> None:
        """See Records."""
        burial = Burial(self._cluster, self._settings, self._stragglers)
        await self._cluster.under_layouts(lambda: burial.bury(digest, skip_trash=skip_trash))
