"""The file of an index has room ahead of its pages, and is the same index with and without it."""

from __future__ import annotations

import os
from pathlib import Path

from node.index.index import IndexWriter
from node.index.lmdb_index import LmdbHome
from node.posix_disk import PosixDisk
from node.posix_reserve import RESERVE_BYTES_MIN, FileReserve


def put_some(number: int) -> bytes:
    return b"key %d" % number


async def test_there_is_room_behind_the_pages_after_every_commit(tmp_path: Path) -> None:
    disk = PosixDisk(str(tmp_path))
    home = LmdbHome(disk, str(tmp_path))
    data = tmp_path / "index" / "data.mdb"
    for opening in range(3):
        index = (await home.open()).index
        for number in range(opening, 300, 3):

            def work(writer: IndexWriter, number: int = number) -> None:
                writer.put(put_some(number), b"v" * 2000)

            await index.write(work)
        pages_bytes = 2000 * len(range(300)) * (opening + 1) // 3
        assert os.stat(data).st_blocks * 512 >= pages_bytes + RESERVE_BYTES_MIN
        await index.close()
    index = (await home.open()).index
    assert all(index.get(put_some(number)) == b"v" * 2000 for number in range(300))
    await index.close()
    await disk.close()


def test_what_is_allocated_once_is_not_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"x" * 4096)
    reserve = FileReserve(str(path))
    reserve.keep(4096)
    size_bytes = path.stat().st_size
    assert size_bytes >= 4096 + RESERVE_BYTES_MIN
    os.truncate(path, 4096)
    reserve.keep(4096 + RESERVE_BYTES_MIN // 2)
    assert path.stat().st_size == 4096, "there was enough"
    os.truncate(path, size_bytes)
    reserve.keep(size_bytes)
    assert path.stat().st_size > size_bytes


def test_a_file_that_lost_its_end_is_not_filled_up(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"x" * 4096)
    FileReserve(str(path)).keep(8192)
    assert path.stat().st_size == 4096


def test_a_disk_without_room_costs_nothing_but_the_reserve(tmp_path: Path) -> None:
    FileReserve(str(tmp_path / "absent")).keep(4096)
    assert not FileReserve(str(tmp_path)).is_disk_full()
