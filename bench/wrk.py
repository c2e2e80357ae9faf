"""The load generator for small requests: wrk, with load.lua beside this file.

Written in C and driven by LuaJIT, it costs a fraction of what the server under test costs, so the
server is what limits. A run in which anything went wrong has no rate.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.deadline import Deadline
from bench.failure import RowFailed, ToolMissing
from bench.plan import CONNECTIONS

_SCRIPT: Final = Path(__file__).with_name("load.lua")
_SUMMARY: Final = re.compile(r"^bench ((?:[a-z_]+=\d+ ?)+)$", re.MULTILINE)
_GRACE_S: Final = 15.0
FIRST_NUMBER: Final = 2  # of the bodies that load.lua sends


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk did; errors by kind, `status` counting answers from 400 on."""

    requests: int
    duration_s: float
    bytes_received: int
    errors: tuple[tuple[str, int], ...]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.duration_s

    def complaint(self) -> str:
        """What went wrong, in words; empty when nothing did."""
        counted = [f"{count} {kind} errors" for kind, count in self.errors if count]
        if not self.requests:
            counted.append("no answer at all")
        return ", ".join(counted)


def parse(output: str) -> Load:
    """Read the line that load.lua prints at the end; RowFailed when there is none."""
    found = _SUMMARY.search(output)
    if found is None:
        raise RowFailed(f"wrk printed no summary. It said:\n{output.strip()[-2000:]}")
    parts = (part.partition("=") for part in found[1].split())
    fields = {name: int(value) for name, _, value in parts}
    kinds = ("connect", "read", "write", "status", "timeout")
    return Load(
        requests=fields["requests"],
        duration_s=fields["duration_us"] / 1e6,
        bytes_received=fields["bytes"],
        errors=tuple((kind, fields[kind]) for kind in kinds),
    )


def require_wrk() -> None:
    """ToolMissing, with the package's name, when wrk is not installed."""
    if shutil.which("wrk") is None:
        raise ToolMissing(
            "wrk is not installed; it generates the load of the small rows. "
            "On Debian: apt-get install wrk"
        )


def post(url: str, tag: str, size_bytes: int, seconds: int, deadline: Deadline) -> Load:
    """POST bodies of which no two are alike for `seconds`."""
    arguments = ["put", "POST", "/v1/blobs?algo=blake3", tag, str(size_bytes)]
    return run(url, arguments, CONNECTIONS, seconds, deadline)


def get(url: str, paths: Path, seconds: int, deadline: Deadline) -> Load:
    """GET the paths that the file names, one a line, in turn for `seconds`."""
    return run(url, ["get", str(paths)], CONNECTIONS, seconds, deadline)


def command(
    url: str,
    arguments: Sequence[str],
    connections: int,
    seconds: int,
    script: Path = _SCRIPT,
) -> list[str]:
    """What runs one load with the arguments of its script."""
    return [
        *("wrk", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{seconds}s", "--timeout", "10s"),
        *("--script", str(script), url, "--", *arguments),
    ]


def run(
    url: str,
    arguments: Sequence[str],
    connections: int,
    seconds: int,
    deadline: Deadline,
    *,
    script: Path = _SCRIPT,
) -> Load:
    """One load with the arguments of its script; RowFailed when anything went wrong in it."""
    share_s = deadline.share_s(seconds + _GRACE_S, f"a load of {seconds} s")
    argv = command(url, arguments, connections, seconds, script)
    try:
        finished = subprocess.run(
            argv, capture_output=True, text=True, timeout=share_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RowFailed(f"wrk did not end within {share_s:.0f} s") from error
    load = parse(finished.stdout + finished.stderr)
    complaint = load.complaint()
    if complaint:
        raise RowFailed(f"under load from wrk: {complaint} among {load.requests:,} requests")
    return load
