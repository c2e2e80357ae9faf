"""Finds deleted bytes that some node still keeps in its trash, for somebody who wants them back.

Rules:
1.  Every member is asked: any copy will do that hashes to the digest, whoever has it.
2.  Nothing is left only when every member said so; silence is not absence.
"""

from __future__ import annotations

from gateway.calls import CallSettings
from gateway.cluster import Cluster
from gateway.fanout import Fanout, Outcome
from gateway.record_reader import RecordReader
from gateway.records import Found, nothing_left
from ring.digest import Digest
from ring.errors import HoldfastError, PeerProtocol, Unavailable
from ring.life import NodeId
from ring.messages import Answer, GetRecord, RecordReply, Request, StatesReply, StatRecords, expect
from ring.record import RecordKey, RecordState


class TrashReader:
    """Over the nodes of a cluster."""

    def __init__(self, cluster: Cluster, settings: CallSettings, reader: RecordReader) -> None:
        self._cluster = cluster
        self._settings = settings
        self._reader = reader

    async def find(self, digest: Digest) -> Found:
        """See Records.deleted."""
        return await self._cluster.under_layouts(lambda: self._find(digest))

    async def _find(self, digest: Digest) -> Found:
        key = RecordKey(digest)
        members = [member.node for member in self._cluster.live.members]
        outcomes = await self._ask(members, StatRecords((key,)), self._settings.read_timeout_s)
        silent = [node for node in members if _state_of(outcomes[node]) is None]
        for node in members:
            state = _state_of(outcomes[node])
            if state is not None and state.held:
                found = await self._fetch(node, key)
                if found is not None:
                    return found
                silent.append(node)
        if silent:
            raise Unavailable(f"{digest} may be in the trash of {', '.join(sorted({*silent}))}")
        raise nothing_left(digest)

    async def _fetch(self, node: NodeId, key: RecordKey) -> Found | None:
        """A good copy from a node's trash, None when it has none after all."""
        timeout_s = self._settings.bulk_timeout_s
        outcome = (await self._ask([node], GetRecord(key), timeout_s, bulk=True))[node]
        if not isinstance(outcome, Answer) or not isinstance(outcome.reply, RecordReply):
            return None
        state = outcome.reply.state
        if outcome.payload is None or not self._cluster.counts(outcome):
            return None
        if not await self._reader.is_intact(key, state.kind, outcome):
            return None
        return Found(state, outcome.payload, confirmed=True)

    async def _ask(
        self, nodes: list[NodeId], request: Request, timeout_s: float, *, bulk: bool = False
    ) -> dict[NodeId, Outcome]:
        fanout = Fanout(self._cluster)
        outcomes: dict[NodeId, Outcome] = {}
        try:
            for node in nodes:
                fanout.ask(node, request, timeout_s=timeout_s, bulk=bulk)
            while not fanout.exhausted:
                arrived = await fanout.next()
                assert arrived is not None
                node, outcome = arrived
                if isinstance(outcome, HoldfastError):
                    self._cluster.note_error(node, outcome)
                outcomes[node] = outcome
        finally:
            fanout.abandon()
        return outcomes


def _state_of(outcome: Outcome) -> RecordState | None:
    """What a node knows, None when it did not say."""
    if isinstance(outcome, HoldfastError):
        return None
    try:
        states = expect(outcome, StatesReply).states
    except PeerProtocol:
        return None
    return states[0] if len(states) == 1 else None
