"""The disk that forgets: what the shared suite does not ask, capacity above all."""

from __future__ import annotations

import pytest

from node.memory_disk import MemoryDisk
from ring.errors import DiskFull, StorageFault
from ring.seams import FileInfo


async def test_what_was_published_is_read_and_listed() -> None:
    disk = MemoryDisk(1000)
    await disk.make_directories("a/b")
    await disk.publish("a/b/x.tmp", "a/b/x", b"data")
    await disk.publish("a/b/x.tmp", "a/b/x", b"newer")

    assert await disk.read("a/b/x") == b"newer" == disk.read_now("a/b/x")
    assert await disk.list_directory("a") == ["b"]
    assert await disk.list_directory("") == ["a"]
    assert await disk.list_directory("a/b") == ["x"]
    assert await disk.info("a/b/x") == FileInfo(5, is_directory=False)
    assert await disk.info("a") == FileInfo(0, is_directory=True)
    assert await disk.info("b") is None


async def test_absent_files_are_told_apart_from_faults() -> None:
    disk = MemoryDisk(1000)
    for attempt in (disk.open("x"), disk.read("x"), disk.rename("x", "y")):
        with pytest.raises(FileNotFoundError):
            await attempt
    with pytest.raises(FileNotFoundError):
        disk.read_now("x")
    with pytest.raises(FileNotFoundError):
        await disk.publish("no/x.tmp", "no/x", b"")
    await disk.unlink("x")
    assert await disk.list_directory("nowhere") == []


async def test_a_temporary_name_that_is_taken_is_a_fault() -> None:
    disk = MemoryDisk(1000)
    await disk.open("x.tmp", create=True)
    with pytest.raises(StorageFault):
        await disk.publish("x.tmp", "x", b"")


async def test_files_are_written_at_any_offset_cut_and_extended() -> None:
    disk = MemoryDisk(1000)
    file = await disk.open("x", create=True)
    await file.write(3, b"abc")
    await file.write(1, b"Z")
    assert await file.read(0, 100) == b"\0Z\0abc" == file.read_now(0, 100)
    await file.truncate(4)
    assert await disk.read("x") == b"\0Z\0a"
    await file.truncate(6)
    assert (await disk.read("x"), await file.size_bytes()) == (b"\0Z\0a\0\0", 6)
    await file.sync()
    await file.close()


async def test_a_full_disk_refuses_and_keeps_what_is_there() -> None:
    disk = MemoryDisk(10)
    await disk.publish("x.tmp", "x", b"12345678")
    assert await disk.free_bytes() == 2
    with pytest.raises(DiskFull):
        await disk.publish("y.tmp", "y", b"123")
    file = await disk.open("x")
    with pytest.raises(DiskFull):
        await file.write(8, b"123")
    with pytest.raises(DiskFull):
        await file.truncate(11)

    assert await disk.list_directory("") == ["x"]
    assert await disk.read("x") == b"12345678"
    await file.write(8, b"12")
    assert await disk.free_bytes() == 0
    await disk.unlink("x")
    assert await disk.free_bytes() == 10
