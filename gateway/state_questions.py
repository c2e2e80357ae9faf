"""Questions for the state of single records, gathered so that those to one node travel together.

Everything that is asked of a node within one turn of the event loop goes out as one message and
comes back as one; under load that is most of what the second node of a GET costs.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.cluster import Cluster
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.limits import KEYS_PER_REQUEST_MAX
from ring.messages import Answer, StatesReply, StatRecords
from ring.record import RecordKey, RecordState
from ring.suspicion import Lane, Tally


class Listener(Protocol):
    """Who asked.  Exactly one of the two is called, once."""

    def state_arrived(self, state: RecordState) -> None:
        """A voter's answer that counts and brings no news of other lives."""

    def state_failed(self) -> None:
        """Anything else."""


class StateQuestions:
    """One batch for each node at a time; bounded by what a message may hold."""

    def __init__(self, cluster: Cluster, timeout_s: float) -> None:
        self._cluster = cluster
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._live = cluster.live  # what the questions that are being gathered live by
        self._gathering: dict[NodeId, tuple[list[RecordKey], list[Listener]]] = {}

    def ask(self, node: NodeId, live: LiveLayouts, key: RecordKey, listener: Listener) -> None:
        """Ask `node` for the state of `key` with the next message that goes to it."""
        if live is not self._live:
            self._send_all()
            self._live = live
        batch = self._gathering.get(node)
        if batch is None:
            if not self._gathering:
                self._loop.call_soon(self._send_all)
            batch = self._gathering[node] = ([], [])
        batch[0].append(key)
        batch[1].append(listener)
        if len(batch[0]) == KEYS_PER_REQUEST_MAX:
            self._send(node)

    def _send_all(self) -> None:
        for node in list(self._gathering):
            self._send(node)

    def _send(self, node: NodeId) -> None:
        keys, listeners = self._gathering.pop(node)
        request = StatRecords(tuple(keys))
        tally = self._cluster.suspicion.tallies(node)[Lane.READS]
        self._cluster.vigil.asked(tally, request)
        asked_at_s = self._loop.time()
        call = self._cluster.ask(node, request, live=self._live, timeout_s=self._timeout_s)
        future = asyncio.ensure_future(call)
        future.add_done_callback(
            lambda future: self._answered(future, listeners, tally, asked_at_s)
        )

    def _answered(
        self,
        future: asyncio.Future[Answer],
        listeners: list[Listener],
        tally: Tally,
        asked_at_s: float,
    ) -> None:
        if not future.cancelled():
            error = future.exception()
            is_voter = error is not None or future.result().voter
            self._cluster.vigil.ended(tally, error, asked_at_s, is_voter=is_voter)
        states = self._states(future, len(listeners))
        for index, listener in enumerate(listeners):
            state = None if states is None else states[index]
            if state is None:
                listener.state_failed()
            else:
                listener.state_arrived(state)

    def _states(
        self, future: asyncio.Future[Answer], count: int
    ) -> tuple[RecordState | None, ...] | None:
        """What may be used without a closer look; whatever went wrong, the plan meets it too."""
        if future.cancelled() or future.exception() is not None:
            return None
        answer = future.result()
        self._cluster.hear(answer)
        reply = answer.reply
        if answer.peers is not None or not self._cluster.is_current(answer):
            return None
        if not isinstance(reply, StatesReply) or len(reply.states) != count:
            return None
        return reply.states
