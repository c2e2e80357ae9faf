"""An index is read into the system's cache after a start."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from node.index.index import IndexWriter
from node.index.lmdb_index import LmdbHome
from node.posix_disk import PosixDisk
from node.posix_page_cache import STEP_BYTES, read_step
from ring.errors import StorageFault


def cached_steps(path: Path) -> list[bool]:
    """For each step of a file whether it begins with what is in the cache."""
    found = []
    descriptor = os.open(path, os.O_RDONLY)
    for offset in range(0, path.stat().st_size, STEP_BYTES):
        try:
            os.preadv(descriptor, [bytearray(4096)], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            found.append(False)
        else:
            found.append(True)
    os.close(descriptor)
    return found


def put_large(number: int, writer: IndexWriter) -> None:
    writer.put(b"%d" % number, bytes((number,)) * STEP_BYTES)


async def test_everything_is_there_after_warming(tmp_path: Path) -> None:
    disk = PosixDisk(str(tmp_path), threads=2)
    index = (await LmdbHome(disk, str(tmp_path)).open()).index
    for number in range(3):
        await index.write(partial(put_large, number))
    path = tmp_path / "index" / "data.mdb"
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # as far as that is possible
    os.close(descriptor)

    await index.warm()

    steps = cached_steps(path)
    assert len(steps) > 2
    assert all(steps)
    await index.close()
    with pytest.raises(StorageFault):
        await index.warm()
    await disk.close()


def test_a_step_says_whether_there_was_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(STEP_BYTES + 1))

    assert read_step(str(path), 0)
    assert read_step(str(path), STEP_BYTES)
    assert not read_step(str(path), 2 * STEP_BYTES)
    with pytest.raises(StorageFault):
        read_step(str(tmp_path / "absent"), 0)
