"""What a node's server does with a request that needs waiting, for networks without sockets."""

from __future__ import annotations

import asyncio

from node.handler import Asker, RequestHandler, Response
from node.operations import report_abandoned
from ring.digest import Buffer
from ring.messages import Request


async def served(
    handler: RequestHandler, request: Request, payload: Buffer | None, asker: Asker
) -> Response:
    """The response; raises HoldfastError."""
    begun = None if payload is None else handler.begin(request, payload, asker)
    if begun is None:
        return await handler.handle(request, payload, asker)
    try:
        return begun.respond(await asyncio.shield(begun.future))
    except asyncio.CancelledError:
        begun.future.add_done_callback(report_abandoned)
        raise
