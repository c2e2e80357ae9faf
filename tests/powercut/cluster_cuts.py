"""The power of a whole cluster fails at once, again and again, while clients put and delete.

All data of a cluster (`holdfast serve`, three nodes and a gateway) lies on one ext4 of our own.
FS_IOC_SHUTDOWN without a flush of the journal is the power cut: what was not durable by then is
gone, on every node in the same moment.  Every process is killed, the file system is mounted anew
and replays its journal, the cluster starts, and everything that was acknowledged since the
beginning is looked at: what was put is there with the right bytes, what was deleted is not.
"""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Final

from msgspec import Struct, field

from tests.e2e.served import Served, free_port
from tests.powercut import kernel
from tests.powercut.history import Wrong
from tests.powercut.place import MKFS

WRITERS: Final = 6
ITEMS_OF_A_WRITER: Final = 200
DISK_BYTES: Final = 3 << 30
_LOAD_S: Final = (0.3, 3.0)
_CHECKED_EACH_ROUND: Final = 300
_TIMEOUT_S: Final = 20.0


class Item(Struct):
    """A blob of one writer.

    is_there: what was acknowledged last.  unanswered: a put (True) or delete (False) that was not
    answered since one of its kind last was: it may take effect at any time, also after others.
    """

    digest: str
    body: bytes
    is_there: bool = False
    unanswered: set[bool] = field(default_factory=set)


class Tally(Struct):
    """rounds: power cuts.  acks: writes that were answered 2xx.  reads: blobs looked at."""

    rounds: int = 0
    acks: int = 0
    reads: int = 0


class Writer:
    """Puts and deletes its own items, one after the other, until it is told to stop."""

    def __init__(self, number: int, seed: int) -> None:
        self._rng = Random(f"writer {number} {seed}")
        self.items = [_item(self._rng) for _ in range(ITEMS_OF_A_WRITER)]
        self.acks = 0

    def run(self, port: int, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        while not stop.is_set():
            item = self._rng.choice(self.items)
            puts = self._rng.random() < 0.65
            item.unanswered.add(puts)
            try:
                if puts:
                    connection.request("PUT", f"/v1/blobs/{item.digest}", item.body)
                else:
                    connection.request("DELETE", f"/v1/blobs/{item.digest}")
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.05)
                continue
            if response.status in {200, 201, 204}:
                item.is_there = puts
                item.unanswered.discard(puts)
                self.acks += 1
        connection.close()


def _item(rng: Random) -> Item:
    size = rng.choice((0, 1, 100, 1_000, 4_096, 20_000, 100_000))
    body = rng.randbytes(16) + rng.randbytes(size)
    return Item(f"sha256:{hashlib.sha256(body).hexdigest()}", body)


def cut_rounds(
    place: Path, seed: int, rounds: int, tell: Callable[[int], None], *, store: str = "pages"
) -> Tally:
    """Cut the power `rounds` times; raises Wrong at the first broken promise.

    place: an empty directory in memory, for the disk's image.
    """
    rng, tally = Random(f"cluster {seed}"), Tally()
    image, target, outside = place / "cluster.img", place / "cluster", place / "outside"
    target.mkdir()
    outside.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run([*MKFS, str(image)], check=True, capture_output=True)
    writers = [Writer(number, seed) for number in range(WRITERS)]
    items = [item for writer in writers for item in writer.items]
    for number in range(rounds + 1):
        with ExitStack() as stack:
            device = stack.enter_context(kernel.looped(str(image)))
            stack.enter_context(kernel.mounted(device, str(target)))
            cluster = Served(target, free_port(), ("--store", store))
            stack.callback(cluster.kill)
            cluster.wait_ready()
            looked_at = items if number == rounds else rng.sample(items, _CHECKED_EACH_ROUND)
            for item in looked_at:
                _look(cluster, item)
            tally.reads += len(looked_at)
            if number < rounds:
                _cut(cluster, str(target), writers, rng.uniform(*_LOAD_S))
                tally.rounds += 1
                tally.acks = sum(writer.acks for writer in writers)
                tell(tally.rounds)
    return tally


def _cut(cluster: Served, target: str, writers: list[Writer], load_s: float) -> None:
    """Load the cluster for so long, then take the power from all of it."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=writer.run, args=(cluster.port, stop)) for writer in writers
    ]
    for thread in threads:
        thread.start()
    time.sleep(load_s)
    kernel.shut_down(target)
    stop.set()
    cluster.kill()
    for thread in threads:
        thread.join()


def _look(cluster: Served, item: Item) -> None:
    """The item is there or not as was acknowledged, or as something unanswered made it."""
    reply = cluster.http("GET", f"/v1/blobs/{item.digest}")
    if reply.status not in {200, 404}:
        raise Wrong(f"{item.digest}: {reply.status} {reply.body[:300]!r} with every node there")
    is_there = reply.status == 200
    if is_there is not item.is_there and is_there not in item.unanswered:
        words = "is there" if is_there else "is not there"
        raise Wrong(f"{item.digest} {words}, against what was acknowledged")
    if is_there and reply.body != item.body:
        raise Wrong(f"{item.digest}: {len(reply.body)} wrong bytes")

