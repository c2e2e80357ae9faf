"""A node's server of the node protocol: listens, keeps its connections, drains.

Make a `NodeServer`, `await start(host, port)`, serve until told to stop, `await drain(timeout_s)`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from typing import Final

import structlog

from node.asked_connection import AskedConnection
from node.handler import RequestHandler
from node.handshake import Credentials
from node.serving import ServerSettings, Serving
from ring.address import Address
from ring.errors import BadRequest
from ring.seams import Randomness

__all__ = ["NodeServer", "ServerSettings"]

log = structlog.get_logger()

_BACKLOG: Final = 512


class NodeServer:
    """Serves `handler` to whoever proves the secret of `credentials`.

    To be made and used inside one running loop.  tls: encrypts every connection.  counters: what
    happened since the start, by name, for metrics.
    """

    def __init__(
        self,
        handler: RequestHandler,
        credentials: Credentials,
        randomness: Randomness,
        *,
        settings: ServerSettings | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._serving = Serving(handler, credentials, randomness, settings or ServerSettings())
        self._tls = tls
        self._listener: asyncio.Server | None = None
        self._connections: dict[AskedConnection, None] = {}
        self._ticker: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    @property
    def counters(self) -> Counter[str]:
        """Totals since the start."""
        return self._serving.counters

    @property
    def connections(self) -> int:
        """Open now, admitted or not."""
        return len(self._connections)

    @property
    def jobs(self) -> int:
        """Requests that are being worked on."""
        return len(self._serving.work)

    async def start(self, host: str, port: int) -> Address:
        """Listen; the address says which port was taken when `port` is 0.

        Raises BadRequest when the address cannot be listened on.
        """
        patience_s = self._serving.settings.handshake_timeout_s
        try:
            self._listener = await self._serving.loop.create_server(
                self._accept,
                host,
                port,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else patience_s,
                backlog=_BACKLOG,
            )
        except (OSError, UnicodeError) as error:
            raise BadRequest(f"cannot listen on {Address(host, port)}: {error}") from error
        self._tick()
        taken: int = self._listener.sockets[0].getsockname()[1]
        return Address(host, taken)

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, let what is under way finish and leave, then close everything.

        What is not done within `timeout_s` seconds is cancelled.  Idempotent.
        """
        self._serving.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(timeout_s):
                await self._serving.work.finished()
                for connection in list(self._connections):
                    connection.close()
                await self._all_gone()
        except TimeoutError:
            log.warning("drained in part", jobs=self.jobs, connections=self.connections)
        await self._serving.work.close()
        for connection in list(self._connections):
            connection.abort()
        await self._all_gone()
        if self._ticker is not None:
            self._ticker.cancel()

    def _accept(self) -> AskedConnection:
        return AskedConnection(self._serving, self._made, self._over)

    def _made(self, connection: AskedConnection) -> None:
        self._connections[connection] = None

    def _over(self, connection: AskedConnection) -> None:
        del self._connections[connection]
        if not self._connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def _all_gone(self) -> None:
        if self._connections:
            self._empty = self._serving.loop.create_future()
            await self._empty

    def _tick(self) -> None:
        loop = self._serving.loop
        for connection in list(self._connections):
            connection.check_progress(loop.time())
        self._ticker = loop.call_later(self._serving.settings.stall_s / 4, self._tick)
