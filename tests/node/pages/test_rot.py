"""Rot, torn, swapped and lost writes of frames are found on read."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.pages.manifest_format import Frame, decode_log, encode_log
from node.pages.page_store import PageStore
from ring.errors import Corrupt
from tests.node.pages.frames import BLOCK, PAGE, guid, image, is_at, put
from tests.node.pages.real_stores import corrupt, flip, made, opened


@pytest.mark.parametrize("at", [0, 1, BLOCK - 1, BLOCK, PAGE - 1])
def test_rot_is_found_on_read(folder: Path, at: int) -> None:
    made(folder)
    flip(folder / "blobs.dat", PAGE + at)
    store = opened(folder)

    corrupt(store, 1)
    assert is_at(store, 0, 1)
    assert is_at(store, 2, 1)
    outcomes = store.read_blobs([(guid(n), store.alloc_blob_buf_uninit()) for n in range(3)])
    assert [type(outcome) for outcome in outcomes] == [type(None), Corrupt, type(None)]
    assert store.stats().corrupt_reads == 4
    put(store, 1, 2)
    assert is_at(store, 1, 2)
    store.close()


def test_two_swapped_frames_are_found(folder: Path) -> None:
    """Both are whole, each in the other's place."""
    made(folder)
    blobs = bytearray((folder / "blobs.dat").read_bytes())
    blobs[: 2 * PAGE] = blobs[PAGE : 2 * PAGE] + blobs[:PAGE]
    (folder / "blobs.dat").write_bytes(blobs)

    store = opened(folder)

    corrupt(store, 0)
    corrupt(store, 1)
    assert is_at(store, 2, 1)
    store.close()


def test_swapped_frames_of_equal_content_are_found_by_their_records(folder: Path) -> None:
    """The map itself is wrong: a record was written with another guid's slot."""
    made(folder)
    log = (folder / "manifest.log").read_bytes()
    first, second, third = decode_log(log, "log", 0).changes
    assert first.frame is not None
    assert second.frame is not None
    misled = [(guid(0), Frame(1, second.frame.checksum)), (guid(1), Frame(0, first.frame.checksum))]
    (folder / "manifest.log").write_bytes(encode_log(misled, 1) + third.encode())

    store = opened(folder)

    corrupt(store, 0)
    corrupt(store, 1)
    store.close()


def test_a_write_that_never_arrived_is_found(folder: Path) -> None:
    made(folder)
    before = (folder / "blobs.dat").read_bytes()
    store = opened(folder)
    put(store, 1, 2)
    store.flush()
    put(store, 1, 3)
    store.flush()
    store.close()
    blobs = bytearray((folder / "blobs.dat").read_bytes())
    blobs[PAGE : PAGE + BLOCK] = before[PAGE : PAGE + BLOCK]  # half of it, an image of old
    (folder / "blobs.dat").write_bytes(blobs)

    store = opened(folder)

    corrupt(store, 1)
    store.close()


def test_rot_after_a_ranged_read_is_found_by_the_next(folder: Path) -> None:
    made(folder)
    store = PageStore.open(str(folder), PAGE, direct=False)
    assert store.read_blob_range(guid(1), 0, BLOCK) == image(1, 1)[:BLOCK]
    with (folder / "blobs.dat").open("r+b") as file:
        file.seek(PAGE + BLOCK + 7)
        file.write(b"\0")

    assert store.read_blob_range(guid(1), 0, BLOCK) == image(1, 1)[:BLOCK]
    with pytest.raises(Corrupt):
        store.read_blob_range(guid(1), BLOCK, BLOCK)
    store.close()


def test_a_file_cut_short_is_found(folder: Path) -> None:
    made(folder)
    blobs = folder / "blobs.dat"
    blobs.write_bytes(blobs.read_bytes()[: 2 * PAGE + 100])
    store = opened(folder)

    assert is_at(store, 1, 1)
    corrupt(store, 2)
    store.close()
