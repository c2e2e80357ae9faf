"""What the door counts, in a form that costs a request next to nothing.

A request increments plain numbers; the prometheus client turns them into its text format when it is
asked (its own counters take a lock and look labels up on every call, several microseconds each).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

# Seconds; a hot small read is below the first, a large upload beyond the last.
_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class _Series:
    """Requests of one route, method and status."""

    __slots__ = ("buckets", "bytes_in", "bytes_out", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self.buckets = [0] * (len(_BOUNDS_S) + 1)


class DoorMetrics(Collector):
    """Counters of one door; a collector to register.

    Status 0 stands for answers that were broken off, and 499 for clients that left before theirs.
    """

    def __init__(self, gauges: Mapping[str, Callable[[], float]]) -> None:
        self._gauges = gauges
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._errors: dict[str, int] = {}
        self.connections_total = 0
        self.connections_refused = 0

    def done(
        self, key: tuple[str, str, int], seconds: float, bytes_in: int, bytes_out: int
    ) -> None:
        """Count a request that is over; `key` is route, method and status."""
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        series.count += 1
        series.seconds += seconds
        series.bytes_in += bytes_in
        series.bytes_out += bytes_out
        series.buckets[bisect_left(_BOUNDS_S, seconds)] += 1

    def failed(self, code: str) -> None:
        """Count an error by its code."""
        self._errors[code] = self._errors.get(code, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """All of it as metric families."""
        labels = ("route", "method", "status")
        requests = CounterMetricFamily("holdfast_http_requests", "Requests answered", labels=labels)
        taken = CounterMetricFamily(
            "holdfast_http_request_bytes", "Bytes of bodies received", labels=labels
        )
        given = CounterMetricFamily(
            "holdfast_http_response_bytes", "Bytes of answers sent, heads included", labels=labels
        )
        seconds = HistogramMetricFamily(
            "holdfast_http_request_seconds", "From the head to the last byte", labels=labels
        )
        for (route, method, status), series in self._series.items():
            values = (route, method, str(status))
            requests.add_metric(values, series.count)
            taken.add_metric(values, series.bytes_in)
            given.add_metric(values, series.bytes_out)
            seconds.add_metric(values, _cumulative(series.buckets), series.seconds)
        yield from (requests, taken, given, seconds)
        errors = CounterMetricFamily("holdfast_http_errors", "Errors by code", labels=("code",))
        for code, count in self._errors.items():
            errors.add_metric((code,), count)
        yield errors
        yield CounterMetricFamily(
            "holdfast_http_connections", "Connections accepted", value=self.connections_total
        )
        yield CounterMetricFamily(
            "holdfast_http_connections_refused",
            "Connections refused at the bound",
            value=self.connections_refused,
        )
        for name, read in self._gauges.items():
            yield GaugeMetricFamily(f"holdfast_http_{name}", name.replace("_", " "), value=read())


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    total = 0
    rows: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, _BOUNDS_S), "+Inf"), buckets, strict=True):
        total += count
        rows.append((bound, total))
    return rows
