"""The HTTP door over a `ring.seams.BlobStore`: listeners, connections, deadlines, the way out.

    door = HttpDoor(store, views, HttpConfig(), clock=clock, randomness=randomness)
    host, port = await door.start("127.0.0.1", 7070)        # again for a further address
    ...
    await door.stop(deadline_s=30)

`store` is the BlobStore.  `views` says what operators ask for (operator_views.py).  `clock` dates
the answers, `randomness` makes request ids that differ between processes.  `registry` is what
/metrics shows: the door adds its own collector, others may add theirs.  `reuse_port` lets several
processes share a port.  `stop` takes no more connections, ends idle ones, lets the others finish
until the deadline and then aborts them; the store is not closed.

One pass over all connections every `sweep_s` finds whoever kept one waiting for too long, so
requests set no timers.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from aiohttp.http_parser import HttpRequestParser
from prometheus_client import CollectorRegistry

from gateway.http.config import HttpConfig
from gateway.http.connection import Connection
from gateway.http.listener import Listener
from gateway.http.operator_views import OperatorViews
from gateway.http.service import Service
from ring.errors import Unsupported
from ring.seams import BlobStore, Clock, Randomness

_PARSER_IN_C: Final = "aiohttp._http_parser"


class HttpDoor:
    """See the module."""

    def __init__(
        self,
        store: BlobStore,
        views: OperatorViews,
        config: HttpConfig,
        *,
        clock: Clock,
        randomness: Randomness,
        registry: CollectorRegistry | None = None,
    ) -> None:
        registry = CollectorRegistry() if registry is None else registry
        self._service = Service(
            store, views, config, clock=clock, randomness=randomness, registry=registry
        )
        self._config = config
        self._alive: dict[Connection, None] = {}
        self._listeners: list[Listener] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._is_changed = asyncio.Event()
        self._log = structlog.get_logger("gateway.http")

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> tuple[str, int]:
        """Listen; the address and port that it became (port 0 picks one).

        Raises OSError when the address is taken or not ours, Unsupported when aiohttp was built
        without its parser in C: the one in Python is slower and forgives more.
        """
        if HttpRequestParser.__module__ != _PARSER_IN_C:
            raise Unsupported("aiohttp runs without its C extensions; install one of its wheels")
        loop = asyncio.get_running_loop()
        listener = Listener(
            loop, lambda: Connection(loop, self._service, self._alive, self._is_changed.set)
        )
        address = await listener.open(host, port, reuse_port=reuse_port)
        self._listeners.append(listener)
        if self._sweeper is None:
            self._sweeper = loop.create_task(self._sweep(loop))
        return address

    async def stop(self, deadline_s: float) -> None:
        """Finish what is in flight within the deadline, abort the rest; idempotent."""
        self._service.operators.is_stopping = True
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        await asyncio.gather(*(listener.arrived() for listener in listeners))
        for connection in list(self._alive):
            connection.stop()
        try:
            async with asyncio.timeout(deadline_s):
                await self._emptied()
        except TimeoutError:
            self._log.warning("connections aborted at the deadline", count=len(self._alive))
        aborted = [connection.abort() for connection in list(self._alive)]
        await asyncio.gather(*(task for task in aborted if task), return_exceptions=True)
        await self._emptied()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None

    async def _emptied(self) -> None:
        while self._alive:
            self._is_changed.clear()
            await self._is_changed.wait()

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            await asyncio.sleep(self._config.sweep_s)
            self._service.refresh()
            now_s = loop.time()
            for connection in list(self._alive):
                try:
                    connection.sweep(now_s)
                except Exception:  # noqa: BLE001 - top of a task: the others must still be swept
                    self._service.metrics.failed("crash")
                    self._log.exception("a connection could not be swept")
                    connection.abort()
