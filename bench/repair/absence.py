"""A node that is away while blobs are deleted, purged and put again: who comes back, what is lost.

A cluster as `holdfast serve` makes it, node by node frozen (SIGSTOP) and thawed:

1.  every blob is deleted while node 1 is away, and every other one put again;
2.  node 1 is back: the tombstones of the others are purged, and every blob is asked for;
3.  the others are put again while node 2 is away; it comes back, and every blob is asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import aiohttp
from blake3 import blake3
from msgspec import Struct

from bench import blobs, proc, progress
from bench.ask import ask
from bench.cluster import Cluster, running_cluster
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.fill import fill
from bench.plan import Plan

_TAG: Final = "absence"
_BYTES: Final = 100
_AT_ONCE: Final = 32
_POLL_S: Final = 0.5
_TOTAL_S: Final = 600.0
_TRIES: Final = 5
_CALM_S: Final = 15.0


class Absence(Struct, frozen=True):
    """resurrected: deleted blobs that were there again.  lost: put again, and not there.

    purged: tombstones that all nodes together forgot.  seconds: of everything.
    """

    blobs: int
    resurrected: int
    lost: int
    purged: int
    converged_s: float
    seconds: float


def measure(folder: Path, count: int) -> Absence:
    """count: blobs, an even number."""
    deadline, begun_s = Deadline(_TOTAL_S), time.perf_counter()
    with running_cluster(Plan(folder), deadline) as cluster:
        progress.say(f"repair: {count:,} blobs are deleted while a node is away")
        fill(cluster.port, _TAG, count, _BYTES, deadline)
        digests = [_digest(number) for number in range(1, count + 1)]
        gone, again = digests[::2], digests[1::2]
        with _away(cluster, "node-1"):
            _each(cluster, "DELETE", ((f"{one}?now=1", b"") for one in digests))
            _each(cluster, "PUT", _bodies(range(2, count + 1, 2)))
        back_s = time.perf_counter()
        _until(cluster, deadline, "purged", _Calm(cluster, 3 * len(gone)).is_over)
        resurrected, lost = _look(cluster, there=again, absent=gone)
        with _away(cluster, "node-2"):
            _each(cluster, "PUT", _bodies(range(1, count + 1, 2)))
        _until(cluster, deadline, "whole", lambda: _is_whole(cluster, count))
        converged_s = time.perf_counter() - back_s
        more_resurrected, more_lost = _look(cluster, there=digests, absent=())
        return Absence(
            count,
            resurrected + more_resurrected,
            lost + more_lost,
            _purged(cluster),
            converged_s,
            time.perf_counter() - begun_s,
        )


class _Calm:
    """Purging is over when all is gone, or nothing went for a while.

    On a node that was away the bytes of what was deleted meanwhile wait in its trash, and with them
    the tombstones.
    """

    def __init__(self, cluster: Cluster, everything: int) -> None:
        self._cluster = cluster
        self._everything = everything
        self._purged = 0
        self._since_s = time.perf_counter()

    def is_over(self) -> bool:
        """See the class."""
        purged = _purged(self._cluster)
        if purged != self._purged:
            self._purged, self._since_s = purged, time.perf_counter()
        return purged >= self._everything or time.perf_counter() - self._since_s > _CALM_S


@contextmanager
def _away(cluster: Cluster, node: str) -> Iterator[None]:
    """A node is frozen for the time of a block."""
    pids = [
        pid
        for pid in cluster.nodes()
        if any(node in argument for argument in proc.arguments(pid))
    ]
    if not pids:
        raise RowFailed(f"no process of {node} was found")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _digest(number: int) -> str:
    return f"blake3:{blake3(blobs.body(_TAG, number, _BYTES)).hexdigest()}"


def _bodies(numbers: Iterable[int]) -> Iterable[tuple[str, bytes]]:
    return ((_digest(number), blobs.body(_TAG, number, _BYTES)) for number in numbers)


def _each(cluster: Cluster, method: str, requests: Iterable[tuple[str, bytes]]) -> None:
    """Send every request until it is answered 2xx; RowFailed when one never is."""
    refused = [
        (path, status)
        for path, status in asyncio.run(_answers(cluster, method, requests, _TRIES))
        if not 200 <= status < 300
    ]
    if refused:
        raise RowFailed(f"{len(refused)} of {method} were never answered 2xx: {refused[0]}")


def _look(
    cluster: Cluster, *, there: Sequence[str], absent: Sequence[str]
) -> tuple[int, int]:
    """How many are there that must not be, and how many are not that must be."""
    found = dict(
        asyncio.run(_answers(cluster, "GET", ((one, b"") for one in (*there, *absent)), 1))
    )
    unclear = [one for one, status in found.items() if status not in {200, 404}]
    if unclear:
        raise RowFailed(f"{unclear[0]} was answered {found[unclear[0]]}")
    return (
        sum(found[one] == 200 for one in absent),
        sum(found[one] == 404 for one in there),
    )


async def _answers(
    cluster: Cluster, method: str, requests: Iterable[tuple[str, bytes]], tries: int
) -> list[tuple[str, int]]:
    pending, answers = iter(requests), []
    connector = aiohttp.TCPConnector(limit=_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:

        async def work() -> None:
            for path, body in pending:
                status = 0
                for _ in range(tries):
                    url = f"{cluster.url}/v1/blobs/{path}"
                    async with session.request(method, url, data=body or None) as response:
                        await response.read()
                        status = response.status
                    if status < 500:
                        break
                answers.append((path, status))

        for _ in range(_AT_ONCE):
            group.create_task(work())
    return answers


def _until(
    cluster: Cluster, deadline: Deadline, what: str, condition: Callable[[], bool]
) -> None:
    while not condition():
        deadline.share_s(1, f"everything to be {what}")
        ask(cluster.port, "POST", "/v1/admin/gc")
        ask(cluster.port, "POST", "/v1/admin/repair")
        time.sleep(_POLL_S)


def _nodes(cluster: Cluster) -> list[dict[str, object]]:
    nodes = json.loads(ask(cluster.port, "GET", "/v1/status").body)["nodes"]
    assert isinstance(nodes, list)
    return nodes


def _purged(cluster: Cluster) -> int:
    total = 0
    for node in _nodes(cluster):
        counters = node["counters"]
        assert isinstance(counters, dict)
        total += int(counters.get("tombstones_purged_total", 0))
    return total


def _is_whole(cluster: Cluster, count: int) -> bool:
    return all(
        node["state"] == "voter" and node["records"] == count for node in _nodes(cluster)
    )


def as_text(found: Absence) -> str:
    """A few lines."""
    return (
        f"{found.blobs:,} blobs deleted while a node was away, half of them put again at once and "
        f"half after their tombstones were purged while another was away:\n"
        f"{found.resurrected} resurrected, {found.lost} lost; {found.purged:,} tombstones purged "
        f"on three nodes; everything agreed {found.converged_s:.1f} s after the first was back "
        f"({found.seconds:.0f} s in all)"
    )
