"""A node's calls to its peers: what their answers say of lives is heard before anybody counts them.

A peer tells the lives that it knows once on each connection, so all that a node asks in the
background goes through here.
"""

from __future__ import annotations

from node.membership import Membership
from ring.digest import Buffer
from ring.life import NodeId
from ring.messages import Answer, Request
from ring.seams import Transport


class HeardTransport:
    """ring.seams.Transport over another one."""

    def __init__(self, transport: Transport, membership: Membership) -> None:
        self._transport = transport
        self._membership = membership

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
        """See Transport."""
        answer = await self._transport.call(
            node,
            request,
            payload,
            epochs=epochs,
            timeout_s=timeout_s,
            background=background,
            bulk=bulk,
        )
        self._membership.hear(answer)
        return answer
