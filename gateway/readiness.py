"""Whether this gateway can serve, asked in the background, so that /readyz never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.operator_views import OperatorViews
from ring.digest import Digest
from ring.errors import HoldfastError
from ring.operating import CareOrder

UNREADY_POLL_S: Final = 0.1
READY_POLL_S: Final = 1.0

log = structlog.get_logger()


class WatchedViews:
    """What the HTTP door asks of the coordinator's views; `run` keeps `ready` up to date."""

    def __init__(self, views: OperatorViews) -> None:
        self._views = views
        self._reason: str | None = "the nodes have not been asked yet"

    def ready(self) -> str | None:
        """None when writes can be served, else the reason in words, a few seconds old at most."""
        return self._reason

    async def status(self) -> Mapping[str, object]:
        """See gateway/operator_views.py."""
        return await self._views.status()

    async def where(self, digest: Digest) -> Mapping[str, object]:
        """See gateway/operator_views.py."""
        return await self._views.where(digest)

    async def garbage(self, *, begin: bool) -> Mapping[str, object]:
        """See gateway/garbage_view.py."""
        return await self._views.garbage(begin=begin)

    async def care(self, begin: CareOrder | None = None) -> Mapping[str, object]:
        """See gateway/operating/care.py."""
        return await self._views.care(begin)

    async def why(self, digest: Digest) -> Mapping[str, object]:
        """See gateway/operating/why.py."""
        return await self._views.why(digest)

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            try:
                reason = await self._views.ready()
            except HoldfastError as error:
                reason = error.detail
            if reason != self._reason:
                self._reason = reason
                log.info("readiness changed", ready=reason is None, reason=reason or "")
            await asyncio.sleep(READY_POLL_S if reason is None else UNREADY_POLL_S)
