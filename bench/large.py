"""The rows of large blobs: one at a time, by curl, against bare aiohttp.

Every upload has chunks that the cluster has never seen; the first one of each row is read back and
compared, and is not timed.
"""

from __future__ import annotations

from contextlib import closing

from bench import curl, progress
from bench.bare import Bare, running_bare
from bench.cluster import Cluster, running_cluster
from bench.deadline import Deadline
from bench.pairs import measure_pairs, median_pair, spread
from bench.payload import Payload
from bench.plan import GIB, REPLICAS, Plan, size_words
from bench.rows import Measured
from bench.scratch import require_room


def put_large_blake3(plan: Plan, deadline: Deadline) -> list[Measured]:
    """PUT of a large blob under its BLAKE3 digest."""
    return [_put(plan, "blake3", deadline)]


def put_large_sha256(plan: Plan, deadline: Deadline) -> list[Measured]:
    """PUT of a large blob under its SHA-256 digest."""
    return [_put(plan, "sha256", deadline)]


def get_large(plan: Plan, deadline: Deadline) -> list[Measured]:
    """GET of a large blob that was stored before."""
    size_bytes = plan.large_bytes
    require_room(plan.folder, REPLICAS * size_bytes, "one large blob")
    with (
        running_bare(plan.folder, deadline) as bare,
        running_cluster(plan, deadline) as cluster,
        closing(Payload(size_bytes)) as payload,
    ):
        url = _store(payload, "blake3", cluster, deadline)
        cold = _said("first GET, cluster", curl.download(url, size_bytes, deadline), size_bytes)
        for _ in range(REPLICAS):  # each node is asked for each chunk in turn
            _check(payload, url, deadline)
        bare_url = f"{bare.url}/stream?bytes={size_bytes}"
        curl.download(bare_url, size_bytes, deadline)

        def read() -> float:
            return _said("GET, cluster", curl.download(url, size_bytes, deadline), size_bytes)

        def limit() -> float:
            return _said("GET, bare", curl.download(bare_url, size_bytes, deadline), size_bytes)

        pairs = measure_pairs(read, limit, plan.large_pairs)
    median = median_pair(pairs)
    note = f"{spread(pairs)}; page cache warm; the first GET after the PUT {cold:,.0f} MB/s"
    return [Measured(median.cluster, median.bare, full_scale=size_bytes >= GIB, note=note)]


def _put(plan: Plan, algorithm: str, deadline: Deadline) -> Measured:
    size_bytes = plan.large_bytes
    uploads = plan.large_pairs + 1
    what = f"{uploads} blobs of {size_words(size_bytes)} in {REPLICAS} copies"
    require_room(plan.folder, uploads * REPLICAS * size_bytes, what)
    with (
        running_bare(plan.folder, deadline) as bare,
        running_cluster(plan, deadline) as cluster,
        closing(Payload(size_bytes)) as payload,
    ):
        _check(payload, _store(payload, algorithm, cluster, deadline), deadline)
        _discard(payload, bare, deadline)

        def store() -> float:
            payload.renew()
            url = f"{cluster.url}/v1/blobs/{payload.digest(algorithm)}"
            transfer = curl.upload(payload.file, url, size_bytes, deadline)
            return _said(f"PUT {algorithm}, cluster", transfer, size_bytes)

        def limit() -> float:
            return _said("PUT, bare", _discard(payload, bare, deadline), size_bytes)

        pairs = measure_pairs(store, limit, plan.large_pairs)
    median = median_pair(pairs)
    full_scale = size_bytes >= GIB
    return Measured(median.cluster, median.bare, full_scale=full_scale, note=spread(pairs))


def _store(payload: Payload, algorithm: str, cluster: Cluster, deadline: Deadline) -> str:
    url = f"{cluster.url}/v1/blobs/{payload.digest(algorithm)}"
    curl.upload(payload.file, url, payload.size_bytes, deadline)
    return url


def _check(payload: Payload, url: str, deadline: Deadline) -> None:
    expected_hex = payload.digest("sha256").partition(":")[2]
    curl.check_sha256(url, expected_hex, deadline)


def _discard(payload: Payload, bare: Bare, deadline: Deadline) -> curl.Transfer:
    return curl.upload(payload.file, f"{bare.url}/v1/blobs/any", payload.size_bytes, deadline)


def _said(what: str, transfer: curl.Transfer, size_bytes: int) -> float:
    rate = transfer.rate(size_bytes)
    progress.say(f"{what}: {rate:,.0f} MB/s")
    return rate
