"""The rows of a node's start: how long until it is ready, and how much memory it takes.

A node process of a running cluster is killed (SIGKILL, so it could prepare nothing) and `serve`
starts it again. Seconds count from the birth of the new process to the first 200 of its own
/readyz; the waiting of `serve` before that is not the node's. Memory is the peak of RssAnon from
birth until some time after. The limit is the same node when it holds nothing.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from dataclasses import dataclass
from typing import Final

from bench import blobs, proc, progress
from bench.ask import is_ready
from bench.cluster import Cluster, running_cluster
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.fill import fill
from bench.memory import INTERVAL_S, MemorySampler
from bench.plan import MIB, SMALL_BYTES, Plan
from bench.rows import Measured

FULL_BLOBS: Final = 1_000_000
_RESTART_S: Final = 60.0
_AFTER_S: Final = 1.0
_SETTLE_S: Final = 10.0
_POLL_S: Final = 0.005
_PROBE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds from birth to ready, and the peak of RssAnon."""

    seconds: float
    memory_bytes: int


def node_start(plan: Plan, deadline: Deadline) -> list[Measured]:
    """Seconds and MiB of a node's start with `plan.start_blobs` blobs: two figures."""
    with running_cluster(plan, deadline) as cluster:
        empty = _starts(cluster, plan.start_rounds, deadline)
        progress.say(f"storing {plan.start_blobs:,} blobs of 1 KiB")
        fill(cluster.port, "start", plan.start_blobs, SMALL_BYTES, deadline)
        full = _starts(cluster, plan.start_rounds, deadline)
        blobs.check_stored(cluster.port, "start", plan.start_blobs, SMALL_BYTES)
    full_scale = plan.start_blobs >= FULL_BLOBS
    note = f"after SIGKILL; median of {plan.start_rounds}; limit: the same node with no blobs"
    return [
        Measured(_seconds(full), _seconds(empty), full_scale=full_scale, note=note),
        Measured(_mebibytes(full), _mebibytes(empty), full_scale=full_scale, note=note),
    ]


def _seconds(starts: list[Start]) -> float:
    return statistics.median_low(start.seconds for start in starts)


def _mebibytes(starts: list[Start]) -> float:
    return statistics.median_low(start.memory_bytes for start in starts) / MIB


def _starts(cluster: Cluster, rounds: int, deadline: Deadline) -> list[Start]:
    """Restart the oldest node each time, so that none is restarted twice in quick succession."""
    starts = []
    for _ in range(rounds):
        nodes = cluster.nodes()
        if not nodes:
            raise RowFailed("no node process was found among the children of serve")
        start = _restart(cluster, min(nodes, key=_birth_s), nodes, deadline)
        progress.say(f"node start: {start.seconds:.2f} s, {start.memory_bytes / MIB:.0f} MiB")
        starts.append(start)
    return starts


def _birth_s(pid: int) -> float:
    found = proc.stat(pid)
    return found.start_s if found else 0.0


def _restart(cluster: Cluster, victim: int, nodes: list[int], deadline: Deadline) -> Start:
    health_port = _health_port(victim)
    patience = Deadline(deadline.share_s(_RESTART_S, "restarting a node"))
    os.kill(victim, signal.SIGKILL)
    while not (born := [pid for pid in cluster.nodes() if pid not in nodes]):
        if patience.remaining_s() == 0:
            raise RowFailed(f"serve did not restart a killed node within {_RESTART_S:.0f} s")
        time.sleep(_POLL_S)
    sampler = MemorySampler(lambda: born[:1])
    birth = proc.stat(born[0])
    if birth is None:
        raise RowFailed("a restarted node ended at once")
    while not is_ready(health_port, _PROBE_S):
        sampler.sample()
        if patience.remaining_s() == 0:
            raise RowFailed(f"a restarted node was not ready within {_RESTART_S:.0f} s")
        time.sleep(_POLL_S)
    seconds = proc.boot_clock_s() - birth.start_s
    settle = Deadline(_AFTER_S)
    while settle.remaining_s() > 0:
        sampler.sample()
        time.sleep(INTERVAL_S)
    return Start(seconds, sampler.peak_bytes)


def _health_port(pid: int) -> int:
    """The port at which the node answers /readyz; it keeps it over a restart."""
    patience = Deadline(_SETTLE_S)
    while patience.remaining_s() > 0:
        for port in proc.listening_ports(pid):
            if is_ready(port):
                return port
        time.sleep(_POLL_S)
    raise RowFailed(
        f"a node of a ready cluster answers 200 to /readyz at none of its ports "
        f"within {_SETTLE_S:.0f} s"
    )
