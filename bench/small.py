"""The rows of small blobs: 1 KiB at 64 connections, against a bare aiohttp handler.

The limit of both rows is the bare handler that answers a GET with 1 KiB. A bare handler that
discards a POST is somewhat slower, so for PUT this is the stricter of the two; the note of the row
has the other figure.
"""

from __future__ import annotations

from bench import blobs, progress, wrk
from bench.bare import Bare, running_bare
from bench.cluster import Cluster, running_cluster
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.fill import fill
from bench.pairs import measure_pairs, median_pair, spread
from bench.plan import SMALL_BYTES, Plan
from bench.rows import Measured

_WARM_S = 1


def put_small(plan: Plan, deadline: Deadline) -> list[Measured]:
    """Durable PUT of 1 KiB: unique bodies by POST, the answer 2xx only once they are safe."""
    with running_bare(plan.folder, deadline) as bare, running_cluster(plan, deadline) as cluster:
        limit = _BareGet(plan, bare, deadline)
        runs = 0

        def store() -> float:
            nonlocal runs
            runs += 1
            load = wrk.post(cluster.url, f"put{runs}", SMALL_BYTES, plan.small_seconds, deadline)
            blobs.check_stored(cluster.port, f"put{runs}", wrk.FIRST_NUMBER, SMALL_BYTES)
            return _said("PUT, cluster", load)

        _warm(plan, bare, cluster, deadline)
        pairs = measure_pairs(store, limit.rate, plan.small_pairs)
        discard = wrk.post(bare.url, "bare", SMALL_BYTES, plan.small_seconds, deadline)
    median = median_pair(pairs)
    note = (
        f"{spread(pairs)}; a bare handler that discards the same POSTs: {discard.rate:,.0f} "
        "requests/s"
    )
    return [Measured(median.cluster, median.bare, note=note)]


def get_small(plan: Plan, deadline: Deadline) -> list[Measured]:
    """GET of 1 KiB blobs that were stored before, in turn."""
    with running_bare(plan.folder, deadline) as bare, running_cluster(plan, deadline) as cluster:
        limit = _BareGet(plan, bare, deadline)
        progress.say(f"storing {plan.get_blobs:,} blobs to read")
        fill(cluster.port, "get", plan.get_blobs, SMALL_BYTES, deadline)
        blobs.check_stored(cluster.port, "get", plan.get_blobs, SMALL_BYTES)
        blobs.write_paths(limit.paths, "get", plan.get_blobs, SMALL_BYTES)

        def read() -> float:
            load = wrk.get(cluster.url, limit.paths, plan.small_seconds, deadline)
            if load.bytes_received < load.requests * SMALL_BYTES:
                raise RowFailed(f"{load.requests:,} answers hold less than 1 KiB each")
            return _said("GET, cluster", load)

        wrk.get(cluster.url, limit.paths, _WARM_S, deadline)
        wrk.get(bare.url, limit.paths, _WARM_S, deadline)
        pairs = measure_pairs(read, limit.rate, plan.small_pairs)
    median = median_pair(pairs)
    note = f"{spread(pairs)}; {plan.get_blobs:,} blobs read in turn"
    return [Measured(median.cluster, median.bare, note=note)]


class _BareGet:
    """The limit: a GET of 1 KiB from a handler that does nothing."""

    def __init__(self, plan: Plan, bare: Bare, deadline: Deadline) -> None:
        self._plan = plan
        self._bare = bare
        self._deadline = deadline
        self.paths = plan.folder / "paths.txt"
        blobs.write_paths(self.paths, "bare", 100, SMALL_BYTES)

    def rate(self) -> float:
        load = wrk.get(self._bare.url, self.paths, self._plan.small_seconds, self._deadline)
        return _said("bare handler", load)


def _warm(plan: Plan, bare: Bare, cluster: Cluster, deadline: Deadline) -> None:
    wrk.post(cluster.url, "warm", SMALL_BYTES, _WARM_S, deadline)
    wrk.get(bare.url, plan.folder / "paths.txt", _WARM_S, deadline)


def _said(what: str, load: wrk.Load) -> float:
    progress.say(f"{what}: {load.rate:,.0f} requests/s")
    return load.rate
