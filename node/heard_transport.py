"""A node's calls to its peers: what they say of lives and layouts is heard before it counts.

A peer tells the lives that it knows once on each connection, so all that a node asks in the
background goes through here.  Layouts spread the same way: who knows older ones is taught, newer
ones are learnt, and the call that brought it to light fails and is made again by whoever made it.
"""

from __future__ import annotations

import structlog

from node.membership import Membership
from ring.control import TeachLayouts
from ring.digest import Buffer
from ring.errors import HoldfastError, LayoutUnknown, WrongEpoch
from ring.life import NodeId
from ring.messages import Answer, Request
from ring.seams import Transport

log = structlog.get_logger()


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
        try:
            answer = await self._transport.call(
                node,
                request,
                payload,
                epochs=epochs,
                timeout_s=timeout_s,
                background=background,
                bulk=bulk,
            )
        except WrongEpoch as error:
            await self._membership.learn_layouts(error)
            raise
        except LayoutUnknown:
            await self._teach(node, timeout_s)
            raise
        self._membership.hear(answer)
        return answer

    async def _teach(self, node: NodeId, timeout_s: float) -> None:
        """Tell a peer of the layouts in force; the next question finds it knowing them."""
        live = self._membership.layouts.live
        try:
            await self._transport.call(
                node,
                TeachLayouts(live.layouts),
                epochs=live.epochs,
                timeout_s=timeout_s,
                background=True,
            )
        except HoldfastError as error:
            log.info("a peer was not taught the layouts", node=node, error=error.detail)
