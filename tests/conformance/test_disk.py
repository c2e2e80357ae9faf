"""What every Disk does: the real one, and the simulated one that stands in for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from node.memory_disk import MemoryDisk
from node.payload_slots import PayloadSlots
from node.posix_disk import PosixDisk
from ring.digest import Buffer
from ring.errors import StorageFault
from ring.limits import GIB
from ring.seams import BLOCK_BYTES, Disk, FileInfo
from tests.fakes.faulty_disk import FaultyDisk
from tests.sim.disk import SimDisk


@asynccontextmanager
async def real_disk(path: Path) -> AsyncIterator[Disk]:
    disk = PosixDisk(str(path / "root"), threads=4)
    yield disk
    await disk.close()


@asynccontextmanager
async def simulated_disk(path: Path) -> AsyncIterator[Disk]:
    yield SimDisk(Random(0), latency_s=0)


@asynccontextmanager
async def faulty_disk_without_a_fault(path: Path) -> AsyncIterator[Disk]:
    async with real_disk(path) as disk:
        yield FaultyDisk(disk)


@asynccontextmanager
async def disk_in_memory(path: Path) -> AsyncIterator[Disk]:
    yield MemoryDisk(GIB)


DISKS: list[Callable[[Path], AbstractAsyncContextManager[Disk]]] = [
    real_disk,
    simulated_disk,
    disk_in_memory,
    faulty_disk_without_a_fault,
]


@pytest.fixture(params=DISKS, ids=lambda make: make.__name__)
async def disk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Disk]:
    async with request.param(tmp_path) as disk:
        yield disk


async def test_what_was_published_is_read(disk: Disk) -> None:
    await disk.make_directories("a/b")
    contents: list[Buffer] = [b"", b"x", bytearray(b"yy"), memoryview(b"z" * 100_000)]
    for number, data in enumerate(contents):
        await disk.publish(f"a/{number}.tmp", f"a/b/{number}", data)
        await disk.sync_directory("a/b")

        assert await disk.read(f"a/b/{number}") == bytes(data)
        assert await disk.info(f"a/b/{number}") == FileInfo(len(data), is_directory=False)
    assert await disk.list_directory("a") == ["b"]
    assert await disk.list_directory("a/b") == ["0", "1", "2", "3"]


async def test_publishing_replaces_what_was_there(disk: Disk) -> None:
    await disk.publish("t1", "file", b"old")
    for _ in range(3):
        await disk.read("file")
        disk.read_now("file")
    await disk.publish("t2", "file", b"new")

    assert await disk.read("file") == b"new"
    assert disk.read_now("file") in {b"new", None}


async def test_reading_now_gives_the_content_or_nothing(disk: Disk) -> None:
    await disk.publish("t", "small", b"content")
    await disk.publish("t", "large", bytes(100_000))
    seen = set()
    for _ in range(50):
        await disk.read("small")
        await disk.read("large")
        seen.add(disk.read_now("small"))
        assert disk.read_now("large") is None

    assert b"content" in seen
    assert seen <= {b"content", None}


async def test_a_temporary_name_that_is_taken_is_refused(disk: Disk) -> None:
    await disk.publish("t", "taken", b"content")

    with pytest.raises(StorageFault):
        await disk.publish("taken", "file", b"other")

    assert await disk.read("taken") == b"content"
    assert await disk.info("file") is None


async def test_publishing_into_an_absent_directory_is_refused(disk: Disk) -> None:
    with pytest.raises(FileNotFoundError):
        await disk.publish("absent/t", "file", b"content")
    with pytest.raises(FileNotFoundError):
        await disk.publish("t", "absent/file", b"content")

    assert await disk.info("file") is None


async def test_publishing_over_a_directory_is_a_fault(disk: Disk) -> None:
    await disk.make_directories("directory")

    with pytest.raises(StorageFault):
        await disk.publish("t", "directory", b"content")

    assert await disk.info("directory") == FileInfo(
        (await _info(disk, "directory")).size_bytes, is_directory=True
    )


async def test_what_is_absent_says_so(disk: Disk) -> None:
    with pytest.raises(FileNotFoundError):
        await disk.read("absent")
    with pytest.raises(FileNotFoundError):
        await disk.open("absent")
    with pytest.raises(FileNotFoundError):
        await disk.open("absent/file", create=True)
    with pytest.raises(FileNotFoundError):
        await disk.rename("absent", "file")
    with pytest.raises(FileNotFoundError):
        await disk.sync_directory("absent")

    assert await disk.info("absent") is None
    assert await disk.info("absent/below") is None
    assert await disk.list_directory("absent") == []
    await disk.unlink("absent")
    await disk.unlink("absent/below")


async def test_a_directory_is_no_file_and_a_file_no_directory(disk: Disk) -> None:
    await disk.make_directories("directory")
    await disk.publish("t", "file", b"content")

    for attempt in (
        disk.read("directory"),
        disk.open("directory"),
        disk.unlink("directory"),
        disk.make_directories("file"),
        disk.make_directories("file/below"),
        disk.list_directory("file"),
        disk.sync_directory("file"),
    ):
        with pytest.raises(StorageFault):
            await attempt
    assert await disk.list_directory("directory") == []
    assert await disk.read("file") == b"content"


async def test_renaming_moves_and_replaces(disk: Disk) -> None:
    await disk.make_directories("a")
    await disk.make_directories("b")
    await disk.publish("t", "a/one", b"one")
    await disk.publish("t", "b/two", b"two")
    await disk.read("b/two")

    await disk.rename("a/one", "b/two")

    assert await disk.info("a/one") is None
    assert await disk.read("b/two") == b"one"
    assert disk.read_now("b/two") in {b"one", None}


async def test_an_unlinked_file_is_gone(disk: Disk) -> None:
    await disk.publish("t", "file", b"content")
    await disk.read("file")

    await disk.unlink("file")

    assert await disk.info("file") is None
    with pytest.raises(FileNotFoundError):
        await disk.read("file")


async def test_making_directories_again_is_fine(disk: Disk) -> None:
    await disk.make_directories("a/b/c")
    await disk.make_directories("a/b/c")
    await disk.make_directories("a/b")

    assert (await _info(disk, "a/b/c")).is_directory
    assert await disk.list_directory("") == ["a"]


async def test_a_file_is_written_at_offsets(disk: Disk) -> None:
    file = await disk.open("file", create=True)
    assert await file.size_bytes() == 0
    assert await file.read(0, 10) == b""

    await file.write(4, b"later")
    await file.write(0, memoryview(b"soon"))
    await file.sync()

    assert await file.size_bytes() == 9
    assert await file.read(0, 100) == b"soonlater"
    assert await file.read(4, 2) == b"la"
    assert await file.read(9, 1) == b""
    assert file.read_now(4, 2) in {b"la", None}
    assert file.read_now(8, 100) in {b"r", None}
    await file.truncate(4)
    assert await file.read(0, 100) == b"soon"
    await file.truncate(6)
    assert await file.read(0, 100) == b"soon\0\0"
    await file.close()
    assert await disk.read("file") == b"soon\0\0"


async def test_opening_again_sees_the_same_file(disk: Disk) -> None:
    one = await disk.open("file", create=True)
    other = await disk.open("file", create=True)
    await one.write(0, b"content")

    assert await other.read(0, 100) == b"content"
    await one.close()
    await other.close()


async def test_an_open_file_outlives_its_name(disk: Disk) -> None:
    file = await disk.open("file", create=True)
    await file.write(0, b"content")

    await disk.rename("file", "elsewhere")
    assert await file.read(0, 100) == b"content"
    await disk.unlink("elsewhere")
    assert await file.read(0, 100) == b"content"
    await file.close()


async def test_a_closed_file_is_of_no_more_use(disk: Disk) -> None:
    file = await disk.open("file", create=True)
    await file.close()
    await file.close()

    for attempt in (
        lambda: file.read(0, 1),
        lambda: file.write(0, b"x"),
        file.sync,
        file.size_bytes,
        lambda: file.truncate(0),
    ):
        with pytest.raises(StorageFault):
            await attempt()
    with pytest.raises(StorageFault):
        file.read_now(0, 1)


async def test_many_files_at_once(disk: Disk) -> None:
    await disk.make_directories("many")

    await asyncio.gather(
        *(disk.publish(f"{number}.tmp", f"many/{number}", b"%d" % number) for number in range(99))
    )
    contents = await asyncio.gather(*(disk.read(f"many/{number}") for number in range(99)))

    assert contents == [b"%d" % number for number in range(99)]
    assert len(await disk.list_directory("many")) == 99
    assert await disk.list_directory("") == ["many"]


async def test_a_path_never_leaves_the_root(disk: Disk) -> None:
    for path in ("../file", "a/../../file", "/etc/passwd"):
        with pytest.raises(AssertionError):
            await disk.read(path)


async def test_there_is_room(disk: Disk) -> None:
    assert await disk.free_bytes() > 0


async def _info(disk: Disk, path: str) -> FileInfo:
    info = await disk.info(path)
    assert info is not None
    return info


@pytest.mark.parametrize("direct", [False, True], ids=["cached", "direct"])
async def test_pieces_are_written_in_a_row(disk: Disk, direct: bool) -> None:
    file = await disk.open("file", create=True, direct=direct)
    large = PayloadSlots().take(3 * BLOCK_BYTES + 128 * 1024 + 7)
    large[:] = bytes(number % 251 for number in range(len(large)))
    tail = bytes(-(len(large) + 5) % BLOCK_BYTES)
    for pieces in ((b"x" * BLOCK_BYTES, large, b"tail!", tail), (b"12345", bytes(large), tail)):
        content = b"".join(pieces)
        await file.write(BLOCK_BYTES, *pieces)
        await file.sync()
        assert await disk.read("file") == bytes(BLOCK_BYTES) + content
        await file.write_durably(0, *pieces)
        assert (await disk.read("file"))[: len(content)] == content
        await file.truncate(0)
    await file.close()


async def test_allocated_room_is_zeros_and_nothing_is_cut(disk: Disk) -> None:
    file = await disk.open("file", create=True)
    await file.write(0, b"abc")
    await file.allocate(5000)
    assert await file.read(0, 9999) == b"abc" + bytes(4997)
    await file.allocate(100)
    assert await file.size_bytes() == 5000
    await file.close()
