"""One gateway process put together: transport, coordinator, HTTP door; until it is told to stop.

What a machine gives (clock, randomness, threads) comes in as arguments; the command brings them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.config import GatewayConfig
from gateway.coordinator import Coordinator
from gateway.doubt_metrics import DoubtMetrics
from gateway.hashing import Offload
from gateway.http.config import HttpConfig
from gateway.http.server import HttpDoor
from gateway.ledger_metrics import LedgerMetrics
from gateway.readiness import WatchedViews
from node.transport import Credentials, TcpTransport
from ring.errors import BadRequest
from ring.layout import Layout
from ring.life import NodeId
from ring.seams import Clock, Randomness

log = structlog.get_logger()


async def run_gateway(
    config: GatewayConfig,
    layout: Layout,
    secret: bytes,
    *,
    clock: Clock,
    randomness: Randomness,
    offload: Offload,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop`, then drain for `config.drain_s` at most.

    Raises BadRequest when the address cannot be listened on.
    """

    def address_of(node: NodeId) -> str | None:
        known = next((m for m in coordinator.cluster.live.members if m.node == node), None)
        return None if known is None else known.address

    credentials = Credentials.of_gateway(layout.cluster_id, secret)
    transport = TcpTransport(credentials, address_of, randomness)
    coordinator = Coordinator(transport, layout, offload=offload)
    coordinator.cluster.vigil.hang_up = transport.hang_up
    views = WatchedViews(coordinator.views)
    registry = CollectorRegistry()
    registry.register(_Counters("holdfast_gateway_transport", transport.counters))
    ledger = LedgerMetrics(coordinator.views)
    registry.register(ledger)
    stragglers = coordinator.records.stragglers
    registry.register(DoubtMetrics(coordinator.cluster, stragglers, coordinator.hints))
    door = HttpDoor(
        coordinator, views, HttpConfig(), clock=clock, randomness=randomness, registry=registry
    )
    address = config.address
    try:
        host, port = await door.start(
            address.host, address.port, reuse_port=config.workers > 1
        )
    except OSError as error:
        raise BadRequest(f"cannot listen on {address}: {error.strerror}") from error
    log.info("gateway listens", host=host, port=port, cluster=layout.cluster_id)
    watch = asyncio.get_running_loop().create_task(_watch(views, ledger))
    try:
        await stop.wait()
        log.info("gateway drains", for_s=config.drain_s)
    finally:
        await door.stop(config.drain_s)
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        coordinator.close()
        await transport.close()


async def _watch(views: WatchedViews, ledger: LedgerMetrics) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(views.run())
        group.create_task(ledger.run())


class _Counters(Collector):
    """Plain counters by name, for /metrics."""

    def __init__(self, prefix: str, counters: Mapping[str, int]) -> None:
        self._prefix = prefix
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        for name, value in sorted(self._counters.items()):
            yield CounterMetricFamily(
                f"{self._prefix}_{name.removesuffix('_total')}", name.replace("_", " "), value=value
            )
