"""Small puts whose target depends on the body or is signed: computed ahead, then sent by wrk.

wrk can neither hash nor sign, so the targets of more bodies than a load can send are written to a
file before it begins. That is the client's work and is not timed. The bodies are those that every
other system is sent.
"""

from __future__ import annotations

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
        load = wrk.run(
            door.url, arguments, connections, seconds, deadline, script=_SCRIPT
        )
    if load.requests + connections >= prepared:
        raise RowFailed(f"the load ran out of the {prepared:,} puts that were prepared for it")
    return load.rate


def write_targets(file: Path, target: Callable[[str, bytes], str], tag: str, count: int) -> None:
    """One line for each of the bodies 1 to `count`."""
    with file.open("w") as lines:
        for number in range(1, count + 1):
            content = blobs.body(tag, number, SMALL_BYTES)
            lines.write(target(f"{tag}-{number}", content) + "\n")
