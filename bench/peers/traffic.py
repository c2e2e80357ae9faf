"""The small loads through any door: wrk, and what it needs.

A run in which anything went wrong has no rate, and one whose bodies do not read back has none
either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

from bench import blobs, wrk
from bench.ask import ask
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.peers import prepared
from bench.peers.door import NAME_MARK, Door
from bench.plan import SMALL_BYTES

_STOCK_S: Final = 120.0
_STOCK_CLIENTS: Final = 16
_STORED: Final = (200, 201, 204)


def put_small(door: Door, tag: str, connections: int, seconds: int, deadline: Deadline) -> float:
    """Requests per second of puts of which no two bodies are alike."""
    if callable(door.put_target):
        return prepared.put_small(door, tag, connections, seconds, deadline)
    arguments = ["put", door.put_method, door.put_target, tag, str(SMALL_BYTES)]
    return wrk.run(door.url, arguments, connections, seconds, deadline).rate


def get_small(
    door: Door, paths: Path, connections: int, seconds: int, deadline: Deadline
) -> float:
    """Requests per second of reads of the paths in the file, in turn."""
    load = wrk.run(door.url, ["get", str(paths)], connections, seconds, deadline)
    if load.bytes_received < load.requests * SMALL_BYTES:
        raise RowFailed(f"{load.requests:,} answers hold less than 1 KiB each")
    return load.rate


def check_small(door: Door, tag: str, number: int) -> None:
    """RowFailed unless this body reads back byte for byte."""
    content = blobs.body(tag, number, SMALL_BYTES)
    path = door.small_path(f"{tag}-{number}", content)
    answer = ask(door.port, "GET", path)
    if answer.status != 200:
        raise RowFailed(f"{path}, which was stored, reads as {answer.status}")
    if answer.body != content:
        raise RowFailed(f"{path}, which was stored, reads as other bytes")


def put_one(door: Door, tag: str, number: int) -> None:
    """Store one small body on a connection of its own; RowFailed unless it is answered 2xx."""
    content = blobs.body(tag, number, SMALL_BYTES)
    answer = ask(door.port, door.put_method, _target(door, f"{tag}-{number}", content), content)
    if answer.status not in _STORED:
        raise RowFailed(f"a put was answered {answer.status}: {answer.body[:200]!r}")


def _target(door: Door, name: str, content: bytes) -> str:
    if callable(door.put_target):
        return door.put_target(name, content)
    return door.put_target.replace(NAME_MARK, name)


def stock(door: Door, tag: str, count: int, deadline: Deadline) -> list[str]:
    """Store bodies 1 to `count`, untimed, and return the paths where they are read."""
    patience = Deadline(deadline.share_s(_STOCK_S, f"storing {count:,} blobs"))
    numbers = iter(range(1, count + 1))

    def store(own: Sequence[int]) -> None:
        for number in own:
            patience.share_s(1, f"storing {count:,} blobs")
            put_one(door, tag, number)

    with ThreadPoolExecutor(_STOCK_CLIENTS) as pool:
        for done in [pool.submit(store, batch) for batch in _batches(numbers)]:
            done.result()
    names = ((f"{tag}-{number}", number) for number in range(1, count + 1))
    return [door.small_path(name, blobs.body(tag, n, SMALL_BYTES)) for name, n in names]


def _batches(numbers: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(numbers, 50)):
        yield batch
