"""What only the simulated disk does: power cuts, rot, faults, and time inside an operation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from ring.errors import DiskFull, StorageFault
from tests.sim.disk import SimDisk
from tests.sim.loop import run

CUTS = 200


async def _write(disk: SimDisk, path: str, data: bytes) -> None:
    file = await disk.open(path, create=True)
    await file.truncate(0)
    await file.write(0, data)
    await file.sync()
    await file.close()


def _after_cuts(
    prepare: Callable[[SimDisk], Coroutine[Any, Any, None]], path: str
) -> set[bytes | None]:
    """Everything that power cuts may leave at `path` after `prepare`."""

    async def one(seed: int) -> bytes | None:
        disk = SimDisk(Random(seed))
        await prepare(disk)
        try:
            return disk.crash().content(path)
        except FileNotFoundError:
            return None

    return {run(one(seed)) for seed in range(CUTS)}


def test_synced_content_under_a_synced_name_survives_every_cut() -> None:
    async def prepare(disk: SimDisk) -> None:
        await disk.make_directories("a/b")
        await disk.publish("a/b/temporary", "a/b/file", b"content")
        await disk.sync_directory("a/b")

    assert _after_cuts(prepare, "a/b/file") == {b"content"}


def test_without_a_directory_sync_a_file_may_be_gone() -> None:
    async def prepare(disk: SimDisk) -> None:
        await disk.publish("temporary", "file", b"content")

    assert _after_cuts(prepare, "file") == {b"content", None}


def test_without_a_file_sync_the_content_may_be_gone_or_zeros() -> None:
    async def prepare(disk: SimDisk) -> None:
        file = await disk.open("file", create=True)
        await disk.sync_directory("")
        await file.write(0, b"content")

    assert _after_cuts(prepare, "file") == {b"content", b"", bytes(7)}


def test_unsynced_writes_survive_each_by_itself() -> None:
    async def prepare(disk: SimDisk) -> None:
        await _write(disk, "file", b"....")
        await disk.sync_directory("")
        file = await disk.open("file")
        await file.write(0, b"A")
        await file.write(2, b"B")

    assert {b"....", b"A...", b"..B.", b"A.B."} <= _after_cuts(prepare, "file")


def test_a_sync_does_not_cover_what_is_written_while_it_runs() -> None:
    async def prepare(disk: SimDisk) -> None:
        await _write(disk, "file", b"")
        await disk.sync_directory("")
        file = await disk.open("file")
        await file.write(0, b"A")
        sync = asyncio.create_task(file.sync())
        await asyncio.sleep(0)
        await file.write(1, b"B")
        await sync

    left = _after_cuts(prepare, "file")

    assert {b"A", b"AB"} <= left
    assert all(content is not None and content.startswith(b"A") for content in left)


def test_a_rename_that_no_directory_sync_followed_leaves_the_old_or_the_new() -> None:
    async def prepare(disk: SimDisk) -> None:
        await _write(disk, "file", b"old")
        await disk.sync_directory("")
        await disk.publish("temporary", "file", b"new")

    assert _after_cuts(prepare, "file") == {b"old", b"new"}


def test_a_rename_never_loses_both_names() -> None:
    async def one(seed: int) -> int:
        disk = SimDisk(Random(seed))
        await disk.make_directories("a")
        await disk.make_directories("b")
        await disk.publish("a/temporary", "a/file", b"content")
        await disk.sync_directory("a")
        await disk.rename("a/file", "b/file")
        return len(list(disk.crash().files()))

    assert {run(one(seed)) for seed in range(CUTS)} == {1, 2}


def test_a_cut_may_fall_between_the_steps_of_publish() -> None:
    async def one(seed: int) -> tuple[str, ...]:
        rng = Random(seed)
        disk = SimDisk(rng)
        publish = asyncio.create_task(disk.publish("temporary", "file", b"content"))
        await asyncio.sleep(rng.uniform(0, 0.01))
        after = disk.crash()
        publish.cancel()
        return tuple(path for path, _ in after.files())

    assert {run(one(seed)) for seed in range(CUTS)} == {
        (),
        ("temporary",),
        ("file",),
        ("file", "temporary"),
    }


def test_what_waits_for_a_disk_that_crashed_waits_for_ever() -> None:
    async def main() -> bool:
        disk = SimDisk(Random(1))
        write = asyncio.create_task(disk.publish("temporary", "file", b"content"))
        await asyncio.sleep(0)
        disk.crash()
        late = asyncio.create_task(disk.read("file"))
        await asyncio.sleep(1000)
        return write.done() or late.done()

    assert not run(main())


def test_a_killed_process_leaves_everything_that_it_did() -> None:
    async def main() -> bytes:
        disk = SimDisk(Random(1))
        file = await disk.open("file", create=True)
        await file.write(0, b"content")
        return disk.kill().content("file")

    assert run(main()) == b"content"


def test_a_cancelled_operation_may_happen_all_the_same() -> None:
    async def one(seed: int) -> int:
        disk = SimDisk(Random(seed))
        publish = asyncio.create_task(disk.publish("temporary", "file", b"content"))
        await asyncio.sleep(0)
        publish.cancel()
        await asyncio.sleep(1)
        return len(list(disk.files()))

    assert {run(one(seed)) for seed in range(20)} == {0, 1}


def test_rot_changes_what_is_read_and_what_is_stored() -> None:
    async def prepare(disk: SimDisk) -> None:
        await _write(disk, "file", b"AB")
        await disk.sync_directory("")
        disk.flip("file", 8)
        assert await disk.read("file") == b"AC"

    assert _after_cuts(prepare, "file") == {b"AC"}


def test_a_full_disk_refuses_bytes_and_still_forgets() -> None:
    async def main() -> None:
        disk = SimDisk(Random(1))
        await _write(disk, "file", b"content")
        disk.faults.full = True
        with pytest.raises(DiskFull):
            await disk.publish("temporary", "other", b"content")
        await disk.unlink("file")
        assert await disk.free_bytes() == 0
        assert await disk.info("file") is None

    run(main())


def test_after_a_failed_sync_the_next_one_promises_nothing() -> None:
    async def prepare(disk: SimDisk) -> None:
        await _write(disk, "file", b"")
        await disk.sync_directory("")
        file = await disk.open("file")
        await file.write(0, b"content")
        disk.faults.sync_error_rate = 1.0
        with pytest.raises(StorageFault):
            await file.sync()
        disk.faults.sync_error_rate = 0.0
        await file.sync()

    assert _after_cuts(prepare, "file") == {b"content", b""}
