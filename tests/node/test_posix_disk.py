"""What only the real disk does: permissions, links, descriptors, reads without waiting, spans."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from node.file_span import SpanDisk
from node.posix_disk import PosixDisk
from node.posix_file import fault
from ring.errors import DiskFull, StorageFault
from ring.limits import CHUNK_BYTES, PAYLOAD_SMALL_BYTES_MAX


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[PosixDisk]:
    disk = PosixDisk(str(tmp_path / "deep" / "root"), threads=3)
    yield disk
    await disk.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "root"


@pytest.fixture
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


async def read_soon(disk: PosixDisk, path: str) -> bytes | None:
    """What `read_now` says; the kernel is free to say now and then that it would have to wait."""
    for _ in range(100):
        content = disk.read_now(path)
        if content is not None:
            return content
        await disk.read(path)
    return None


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.usefixtures("_no_umask")
async def test_files_and_directories_are_the_owners_alone(tmp_path: Path) -> None:
    disk = PosixDisk(str(tmp_path / "root"), threads=1)
    await disk.make_directories("a/b")
    await disk.publish("a/t", "a/b/published", b"content")
    await (await disk.open("a/opened", create=True)).close()
    await disk.close()

    assert (tmp_path / "root").stat().st_mode & 0o7777 == 0o700
    for path in (tmp_path / "root").rglob("*"):
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600), path


async def test_a_symbolic_link_is_not_followed(disk: PosixDisk, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "dangling").symlink_to(tmp_path / "nothing")

    for attempt in (
        disk.read("link"),
        disk.open("link"),
        disk.open("dangling", create=True),
        disk.span("link"),
        disk.publish("link", "file", b"x"),
        disk.make_directories("link"),
    ):
        with pytest.raises(StorageFault):
            await attempt
    await disk.publish("t", "link", b"content")
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert not (tmp_path / "nothing").exists()
    assert await disk.read("link") == b"content"


async def test_a_pipe_is_no_file_and_blocks_nobody(disk: PosixDisk, root: Path) -> None:
    os.mkfifo(root / "pipe")

    for attempt in (disk.read("pipe"), disk.open("pipe")):
        with pytest.raises(StorageFault):
            await asyncio.wait_for(attempt, 5)


async def test_what_was_read_once_is_read_now(disk: PosixDisk) -> None:
    await disk.publish("t", "small", b"s" * PAYLOAD_SMALL_BYTES_MAX)
    await disk.publish("t", "empty", b"")
    await disk.publish("t", "large", b"l" * (PAYLOAD_SMALL_BYTES_MAX + 1))
    assert disk.read_now("small") is None
    for name in ("small", "empty", "large"):
        await disk.read(name)

    assert await read_soon(disk, "small") == b"s" * PAYLOAD_SMALL_BYTES_MAX
    assert await read_soon(disk, "empty") == b""
    assert disk.read_now("large") is None
    assert disk.read_now("absent") is None


async def test_bytes_changed_behind_our_back_are_seen(disk: PosixDisk, root: Path) -> None:
    await disk.publish("t", "file", b"content")
    await disk.read("file")
    with (root / "file").open("r+b") as file:
        file.seek(3)
        file.write(b"T")

    assert await read_soon(disk, "file") == b"conTent"
    (root / "file").write_bytes(b"other length")
    assert disk.read_now("file") is None
    assert await disk.read("file") == b"other length"
    assert disk.read_now("file") is None or disk.read_now("file") == b"other length"


async def test_a_read_that_overlaps_a_change_is_not_remembered(disk: PosixDisk) -> None:
    for number in range(50):
        await disk.publish("t", "file", b"%d" % number)
        reading = [asyncio.ensure_future(disk.read("file")) for _ in range(3)]
        await disk.publish("t", "file", b"new %d" % number)
        await asyncio.gather(*reading)
        await asyncio.sleep(0)

        assert disk.read_now("file") in {None, b"new %d" % number}


async def test_few_descriptors_are_kept_open(tmp_path: Path) -> None:
    before = open_descriptors()
    disk = PosixDisk(str(tmp_path / "root"), threads=2, open_files=5)
    for number in range(40):
        await disk.publish("t", str(number), b"%d" % number)
    idle = open_descriptors()

    for number in range(40):
        await disk.read(str(number))
        await disk.read(str(number))
    await disk.info("0")

    assert open_descriptors() <= idle + 5 + 2  # those being closed by two threads
    assert disk.read_now("0") is None
    assert await read_soon(disk, "39") == b"39"
    await disk.close()
    assert open_descriptors() == before


async def test_no_descriptor_is_lost_with_an_abandoned_call(tmp_path: Path) -> None:
    before = open_descriptors()
    disk = PosixDisk(str(tmp_path / "root"), threads=2)
    await disk.publish("t", "file", b"content")
    for delay in range(3):
        reading = asyncio.ensure_future(disk.read("file"))
        opening = asyncio.ensure_future(disk.open("file"))
        spanning = asyncio.ensure_future(disk.span("file"))
        for _ in range(delay):
            await asyncio.sleep(0)
        for task in (reading, opening, spanning):
            task.cancel()
        await asyncio.gather(reading, opening, spanning, return_exceptions=True)
        if not opening.cancelled():
            await opening.result().close()
        if not spanning.cancelled():
            spanning.result().close()
    await disk.close()

    assert open_descriptors() == before


async def test_no_descriptor_is_lost_when_the_call_is_abandoned_as_it_ends(
    disk: PosixDisk, root: Path
) -> None:
    """The file is open, and the task that waits for it has not had its turn yet."""
    (root / "file").write_bytes(b"x")
    loop = asyncio.get_running_loop()
    before = open_descriptors()
    for opening in (lambda: disk.open("file"), lambda: disk.span("file")):
        task: asyncio.Task[object] = asyncio.create_task(opening())
        await asyncio.sleep(0)
        while open_descriptors() == before:  # the loop stands still: nothing is reported meanwhile
            assert not task.done()
        loop.call_soon_threadsafe(task.cancel)
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10):
            while open_descriptors() != before:
                await asyncio.sleep(0.001)


async def test_a_file_that_was_closed_while_in_use_is_closed_afterwards(disk: PosixDisk) -> None:
    before = open_descriptors()
    file = await disk.open("file", create=True)
    writing = asyncio.ensure_future(file.write(0, bytes(CHUNK_BYTES)))
    await asyncio.sleep(0)
    await file.close()
    await writing
    await disk.free_bytes()

    assert await disk.read("file") == bytes(CHUNK_BYTES)
    assert open_descriptors() <= before + 1
    with pytest.raises(StorageFault):
        await file.sync()


async def test_a_closed_disk_is_a_fault(tmp_path: Path) -> None:
    disk = PosixDisk(str(tmp_path / "root"), threads=1)
    file = await disk.open("file", create=True)
    await disk.close()
    await disk.close()

    for attempt in (disk.read("file"), disk.publish("t", "f", b""), disk.info(""), file.sync()):
        with pytest.raises(StorageFault):
            await attempt
    await file.close()


async def test_a_root_that_is_no_directory_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageFault):
        PosixDisk(str(tmp_path / "file"))
    with pytest.raises(StorageFault):
        PosixDisk(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EIO, StorageFault),
        (errno.EROFS, StorageFault),
        (errno.EMFILE, StorageFault),
    ],
)
def test_the_systems_errors_become_ours_in_words(number: int, expected: type[Exception]) -> None:
    error = fault("write", "some/file", OSError(number, os.strerror(number)))

    assert type(error) is expected
    assert error.detail == f"write some/file: {os.strerror(number)}"


async def test_sizes_of_a_directory_come_in_one_call(disk: PosixDisk, root: Path) -> None:
    await disk.make_directories("d/below")
    await disk.publish("t", "d/b", b"12")
    await disk.publish("t", "d/a", b"1")
    (root / "d" / "link").symlink_to("a")

    assert await disk.list_sizes("d") == [("a", 1), ("b", 2)]
    assert await disk.list_sizes("absent") == []


async def test_a_span_reaches_a_socket(disk: PosixDisk) -> None:
    assert isinstance(disk, SpanDisk)
    content = os.urandom(CHUNK_BYTES)
    await disk.publish("t", "file", content)
    span = await disk.span("file")
    await disk.unlink("file")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        received = bytearray()
        full = 0
        while len(received) < span.size_bytes:
            sent = span.send(ours.fileno(), len(received), span.size_bytes - len(received))
            full += not span.send(ours.fileno(), 0, 0) and not sent
            received += theirs.recv(sent, socket.MSG_WAITALL) if sent else b""
        assert bytes(received) == content
        span.close()
        span.close()
        with pytest.raises(StorageFault):
            span.send(ours.fileno(), 0, 1)


async def test_a_span_says_when_the_socket_is_full_or_broken(disk: PosixDisk) -> None:
    await disk.publish("t", "file", bytes(CHUNK_BYTES))
    span = await disk.span("file")
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        while span.send(ours.fileno(), 0, CHUNK_BYTES):
            pass
        theirs.close()
        with pytest.raises(ConnectionError):
            span.send(ours.fileno(), 0, CHUNK_BYTES)
    span.close()


async def test_a_span_of_a_file_that_was_cut_is_a_fault(disk: PosixDisk, root: Path) -> None:
    await disk.publish("t", "file", b"content")
    span = await disk.span("file")
    os.truncate(root / "file", 3)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert span.send(ours.fileno(), 0, 7) == 3
        with pytest.raises(StorageFault):
            span.send(ours.fileno(), 3, 4)
    span.close()


async def test_a_file_whose_sync_failed_is_not_synced_again(disk: PosixDisk) -> None:
    file = await disk.open("file", create=True)
    number, size_bytes = os.pipe()  # its sync fails with EINVAL
    os.dup2(number, file._descriptor.number)  # noqa: SLF001 - a sync cannot be made to fail else
    os.close(number)
    os.close(size_bytes)

    with pytest.raises(StorageFault, match="sync file"):
        await file.sync()
    with pytest.raises(StorageFault, match="not tried again"):
        await file.sync()
    await file.close()
