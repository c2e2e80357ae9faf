"""A transport whose calls end when and how a test says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ring.control import Lives
from ring.digest import Buffer
from ring.life import Life, NodeId
from ring.messages import Answer, Reply, Request

LIFE = Life(1, 1, 1)


@dataclass(slots=True)
class ManualCall:
    """One call; `answer` or `future.set_exception` ends it."""

    node: NodeId
    request: Request
    payload: Buffer | None
    epochs: tuple[int, ...]
    future: asyncio.Future[Answer]

    def answer(
        self,
        reply: Reply,
        *,
        life: Life = LIFE,
        voter: bool = True,
        payload: Buffer | None = None,
        peers: Lives | None = None,
    ) -> None:
        """End it well."""
        self.future.set_result(Answer(self.node, life, voter, reply, payload, peers))


class ManualTransport:
    """ring.seams.Transport; `calls` is every call so far, in order."""

    def __init__(self) -> None:
        self.calls: list[ManualCall] = []

    def call(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        epochs: tuple[int, ...],
        timeout_s: float,
        background: bool = False,
        bulk: bool = False,
    ) -> asyncio.Future[Answer]:
        """See Transport."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.calls.append(ManualCall(node, request, payload, epochs, future))
        return future

    def last(self, node: NodeId) -> ManualCall:
        """The newest call to a node."""
        return next(call for call in reversed(self.calls) if call.node == node)
