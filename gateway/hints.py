"""Tells nodes of records that they should look at: writes that they missed, reads that they lacked.

Rules:
1.  A hint is a kindness: it is sent once, in the background, and lost with whatever goes wrong.
    What it speaks of is found by the nodes' own comparisons too, only later.
2.  Hints wait a moment, so that many travel together and writes on their way arrive first.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.cluster import Cluster
from ring.comparing import HintReason, HintRecords
from ring.errors import HoldfastError
from ring.life import NodeId
from ring.messages import Answer
from ring.record import RecordKey
from ring.seams import Transport

DELAY_S: Final = 1.0
TIMEOUT_S: Final = 5.0
BATCH: Final = 1_000
UNDER_WAY_MAX: Final = 64


class Hints:
    """One per gateway; must be made inside a running loop.  sent_total, lost_total: records."""

    def __init__(self, cluster: Cluster, transport: Transport) -> None:
        self.sent_total = 0
        self.lost_total = 0
        self._cluster = cluster
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: dict[asyncio.Future[Answer], int] = {}
        self._is_closed = False
        cluster.missed.on_missed = self._noted

    def close(self) -> None:
        """Send no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for call in list(self._under_way):
            call.cancel()

    def _noted(self, _node: NodeId, _key: RecordKey) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = self._loop.call_later(DELAY_S, self._send)

    def _send(self) -> None:
        self._timer = None
        by_node: dict[NodeId, list[RecordKey]] = {}
        for node, key in self._cluster.missed.take(BATCH):
            by_node.setdefault(node, []).append(key)
        for node, keys in by_node.items():
            if len(self._under_way) >= UNDER_WAY_MAX:
                self.lost_total += len(keys)
                continue
            call = asyncio.ensure_future(
                self._transport.call(
                    node,
                    HintRecords(HintReason.MISSED_WRITE, tuple(keys)),
                    epochs=self._cluster.live.epochs,
                    timeout_s=TIMEOUT_S,
                    background=True,
                )
            )
            self._under_way[call] = len(keys)
            call.add_done_callback(self._ended)
        if len(self._cluster.missed) and not self._is_closed:
            self._timer = self._loop.call_later(DELAY_S, self._send)

    def _ended(self, call: asyncio.Future[Answer]) -> None:
        count = self._under_way.pop(call)
        if call.cancelled():
            self.lost_total += count
            return
        error = call.exception()
        if error is None:
            self._cluster.hear(call.result())
            self.sent_total += count
            return
        self.lost_total += count
        if not isinstance(error, HoldfastError):
            context = {"message": "a hint failed unexpectedly", "exception": error}
            self._loop.call_exception_handler(context)
