"""The real directory: the lock (H20), and file systems that have less than one would like."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from node.pages.page_store import PageStore
from node.pages.posix_directory import LOCK_WAIT_S, PosixDirectory
from ring.errors import BadRequest, Busy, Corrupt, StorageFault
from tests.node.pages.frames import PAGE, guid, image, is_at, put
from tests.node.pages.real_stores import made, opened

HOLDER = """
import sys
from node.pages.page_store import PageStore
store = PageStore.open(sys.argv[1], 8192, read_only=sys.argv[2] == "reader")
print("held", flush=True)
sys.stdin.read()
"""


def impatient(folder: Path, *, read_only: bool = False) -> PageStore:
    directory = PosixDirectory(str(folder), create=False, lock_wait_s=0.05)
    return PageStore(directory, page_size=PAGE, read_only=read_only)


def holding(folder: Path, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_h20_a_second_writer_is_refused_and_let_in_after_the_first(folder: Path) -> None:
    first = opened(folder)
    for read_only in (False, True):
        with pytest.raises(Busy, match=f"process {os.getpid()}: one writer or any"):
            impatient(folder, read_only=read_only)
    put(first, 1, 1)
    first.flush()
    first.close()

    second = impatient(folder)
    assert is_at(second, 1, 1)
    second.close()


def test_h20_another_process_is_named_in_the_refusal(folder: Path) -> None:
    made(folder)
    process = holding(folder, "writer")
    with pytest.raises(Busy, match=rf"{folder} is in use, last written by process {process.pid}:"):
        impatient(folder)
    process.communicate("")

    impatient(folder).close()


def test_h20_an_opening_waits_for_its_turn(folder: Path) -> None:
    assert LOCK_WAIT_S == 5
    first = opened(folder)
    with ThreadPoolExecutor(1) as thread:
        second = thread.submit(opened, folder)
        with suppress(TimeoutError):
            second.result(0.05)
        assert not second.done()
        first.close()
        second.result().close()


def test_h20_a_killed_writer_leaves_no_lock(folder: Path) -> None:
    process = holding(folder, "writer")
    process.kill()
    process.communicate()

    impatient(folder).close()


def test_h20_several_readers_share_and_keep_the_writer_out(folder: Path) -> None:
    made(folder)
    process = holding(folder, "reader")
    readers = [impatient(folder, read_only=True) for _ in range(3)]

    assert all(is_at(reader, 1, 1) for reader in readers)
    with pytest.raises(Busy):
        impatient(folder)
    process.communicate("")
    for reader in readers:
        reader.close()
    impatient(folder).close()


def test_h20_an_opening_that_fails_leaves_no_lock(folder: Path) -> None:
    made(folder)
    bad = folder / "manifest.bin"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-1])
    with pytest.raises(Corrupt):
        impatient(folder)
    bad.write_bytes(whole)

    impatient(folder).close()


def refusing(error: int, when: Callable[[int], bool]) -> Callable[[str, int, int], int]:
    """os.open that fails for some flags."""

    def opener(path: str, flags: int, mode: int) -> int:
        if when(flags):
            raise OSError(error, os.strerror(error))
        return os.open(path, flags, mode)

    return opener


def test_without_direct_io_the_page_cache_is_used_and_the_log_says_so(folder: Path) -> None:
    opener = refusing(errno.EINVAL, lambda flags: bool(flags & os.O_DIRECT))
    with structlog.testing.capture_logs() as logs:
        store = PageStore(PosixDirectory(str(folder), create=True, opener=opener), page_size=PAGE)

    assert [entry["event"] for entry in logs] == [
        "no direct I/O on this file system, the page cache is used"
    ]
    assert not store.stats().direct
    for number in range(10):
        put(store, number, 1)
    store.flush()
    store.close()
    store = opened(folder)
    assert store.stats().direct
    assert all(is_at(store, number, 1) for number in range(10))
    store.close()


def test_another_error_of_opening_is_no_reason_for_the_page_cache(folder: Path) -> None:
    opener = refusing(errno.EIO, lambda flags: bool(flags & os.O_DIRECT))

    with pytest.raises(StorageFault, match=r"open .*blobs\.dat: Input/output error"):
        PageStore(PosixDirectory(str(folder), create=True, opener=opener), page_size=PAGE)


def test_a_file_goes_on_through_a_new_descriptor(folder: Path) -> None:
    directory = PosixDirectory(str(folder), create=True)
    file = directory.open("a", create=True, direct=True)
    assert file.direct
    number = len(os.listdir("/proc/self/fd"))
    file.allocate(2 * PAGE)
    store = PageStore(PosixDirectory(str(folder / "store"), create=True), page_size=PAGE)
    buffer = store.alloc_blob_buf_zeroed()
    buffer[:] = image(1, 1)
    file.write(buffer, PAGE)

    file.reopen()
    file.sync()

    assert file.read(buffer, 0) == PAGE
    assert not any(buffer)
    assert file.read(buffer, PAGE) == PAGE
    assert bytes(buffer) == image(1, 1)
    assert file.read(buffer, 2 * PAGE) == 0
    file.close()
    store.close()
    assert len(os.listdir("/proc/self/fd")) == number - 1


def test_no_descriptor_is_left_open(folder: Path) -> None:
    made(folder)
    before = len(os.listdir("/proc/self/fd"))
    for read_only in (True, False):
        store = opened(folder, read_only=read_only)
        assert is_at(store, 1, 1)
        store.close()
    with pytest.raises(BadRequest, match="pages of"):
        PageStore.open(str(folder), 2 * PAGE)

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_hole_is_punched_and_reads_as_zeros(folder: Path) -> None:
    store = opened(folder)
    for number in range(64):
        put(store, number, 1)
    store.flush()
    for number in range(63):
        store.delete_blob(guid(number))
    store.flush()
    store.close()
    file = PosixDirectory(str(folder), create=False).open("blobs.dat", direct=True)
    used = (folder / "blobs.dat").stat().st_blocks
    file.punch(0, 63 * PAGE)
    file.close()

    assert (folder / "blobs.dat").stat().st_blocks < used
    assert not any((folder / "blobs.dat").read_bytes()[: 63 * PAGE])
    store = opened(folder)
    assert is_at(store, 63, 1)
    store.close()
