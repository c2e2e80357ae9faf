"""What a gateway thinks of the nodes, for /metrics: whom it passes over, and what that cost."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.cluster import Cluster
from gateway.hints import Hints
from gateway.stragglers import Stragglers


class DoubtMetrics(Collector):
    """See each metric's help text."""

    def __init__(self, cluster: Cluster, stragglers: Stragglers, hints: Hints) -> None:
        self._cluster = cluster
        self._hints = hints
        self._stragglers = stragglers

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        cluster = self._cluster
        doubts = GaugeMetricFamily(
            "holdfast_gateway_node_in_doubt",
            "1 for a node that is passed over for this kind of work",
            labels=("node", "work"),
        )
        for node, lanes in sorted(cluster.suspicion.suspects().items()):
            for lane in lanes:
                doubts.add_metric((node, lane.name.lower()), 1)
        yield doubts
        counters = {
            "suspected": ("times that a node became suspect", cluster.suspicion.suspected_total),
            "probes": ("questions asked to try a suspect", cluster.vigil.probes_total),
            "missed_writes": ("writes that an owner did not confirm", cluster.missed.noted_total),
            "missed_writes_dropped": (
                "of these, forgotten before repair was told", cluster.missed.dropped_total
            ),
            "hints_sent": ("records that nodes were told to look at", self._hints.sent_total),
            "hints_lost": (
                "records of hints that did not arrive; nodes find them", self._hints.lost_total
            ),
            "stragglers_cancelled": (
                "acknowledged writes cut short for want of room", self._stragglers.cancelled_total
            ),
        }
        for name, (words, value) in counters.items():
            yield CounterMetricFamily(f"holdfast_gateway_{name}", words, value=value)
        yield GaugeMetricFamily(
            "holdfast_gateway_stragglers",
            "acknowledged writes that go on for slower nodes",
            value=self._stragglers.under_way,
        )
