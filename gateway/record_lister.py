"""Listing over a cover: ask every node for its next entries and merge by maximum.

Rules:
1.  A page ends where the shortest node's answer ends, so nothing between is missed.
2.  Every partition that the page spans must have been answered by a cover of it, so that nothing
    acknowledged is missed, and by an ack set, so that no acknowledged delete is; else Unavailable.
3.  Copies move from spares to owners: when a node was silent, the others are asked a second time,
    so that every spare was listed before its owners.
4.  Dead roots travel too, and win over older live ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.calls import CallSettings
from gateway.cluster import Cluster
from gateway.fanout import Fanout, Outcome
from ring.digest import Algorithm, Digest
from ring.errors import HoldfastError, PeerProtocol, Unavailable
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.limits import LIST_ENTRIES_MAX, PARTITIONS
from ring.listing import ListRecords, PageReply, check_page
from ring.messages import Answer, expect
from ring.record import RecordEntry, RecordKey, RecordState, merge
from ring.suspicion import Lane


@dataclass(frozen=True, slots=True)
class _Span:
    """What one round of answers covers: nodes that answered, merged states, last key (or None)."""

    nodes: list[NodeId]
    states: dict[RecordKey, RecordState]
    horizon: RecordKey | None


class RecordLister:
    """Pages of live roots in wire order."""

    def __init__(self, cluster: Cluster, settings: CallSettings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._silent: dict[NodeId, None] = {}  # not waited for again until they answer

    async def page(
        self, after: Digest | None, limit: int
    ) -> tuple[list[RecordEntry], Digest | None]:
        """See Records."""
        return await self._cluster.under_layouts(lambda: self._page(after, limit))

    async def _page(
        self, after: Digest | None, limit: int
    ) -> tuple[list[RecordEntry], Digest | None]:
        start = None if after is None else RecordKey(after)
        limit = min(limit, LIST_ENTRIES_MAX)
        live = self._cluster.live
        members = [member.node for member in live.members]
        span = await self._round(live, members, start, limit)
        if len(span.nodes) < len(members):
            span = _joined(span, await self._round(live, span.nodes, start, limit))
        entries = [
            RecordEntry(key, state)
            for key, state in sorted(span.states.items())
            if span.horizon is None or key <= span.horizon
        ]
        cut = entries[:limit]
        last = cut[-1].key if len(entries) > limit else span.horizon
        _check_enough(live, start, last, span.nodes)
        visible = [entry for entry in cut if entry.state.visible]
        return visible, None if last is None else last.digest

    async def _round(
        self, live: LiveLayouts, nodes: list[NodeId], start: RecordKey | None, limit: int
    ) -> _Span:
        fanout = Fanout(self._cluster, live)
        request = ListRecords(start, limit, roots_only=True)
        pages: dict[NodeId, tuple[Answer, PageReply]] = {}
        try:
            for node in nodes:
                fanout.ask(node, request, timeout_s=self._settings.read_timeout_s)
            while not fanout.exhausted and not self._may_go_on(fanout, pages):
                arrived = await fanout.next(self._settings.list_patience_s)
                if arrived is not None:
                    self._take(*arrived, request, pages)
                    continue
                self._silent.update(dict.fromkeys(fanout.silent))
        finally:
            fanout.abandon()
        return self._merged(live, pages)

    def _may_go_on(
        self, fanout: Fanout, pages: dict[NodeId, tuple[Answer, PageReply]]
    ) -> bool:
        """Whether only nodes are silent that were before, or are in doubt, and others a cover."""
        if not fanout.awaits_calls or not all(map(self._is_slow, fanout.silent)):
            return False
        nodes = [node for node, (answer, _) in pages.items() if self._cluster.is_current(answer)]
        return all(one.is_both(nodes) for one in fanout.live.distinct_placements())

    def _is_slow(self, node: NodeId) -> bool:
        return node in self._silent or self._cluster.is_doubted(node, Lane.READS)

    def _take(
        self,
        node: NodeId,
        outcome: Outcome,
        request: ListRecords,
        pages: dict[NodeId, tuple[Answer, PageReply]],
    ) -> None:
        if isinstance(outcome, HoldfastError):
            self._cluster.note_error(node, outcome)
            return
        self._silent.pop(node, None)
        try:
            page = expect(outcome, PageReply)
            check_page(request.after, [entry.key for entry in page.entries], done=page.done)
        except PeerProtocol as error:
            self._cluster.note_error(node, error)
            return
        if self._cluster.counts(outcome):
            pages[node] = outcome, page

    def _merged(
        self, live: LiveLayouts, pages: dict[NodeId, tuple[Answer, PageReply]]
    ) -> _Span:
        """What a node still has of partitions that are not its own any more says nothing."""
        states: dict[RecordKey, RecordState] = {}
        horizons: list[RecordKey] = []
        nodes = [node for node in sorted(pages) if self._cluster.is_current(pages[node][0])]
        for node in nodes:
            page = pages[node][1]
            for entry in page.entries:
                if node not in live.placement(entry.key.digest).eligible:
                    continue
                known = states.get(entry.key)
                states[entry.key] = entry.state if known is None else merge(known, entry.state)
            if not page.done:
                horizons.append(page.entries[-1].key)
        return _Span(nodes, states, min(horizons, default=None))


def _check_enough(
    live: LiveLayouts, start: RecordKey | None, last: RecordKey | None, nodes: list[NodeId]
) -> None:
    """Raise Unavailable unless enough nodes of every partition that the page spans answered."""
    if all(placement.is_both(nodes) for placement in live.distinct_placements()):
        return
    for partition in _partitions(start, last):
        if not live.partition_placement(partition).is_both(nodes):
            raise Unavailable("too few nodes answered to list everything that is there")


def _joined(first: _Span, second: _Span) -> _Span:
    """Two rounds as one: nodes that answered both, everything either said, the nearer horizon."""
    states = dict(first.states)
    for key, state in second.states.items():
        states[key] = merge(states[key], state) if key in states else state
    horizons = [span.horizon for span in (first, second) if span.horizon is not None]
    nodes = [node for node in second.nodes if node in first.nodes]
    return _Span(nodes, states, min(horizons, default=None))


def _partitions(start: RecordKey | None, last: RecordKey | None) -> range:
    """Partitions that a page from `start` to `last` spans; all when it crosses algorithms."""
    first_algorithm = Algorithm.BLAKE3 if start is None else start.digest.algorithm
    if last is None or last.digest.algorithm is not first_algorithm:
        return range(PARTITIONS)
    begin = 0 if start is None else start.digest.partition
    return range(begin, last.digest.partition + 1)
