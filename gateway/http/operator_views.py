"""The routes of operators: health, readiness, metrics, status, where a blob lies.

They answer while the door is full: admission does not count them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.http.answer import JSON_FIELDS, TEXT_FIELDS, Answer
from gateway.http.request import Request
from ring.digest import Digest
from ring.errors import Unavailable
from ring.operating import CareOrder

_METRICS_FIELDS: Final = f"Content-Type: {CONTENT_TYPE_LATEST}\r\n".encode("ascii")


class OperatorViews(Protocol):
    """What stands behind the door has to say; values are JSON: dicts, lists, text, numbers."""

    def ready(self) -> str | None:
        """None when requests can be served, else the reason in words.  Must not wait."""

    async def status(self) -> Mapping[str, object]:
        """The cluster as seen from here.  Raises no error for nodes that are away."""

    async def where(self, digest: Digest) -> Mapping[str, object]:
        """Which nodes hold which copies of a blob.  Raises Unavailable."""

    async def care(self, begin: CareOrder | None = None) -> Mapping[str, object]:
        """How far repair and scrub are; `begin` has every node begin one of them at once."""

    async def why(self, digest: Digest) -> Mapping[str, object]:
        """What is the matter with a digest.  Raises Unavailable."""

    async def garbage(self, *, begin: bool) -> Mapping[str, object]:
        """What of each node is on its way out; `begin` has them look through everything now."""


class OperatorHandlers:
    """Handlers over the views and the registry of metrics."""

    def __init__(self, views: OperatorViews, registry: CollectorRegistry) -> None:
        self._views = views
        self._registry = registry
        self.is_stopping = False

    async def health(self, _request: Request) -> Answer:
        """200 as long as the process answers at all."""
        return Answer(200, TEXT_FIELDS, b"ok\n")

    async def ready(self, _request: Request) -> Answer:
        """200, or 503 with the reason: a load balancer should send nothing here."""
        reason = "the gateway is stopping" if self.is_stopping else self._views.ready()
        if reason is not None:
            raise Unavailable(reason)
        return Answer(200, TEXT_FIELDS, b"ready\n")

    async def metrics(self, _request: Request) -> Answer:
        """The Prometheus text format."""
        return Answer(200, _METRICS_FIELDS, generate_latest(self._registry))

    async def status(self, _request: Request) -> Answer:
        """The cluster as seen from here."""
        return _json(await self._views.status())

    async def where(self, request: Request) -> Answer:
        """Which nodes hold which copies."""
        return _json(await self._views.where(request.blob))

    async def why(self, request: Request) -> Answer:
        """What is the matter with a digest, and what will happen."""
        return _json(await self._views.why(request.blob))

    async def care(self, _request: Request) -> Answer:
        """How far repair and scrub are."""
        return _json(await self._views.care())

    async def repair(self, _request: Request) -> Answer:
        """The same, after every node was told to compare at once."""
        return _json(await self._views.care(CareOrder.REPAIR))

    async def scrub(self, _request: Request) -> Answer:
        """The same, after every node was told to read everything again."""
        return _json(await self._views.care(CareOrder.SCRUB))

    async def garbage(self, _request: Request) -> Answer:
        """What is on its way out, and why."""
        return _json(await self._views.garbage(begin=False))

    async def collect(self, _request: Request) -> Answer:
        """The same, and nodes begin to look for it at once."""
        return _json(await self._views.garbage(begin=True))


def _json(value: Mapping[str, object]) -> Answer:
    return Answer(200, JSON_FIELDS, json.dumps(value).encode("ascii") + b"\n")
