"""Small puts whose target depends on the body or is signed: computed ahead, then sent by wrk.

wrk can neither hash nor sign, so the targets of more bodies than a load can send are written to a
file before it begins. That is the client's work and is not timed. The bodies are those that every
other system is sent.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench import blobs, wrk
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.peers.door import Door
from bench.plan import SMALL_BYTES

PUTS_PER_S: Final = 20_000  # prepared for each second: more than a server that keeps nothing takes
_SCRIPT: Final = Path(__file__).with_name("prepared.lua")
_GRACE_S: Final = 15.0


def put_small(door: Door, tag: str, connections: int, seconds: int, deadline: Deadline) -> float:
    """Requests per second of puts of which no two bodies are alike; the door computes targets.

    RowFailed when anything went wrong, or when the server took more bodies than were prepared.
    """
    assert callable(door.put_target)
    prepared = PUTS_PER_S * seconds + connections
    with TemporaryDirectory(prefix="holdfast-bench-targets-") as folder:
        file = Path(folder) / "targets.txt"
        write_targets(file, door.put_target, tag, prepared)
        arguments = [door.put_method, str(file), tag, str(SMALL_BYTES)]
        load = _run(door.url, arguments, connections, seconds, deadline)
    if load.requests + connections >= prepared:
        raise RowFailed(f"the load ran out of the {prepared:,} puts that were prepared for it")
    return load.rate


def write_targets(file: Path, target: Callable[[str, bytes], str], tag: str, count: int) -> None:
    """One line for each of the bodies 1 to `count`."""
    with file.open("w") as lines:
        for number in range(1, count + 1):
            content = blobs.body(tag, number, SMALL_BYTES)
            lines.write(target(f"{tag}-{number}", content) + "\n")


def _run(
    url: str, arguments: list[str], connections: int, seconds: int, deadline: Deadline
) -> wrk.Load:
    share_s = deadline.share_s(seconds + _GRACE_S, f"a load of {seconds} s")
    argv = [
        *("wrk", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{seconds}s", "--timeout", "10s"),
        *("--script", str(_SCRIPT), url, "--", *arguments),
    ]
    try:
        finished = subprocess.run(
            argv, capture_output=True, text=True, timeout=share_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RowFailed(f"wrk did not end within {share_s:.0f} s") from error
    load = wrk.parse(finished.stdout + finished.stderr)
    complaint = load.complaint()
    if complaint:
        raise RowFailed(f"under load from wrk: {complaint} among {load.requests:,} requests")
    return load
