"""Where the time goes: py-spy on the gateway and the nodes while a load runs.

Self time is the share of samples in which a function was the one running. Waiting is no sample,
so shares are of busy time; how busy the processes were is printed beside. py-spy stops a process
for each sample, so the rates of these loads are not those of the rows.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import blobs, curl, proc, progress, wrk
from bench.cluster import Cluster, running_cluster
from bench.deadline import Deadline
from bench.failure import RowFailed, ToolMissing
from bench.fill import fill
from bench.payload import Payload
from bench.plan import SMALL_BYTES, Plan

TOP: Final = 20
_SAMPLES_PER_S: Final = 100
_GRACE_S: Final = 20.0
LOADS: Final = ("put-1k", "get-1k", "put-1g", "get-1g")


@dataclass(frozen=True, slots=True)
class Line:
    """One function of a profile; shares of all samples, 0 to 1."""

    function: str
    own_share: float
    total_share: float


def parse_stacks(folded: str) -> Counter[tuple[str, ...]]:
    """Samples by stack, outermost frame first, from folded lines `frame;frame;frame COUNT`."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in folded.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit():
            stacks[tuple(frames.split(";"))] += int(count)
    return stacks


def top_lines(stacks: Counter[tuple[str, ...]], limit: int) -> list[Line]:
    """The functions with most self time; a recursive one counts once a stack in its total."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
        for frame in dict.fromkeys(stack):
            total[frame] += count
    samples = sum(own.values())
    ordered = sorted(own.items(), key=lambda item: (-item[1], item[0]))
    return [
        Line(function, count / samples, total[function] / samples)
        for function, count in ordered[:limit]
    ]


def run_profile(
    plan: Plan, loads: Sequence[str], seconds: int, deadline: Deadline, *, native: bool
) -> str:
    """Profile each of `loads` (see LOADS) for `seconds`; returns the report.

    native: show C frames too, which needs their symbols. ToolMissing without py-spy; RowFailed
    when it may not look at other processes.
    """
    if shutil.which("py-spy") is None:
        raise ToolMissing("py-spy is not installed; it takes the profile: pip install py-spy")
    return "\n\n".join(_profile(plan, load, seconds, deadline, native=native) for load in loads)


def _profile(plan: Plan, load: str, seconds: int, deadline: Deadline, *, native: bool) -> str:
    with (
        running_cluster(plan, deadline) as cluster,
        _prepared(plan, load, cluster, seconds + 1, deadline) as run,
    ):
        watched = {"gateway": cluster.gateways(), "nodes": cluster.nodes()}
        before = {pid: _cpu_s(pid) for pids in watched.values() for pid in pids}
        began_s = proc.boot_clock_s()
        progress.say(f"{load}: profiling for {seconds} s")
        spies = [_spy(pid, plan.folder, seconds, native=native) for pid in before]
        run()
        elapsed_s = proc.boot_clock_s() - began_s
        busy = {pid: (_cpu_s(pid) - cpu_s) / elapsed_s for pid, cpu_s in before.items()}
        stacks = {spy.pid: spy.stacks() for spy in spies}
    parts = [f"== {load}"]
    for name, pids in watched.items():
        shares = ", ".join(f"{busy[pid]:.0%}" for pid in pids)
        merged: Counter[tuple[str, ...]] = Counter()
        for pid in pids:
            merged.update(stacks[pid])
        parts.append(f"-- {name}: busy {shares} of a core, {merged.total():,} samples")
        parts.append("   self  total  function")
        parts.extend(
            f"  {line.own_share:5.1%}  {line.total_share:5.1%}  {line.function}"
            for line in top_lines(merged, TOP)
        )
    return "\n".join(parts)


def _cpu_s(pid: int) -> float:
    found = proc.stat(pid)
    return found.cpu_s if found else 0.0


class _Spy:
    """A running py-spy on one process."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes], output: Path) -> None:
        self.pid = pid
        self._process = process
        self._output = output

    def stacks(self) -> Counter[tuple[str, ...]]:
        """Wait for its end and read what it saw; RowFailed when it saw nothing."""
        try:
            _, errors = self._process.communicate(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, errors = self._process.communicate()
        if not self._output.exists():
            said = errors.decode(errors="replace").strip()
            raise RowFailed(f"py-spy could not look at process {self.pid}: {said}")
        return parse_stacks(self._output.read_text(errors="replace"))


def _spy(pid: int, folder: Path, seconds: int, *, native: bool) -> _Spy:
    output = folder / f"stacks-{pid}.txt"
    argv = [
        *("py-spy", "record", "--pid", str(pid), "--duration", str(seconds)),
        *("--rate", str(_SAMPLES_PER_S), "--format", "raw", "--function"),
        *("--output", str(output)),
        *(["--native"] if native else []),
    ]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return _Spy(pid, process, output)


@contextmanager
def _prepared(
    plan: Plan, load: str, cluster: Cluster, seconds: int, deadline: Deadline
) -> Iterator[Callable[[], None]]:
    """A function that keeps the load up for `seconds`."""
    if load == "put-1k":
        yield lambda: _discard(
            wrk.post(cluster.url, "profile", SMALL_BYTES, seconds, deadline)
        )
    elif load == "get-1k":
        paths = plan.folder / "paths.txt"
        fill(cluster.port, "profile", plan.get_blobs, SMALL_BYTES, deadline)
        blobs.write_paths(paths, "profile", plan.get_blobs, SMALL_BYTES)
        yield lambda: _discard(wrk.get(cluster.url, paths, seconds, deadline))
    else:
        with closing(Payload(plan.large_bytes)) as payload:
            yield _large(payload, load, cluster, seconds, deadline)


def _discard(load: wrk.Load) -> None:
    progress.say(f"{load.rate:,.0f} requests/s under the profiler")


def _large(
    payload: Payload, load: str, cluster: Cluster, seconds: int, deadline: Deadline
) -> Callable[[], None]:
    size_bytes = payload.size_bytes
    post_url = f"{cluster.url}/v1/blobs?algo=blake3"
    get_url = f"{cluster.url}/v1/blobs/{payload.digest('blake3')}"

    def upload() -> None:
        payload.renew()
        curl.upload(payload.file, post_url, size_bytes, deadline, method="POST")

    def download() -> None:
        curl.download(get_url, size_bytes, deadline)

    if load == "get-1g":
        curl.upload(payload.file, get_url, size_bytes, deadline)
    step = download if load == "get-1g" else upload

    def repeat() -> None:
        patience = Deadline(seconds)
        while patience.remaining_s() > 0:
            step()

    return repeat
