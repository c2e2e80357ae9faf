"""The ledger of the whole cluster as metrics, asked for in the background now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.operator_views import OperatorViews

ASK_S: Final = 15.0
FORGET_S: Final = 60.0

_GAUGES: Final = {
    "short": ("cluster_digests_short", "Digests with fewer copies than they should have"),
    "unsettled": ("cluster_differences", "Differences that are still to be looked at"),
    "waiting_bytes": ("cluster_waiting_bytes", "Bytes of copies known to be missing"),
    "partitions_uncounted": ("cluster_partitions_uncounted", "Partitions that nobody counts"),
    "partitions_counted_twice": ("cluster_partitions_twice", "Partitions that two nodes count"),
    "whole": ("cluster_whole", "1 when every digest is known to have all its copies"),
}


class LedgerMetrics(Collector):
    """Tells nothing rather than what is older than FORGET_S."""

    def __init__(self, views: OperatorViews) -> None:
        self._views = views
        self._ledger: dict[str, object] = {}
        self._asked_s = 0.0

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            ledger = (await self._views.care())["ledger"]
            assert isinstance(ledger, dict)
            self._ledger, self._asked_s = ledger, loop.time()
            await asyncio.sleep(ASK_S)

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        if not self._ledger or asyncio.get_running_loop().time() - self._asked_s > FORGET_S:
            return
        copies = self._ledger.get("copies")
        digests = GaugeMetricFamily(
            "holdfast_cluster_digests", "Digests by verified copies", labels=("copies",)
        )
        for name, value in copies.items() if isinstance(copies, dict) else ():
            digests.add_metric((str(name),), value)
        yield digests
        for key, (name, words) in _GAUGES.items():
            value = self._ledger.get(key)
            if isinstance(value, int):
                yield GaugeMetricFamily(f"holdfast_{name}", words, value=int(value))
