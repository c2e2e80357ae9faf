"""What a server needs of a node: requests in, responses out, no socket on either side."""

from __future__ import annotations

from typing import Protocol

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


class RequestHandler(Protocol):
    """A node without sockets."""

    def sender(self) -> Sender:
        """The node's life and the lives it knows of; another object whenever that changed."""

    def handle_now(self, request: Request, asker: Asker) -> Response | None:
        """The response if it needs no waiting, else None; raises HoldfastError."""

    async def handle(self, request: Request, payload: Buffer | None, asker: Asker) -> Response:
        """The response; raises HoldfastError."""
