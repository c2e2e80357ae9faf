"""A page record store after a power cut at any step of its disk.

One load is recorded: at every step that the disk takes, what a power cut would leave there - with
writes that were not synced dropped, torn or in any order - is kept along with what had been
promised by then.  Then each of these states is started from.

HOLDFAST_CRASH_STATES sets how many states each test looks at.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from dataclasses import dataclass
from random import Random

import pytest

from tests.node.recordlog.load import Load, Promise, everything, judge, open_store, values_put_again
from tests.sim.device import DiskFaults
from tests.sim.disk import SimDisk
from tests.sim.loop import run
from tests.sim.platter import DirectoryNode, FileNode, Node, after_power_cut

STATES = int(os.environ.get("HOLDFAST_CRASH_STATES", "300"))

Tree = dict[str, "bytes | Tree"]


@dataclass(slots=True)
class Snapshot:
    """What is found after a power cut, and what had been promised."""

    tree: Tree
    promise: Promise

    def disk(self, seed: int) -> SimDisk:
        root = unpacked(self.tree)
        assert isinstance(root, DirectoryNode)
        return SimDisk(Random(seed), latency_s=0.0, root=root, faults=DiskFaults(warm=0.9))


def packed(node: DirectoryNode) -> Tree:
    return {
        name: packed(below)
        if isinstance(below, DirectoryNode)
        else zlib.compress(bytes(below.content), 1)
        for name, below in node.content.items()
    }


def unpacked(tree: Tree | bytes) -> Node:
    if isinstance(tree, bytes):
        return FileNode(zlib.decompress(tree))
    nodes = {name: unpacked(below) for name, below in tree.items()}
    return DirectoryNode(dict(nodes), dict(nodes))


class Recorder:
    """Keeps what a power cut would leave, at `count` steps of `steps` that the load takes."""

    def __init__(self, disk: SimDisk, load: Load, rng: Random, every: int) -> None:
        self.snapshots: list[Snapshot] = []
        self.steps = 0
        self._disk = disk
        self._load = load
        self._rng = rng
        self._every = every
        disk.trip_after(1, self._step)

    def _step(self) -> None:
        self._disk.trip_after(1, self._step)
        self.steps += 1
        if self.steps % self._every == 0:
            left = after_power_cut(self._disk.root, self._rng)
            self.snapshots.append(Snapshot(packed(left), self._load.promise.copy()))


def recorded(seed: int, operations: int, every: int) -> list[Snapshot]:
    """A load's snapshots; it starts twice, so that one lies behind a start too."""

    async def main() -> list[Snapshot]:
        rng = Random(seed)
        disk = SimDisk(rng, latency_s=0.001)
        load = Load(rng)
        recorder = Recorder(disk, load, Random(seed + 1), every)
        for _ in range(2):
            store = await open_store(disk, seed)
            await load.work(store, operations)
            await judge(store, load.promise)
            await store.close()
        disk.disarm()
        assert not load.refusals
        return recorder.snapshots

    return run(main())


async def start(snapshot: Snapshot, number: int) -> None:
    """Start, cut the power, start again; then the index alone and the log alone agree."""
    disk = snapshot.disk(number)
    store = await open_store(disk, number)
    assert store.had_state or not snapshot.promise.had_state
    await judge(store, snapshot.promise)
    if number % 2:
        disk = disk.crash()
        store = await open_store(disk, number + 1)
        await judge(store, snapshot.promise)
    if number % 10 == 1:
        await asyncio.gather(*values_put_again(store))
    await store.close()
    if number % 5 == 1:
        store = await open_store(disk, number)
        by_index = await everything(store)
        await store.close()
        store = await open_store(disk, number, broken="for this test")
        assert await everything(store) == by_index
        await store.close()


async def start_all(snapshots: list[Snapshot]) -> None:
    for number, snapshot in enumerate(snapshots):
        await start(snapshot, number)


@pytest.mark.parametrize("seed", range(3))
def test_no_power_cut_loses_or_resurrects_anything(seed: int) -> None:
    snapshots = recorded(seed, max(30, STATES // 10), 1)
    stride = max(1, len(snapshots) // STATES)
    chosen = snapshots[seed % stride :: stride]
    for first in range(0, len(chosen), 25):  # a loop each, so that none runs for ever
        run(start_all(chosen[first : first + 25]))
