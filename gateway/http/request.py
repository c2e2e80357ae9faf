"""A request as handlers see it - parsed, and with no way to write - and as log and metrics do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.http.answer import Answer, Stream
from gateway.http.body import Body
from gateway.http.headers import Headers
from ring.digest import Digest

Handler = Callable[["Request"], Awaitable[Answer | Stream]]

NO_PARAMETERS: Final[Mapping[str, str]] = {}
UNPARSED: Final = "-"
UNROUTED: Final = "unknown"

# What metrics call the end of a request that got no answer.
STATUS_BROKEN_OFF: Final = 0
STATUS_CLIENT_GONE: Final = 499


@dataclass(frozen=True, slots=True)
class Route:
    """A path and a method.

    name: for log and metrics.  parameters: of the query, those that it takes.  counted: whether
    admission bounds it; operators always get in.  writes: it runs to its end without its client.
    """

    name: str
    handler: Handler
    parameters: tuple[str, ...] = ()
    counted: bool = True
    writes: bool = False


class Request:
    """One request.

    digest, parameters: from the target, once it was routed.  route, status, is_admitted, id: how it
    went; the id is given to requests that are refused.
    """

    __slots__ = (
        "body",
        "digest",
        "headers",
        "id",
        "is_admitted",
        "is_read",
        "method",
        "parameters",
        "route",
        "status",
    )

    def __init__(self, method: str, headers: Headers, body: Body) -> None:
        self.method = method
        self.headers = headers
        self.body = body
        self.digest: Digest | None = None
        self.parameters = NO_PARAMETERS
        self.route = UNROUTED
        self.status = STATUS_CLIENT_GONE
        self.is_admitted = False
        self.is_read = False
        self.id = ""

    @property
    def blob(self) -> Digest:
        """The digest in the path, on routes that have one."""
        assert self.digest is not None
        return self.digest
