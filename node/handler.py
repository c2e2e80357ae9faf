"""What a server needs of a node: requests in, responses out, no socket on either side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from node.file_span import FileSpan
from ring.codec import Sender
from ring.digest import Buffer
from ring.messages import Reply, Request


class Asker(Struct, frozen=True):
    """Who asks: the name it proved the cluster secret under, and the layouts it knows.

    name: node id of a peer, or "gateway".  epochs: of the live layouts, rising.
    takes_spans: whether a value may be answered as a FileSpan; not where it has to be encrypted.
    """

    name: str
    is_peer: bool
    epochs: tuple[int, ...]
    takes_spans: bool = False


class Response(Struct, frozen=True):
    """A reply, the value that travels beside it, and whether the node may vote on the question.

    A span is closed by whoever takes the response.
    """

    reply: Reply
    payload: Buffer | FileSpan | None = None
    voter: bool = True


class Begun(Struct, frozen=True):
    """What goes on whether or not somebody waits, and the response that its result makes.

    respond: may raise HoldfastError, when the node stopped being the one that may answer.
    """

    future: asyncio.Future[Any]
    respond: Callable[[Any], Response]


class RequestHandler(Protocol):
    """A node without sockets."""

    def sender(self) -> Sender:
        """The node's life and the lives it knows of; another object whenever that changed."""

    def handle_now(self, request: Request, asker: Asker) -> Response | None:
        """The response if it needs no waiting, else None; raises HoldfastError."""

    def begin(self, request: Request, payload: Buffer, asker: Asker) -> Begun | None:
        """A request that has begun and goes on by itself, None: use `handle`; raises HoldfastError.

        It costs one task where `handle` costs two.
        """

    async def handle(self, request: Request, payload: Buffer | None, asker: Asker) -> Response:
        """The response; raises HoldfastError."""
