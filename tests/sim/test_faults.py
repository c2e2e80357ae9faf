"""What the world does to disks and processes, one fault at a time."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from ring.errors import StorageFault
from tests.sim.coverage import KINDS, SEEDS_ENOUGH, Coverage
from tests.sim.device import Strike
from tests.sim.disk import SimDisk
from tests.sim.history import Verdict
from tests.sim.loop import SimLoop, owner, run
from tests.sim.options import Options, Weather
from tests.sim.platter import FileNode
from tests.sim.scenario import Story, play

CALM = Options(weather=Weather.CALM, digests=1, clients=1)


async def _written(disk: SimDisk, path: str, data: bytes) -> None:
    await disk.publish("temporary", path, data)
    await disk.sync_directory("")


def _contents(disk: SimDisk) -> dict[str, bytes]:
    return {path: bytes(file.content) for path, file in disk.files()}


def test_a_disk_that_hangs_answers_once_it_is_well() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0))
        await _written(disk, "file", b"content")
        disk.faults.hang()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await disk.read("file")
        reading = asyncio.ensure_future(disk.read("file"))
        await asyncio.sleep(1)
        disk.faults.recover()
        assert await reading == b"content"

    run(main())


def test_a_single_error_is_a_single_one() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0))
        await _written(disk, "file", b"content")
        disk.faults.read_error_rate, disk.faults.errors_left = 1.0, 1
        with pytest.raises(StorageFault):
            await disk.read("file")
        assert await disk.read("file") == b"content"

    run(main())


def test_a_strike_hits_one_write_and_nobody_is_told() -> None:
    async def main() -> None:
        def hit(node: FileNode, offset: int, data: bytes) -> None:
            node.write(offset, bytes(len(data)))

        disk = SimDisk(Random(0))
        disk.faults.strike = Strike(lambda path: path == "first", hit)
        await _written(disk, "first", b"content")
        await _written(disk, "second", b"content")
        assert disk.content("first") == bytes(7)
        assert disk.content("second") == b"content"

    run(main())


def test_a_disk_that_is_rolled_back_holds_what_was_durable_then() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0))
        await _written(disk, "file", b"old")
        file = await disk.open("file")
        await file.write(0, b"not synced")
        snapshot = disk.snapshot()
        await file.sync()
        await _written(disk, "later", b"content")
        disk = disk.roll_back(snapshot)
        assert [path for path, _ in disk.files()] == ["file"]
        assert disk.content("file") == b"old"

    run(main())


def test_what_a_process_would_do_can_be_taken_and_given_back() -> None:
    async def main() -> None:
        done: list[str] = []

        async def work(name: str) -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                done.append(name)

        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        process = object()
        owner.set(process)
        theirs = loop.create_task(work("theirs"))
        owner.set(None)
        ours = loop.create_task(work("ours"))
        await asyncio.sleep(1.5)
        taken = loop.take(process)
        await ours
        assert done.count("theirs") == 1
        loop.give_back(taken)
        await theirs
        assert done.count("theirs") == 3

    run(main())


def test_a_frozen_node_says_nothing_and_goes_on_afterwards() -> None:
    async def story(cluster: Story) -> None:
        machine = cluster.machine(cluster.nodes[0])
        machine.freeze()
        before = _contents(machine.disk)
        assert await cluster.put() is Verdict.DONE
        assert await cluster.get() is Verdict.PRESENT
        await asyncio.sleep(30)
        assert _contents(machine.disk) == before
        machine.thaw()
        await asyncio.sleep(5)
        assert await cluster.delete() is Verdict.DONE

    play(story, options=CALM)


def test_a_loss_that_is_taken_back_leaves_the_one_before_it() -> None:
    async def story(cluster: Story) -> None:
        budget, (one, other, *_) = cluster.world.budget, cluster.nodes
        machine = cluster.machine(one)
        budget.lose(one)
        budget.regain(one)
        assert budget.may_lose(other)
        machine.cut_power()
        machine.wipe()
        budget.lose(one)
        budget.lose(one)
        budget.regain(one)
        assert not budget.may_lose(other)
        machine.start()
        await asyncio.sleep(30)
        assert budget.may_lose(other), "it votes again"

    play(story, options=CALM)


def test_kinds_that_never_happened_are_told_in_a_long_run_alone() -> None:
    short, long = Coverage(), Coverage()
    short.add(1.0, {}, {})
    for _ in range(SEEDS_ENOUGH):
        long.add(1.0, dict.fromkeys(KINDS[1:], 1), {})

    assert not short.holes
    assert long.holes == [KINDS[0]]
