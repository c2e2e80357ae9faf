"""A node whose disk is lost: how long until it is whole, and what clients notice meanwhile.

A cluster as `holdfast serve` makes it.  A node is stopped, its data removed, its process killed;
`serve` starts it again, blank.  It is whole when it votes on everything again: by then it has
compared with a cover of the others, and all that they have is here.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench import proc, progress
from bench.ask import ask
from bench.cluster import Cluster, running_cluster
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.fill import fill
from bench.plan import Plan
from bench.trouble.load import Done, Load

_FILL_BYTES: Final = 1024
_RATE: Final = 100.0
_BLOBS_READ: Final = 200
_VICTIM: Final = "node-1"
_POLL_S: Final = 0.25
_TOTAL_S: Final = 600.0


class Phase(Struct, frozen=True):
    """Requests of clients: how many, how many were answered rightly, the slowest hundredth."""

    requests: int
    good: int
    p50_s: float
    p99_s: float

    @classmethod
    def of(cls, done: Sequence[Done]) -> Phase:
        """What these amount to."""
        times = sorted(one.elapsed_s for one in done)
        if not times:
            return cls(0, 0, 0.0, 0.0)
        good = sum(one.good for one in done)
        return cls(len(times), good, _at(times, 0.5), _at(times, 0.99))


class Recovery(Struct, frozen=True):
    """blobs: in the cluster.  whole_s: from the kill until the node votes on everything."""

    blobs: int
    whole_s: float
    before: Phase
    during: Phase
    after: Phase


def measure(folder: Path, blobs: int, calm_s: float) -> Recovery:
    """calm_s: how long clients are watched before and after."""
    deadline = Deadline(_TOTAL_S)
    with running_cluster(Plan(folder), deadline) as cluster:
        progress.say(f"repair: {blobs:,} blobs of {_FILL_BYTES} bytes on three nodes")
        fill(cluster.port, "recovery", blobs, _FILL_BYTES, deadline)
        return asyncio.run(_measure(cluster, blobs, calm_s, deadline))


async def _measure(
    cluster: Cluster, blobs: int, calm_s: float, deadline: Deadline
) -> Recovery:
    load = Load(cluster.port, _RATE)
    loop = asyncio.get_running_loop()
    try:
        await load.prepare(_BLOBS_READ)
        await load.run(3.0)
        begun_s = loop.time()
        await load.run(calm_s)
        killed_s = loop.time()
        await asyncio.to_thread(_lose_disk, cluster)
        progress.say(f"repair: {_VICTIM} lost its disk")
        running = asyncio.ensure_future(load.run(deadline.remaining_s()))
        try:
            await _until_whole(cluster, deadline)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        whole_s = loop.time()
        progress.say(f"repair: {_VICTIM} is whole after {whole_s - killed_s:.1f} s")
        await load.run(calm_s)
        ended_s = loop.time()
    finally:
        await load.end()

    def phase(start_s: float, stop_s: float) -> Phase:
        return Phase.of([one for one in load.done if start_s <= one.due_s < stop_s])

    return Recovery(
        blobs,
        whole_s - killed_s,
        phase(begun_s, killed_s),
        phase(killed_s, whole_s),
        phase(whole_s, ended_s),
    )


def _lose_disk(cluster: Cluster) -> None:
    pid = next(
        (
            pid
            for pid in cluster.nodes()
            if any(_VICTIM in argument for argument in proc.arguments(pid))
        ),
        None,
    )
    if pid is None:
        raise RowFailed(f"no process of {_VICTIM} was found")
    os.kill(pid, signal.SIGSTOP)
    (data,) = cluster.folder.glob(f"data/{_VICTIM}")
    for entry in data.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    os.kill(pid, signal.SIGKILL)


async def _until_whole(cluster: Cluster, deadline: Deadline) -> None:
    was_away = False
    while True:
        deadline.share_s(1, f"{_VICTIM} to become whole")
        state = await asyncio.to_thread(_state, cluster.port)
        was_away = was_away or state != "voter"
        if was_away and state == "voter":
            return
        await asyncio.sleep(_POLL_S)


def _state(port: int) -> str:
    status: Mapping[str, object] = json.loads(ask(port, "GET", "/v1/status").body)
    nodes = status["nodes"]
    assert isinstance(nodes, list)
    return next(str(node["state"]) for node in nodes if node["node"] == _VICTIM)


def _at(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


def as_text(found: Recovery) -> str:
    """A few lines."""
    rate = found.blobs / found.whole_s
    lines = [
        f"{found.blobs:,} blobs of {_FILL_BYTES} bytes, three nodes, one loses its disk",
        f"whole again after {found.whole_s:.1f} s, {rate:,.0f} records a second",
        "clients, at 100 requests a second (puts, gets, misses, deletes):",
    ]
    for name in ("before", "during", "after"):
        phase: Phase = getattr(found, name)
        share = 100 * phase.good / max(1, phase.requests)
        lines.append(
            f"  {name:7} {phase.requests:>6} requests, {share:.2f}% right, "
            f"p50 {1000 * phase.p50_s:.0f} ms, p99 {1000 * phase.p99_s:.0f} ms"
        )
    return "\n".join(lines)
