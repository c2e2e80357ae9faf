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


def test_a_frame_under_another_guid_is_found(folder: Path) -> None:
    """The map itself is wrong: each record has the other's frame, with its checksum."""
    made(folder)
    log = (folder / "manifest.log").read_bytes()
    first, second, third = (change.frame for change in decode_log(log, "log", 0).changes)
    misled = [(guid(0), second), (guid(1), first), (guid(2), third)]
    (folder / "manifest.log").write_bytes(encode_log(misled, 1))

    store = opened(folder)

    corrupt(store, 0)
    corrupt(store, 1)
    assert is_at(store, 2, 1)
    store.close()


def test_a_frame_in_another_slot_is_found(folder: Path) -> None:
    """The right bytes under the right name, but not where they were written."""
    made(folder)
    log = (folder / "manifest.log").read_bytes()
    frame = decode_log(log, "log", 0).changes[1].frame
    assert frame is not None
    (folder / "manifest.log").write_bytes(encode_log([(guid(1), Frame(5, frame.checksum))], 1))
    with (folder / "blobs.dat").open("r+b") as file:
        file.seek(5 * PAGE)
        file.write(image(1, 1))

    store = opened(folder)

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
