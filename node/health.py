"""Health, readiness and metrics of a node over plain HTTP, beside the node protocol.

    GET /healthz   200 while the process answers at all
    GET /readyz    200 when this node votes, else 503 with the reason in words
    GET /metrics   the Prometheus text format

Nothing here changes anything or needs the cluster secret, so it may be reached by whoever watches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from ring.address import Address
from ring.control import StatusReply
from ring.errors import BadRequest, HoldfastError

_KEEPALIVE_S = 15.0
_STOP_S = 1.0
_VOTER = "voter"

AskStatus = Callable[[], Awaitable[StatusReply]]


class NodeHealth:
    """An HTTP server.  `await start()`, later `await stop()`.

    status: how the node is.  counters: further counters for /metrics, by the prefix of their names.
    """

    def __init__(self, status: AskStatus, counters: Mapping[str, Mapping[str, int]]) -> None:
        self._status = status
        self._counters = counters
        self._stopping = False
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=_KEEPALIVE_S)

    async def start(self, address: Address) -> tuple[str, int]:
        """Listen; the host and port that it became.  Raises BadRequest."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, address.host, address.port, shutdown_timeout=_STOP_S)
        try:
            await site.start()
        except OSError as error:
            raise BadRequest(f"cannot listen on {address}: {error.strerror}") from error
        name = self._runner.addresses[0]
        return str(name[0]), int(name[1])

    def drain(self) -> None:
        """From now on not ready: who balances load should send nothing here."""
        self._stopping = True

    async def stop(self) -> None:
        """Close everything."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = await self._why_not_ready()
        if reason:
            return web.Response(status=503, text=f"{reason}\n", headers={"Retry-After": "1"})
        return web.Response(text="ready\n")

    async def _why_not_ready(self) -> str:
        if self._stopping:
            return "the node is stopping"
        try:
            status = await self._status()
        except HoldfastError as error:
            return error.detail
        return "" if status.state == _VOTER else f"{status.state}: {status.reason}"

    async def _metrics(self, _request: web.Request) -> web.Response:
        registry = CollectorRegistry()
        try:
            registry.register(_Snapshot(await self._status(), self._counters))
        except HoldfastError as error:
            return web.Response(status=503, text=f"{error.detail}\n")
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )


class _Snapshot(Collector):
    """One status as metric families."""

    def __init__(self, status: StatusReply, counters: Mapping[str, Mapping[str, int]]) -> None:
        self._status = status
        self._counters = counters

    def collect(self) -> list[Metric]:
        status = self._status
        state = GaugeMetricFamily(
            "holdfast_node_state", "1 for the state that the node is in", labels=("state",)
        )
        state.add_metric((status.state,), 1)
        families: list[Metric] = [
            state,
            GaugeMetricFamily(
                "holdfast_node_records", "Records, tombstones included", value=status.records
            ),
            GaugeMetricFamily(
                "holdfast_node_bytes_stored", "Bytes of values", value=status.bytes_stored
            ),
            GaugeMetricFamily("holdfast_node_bytes_free", "Room left", value=status.bytes_free),
        ]
        groups = {"holdfast_node": dict(status.counters), **self._counters}
        families += [
            CounterMetricFamily(
                f"{prefix}_{name.removesuffix('_total')}", name.replace("_", " "), value=value
            )
            for prefix, counters in groups.items()
            for name, value in sorted(counters.items())
        ]
        return families
