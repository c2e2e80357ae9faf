"""Page stores on a real disk, reopened and damaged (H13, H17, H21)."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.pages.manifest_format import Change, Frame, Snapshot, encode_log
from node.pages.page_store import PageStore
from node.pages.posix_directory import PosixDirectory
from ring.errors import Corrupt
from tests.node.pages.frames import BLOCK, PAGE, guid, image, is_at, put
from tests.node.pages.real_stores import content, flip, made, opened
from tests.node.pages.vectors import AB, CD, SNAPSHOT_6


def test_h13_everything_flushed_is_there_after_reopening(folder: Path) -> None:
    store = opened(folder)
    for number in range(20):
        put(store, number, 1)
    store.flush()
    for number in range(0, 20, 2):
        put(store, number, 2)
    store.delete_blob(guid(5))
    store.flush()
    put(store, 7, 9)
    store.delete_blob(guid(9))
    store.close()

    for _ in range(2):
        store = opened(folder)
        assert sorted(store.list_blobs()) == [guid(n) for n in range(20) if n != 5]
        assert all(is_at(store, n, 2 - n % 2) for n in range(20) if n != 5)
        assert not store.needs_flush()
        store.close()


def test_h13_holes_are_filled_from_the_lowest_after_reopening(folder: Path) -> None:
    made(folder, 6)
    store = opened(folder)
    for number in (1, 3):
        store.delete_blob(guid(number))
    store.flush()
    store.close()

    store = opened(folder)
    put(store, 10, 1)
    put(store, 11, 1)
    assert store.stats().slots_used == 6
    store.flush()
    store.close()

    blobs = (folder / "blobs.dat").read_bytes()
    assert blobs[PAGE : 2 * PAGE] == image(10, 1)
    assert blobs[3 * PAGE : 4 * PAGE] == image(11, 1)


def test_h13_the_file_grows_ahead_of_need(folder: Path) -> None:
    store = opened(folder)
    sizes = []
    for number in range(130):
        put(store, number, 1)
        sizes.append(store.stats().file_bytes // PAGE)
    store.close()

    assert (sizes[0], sizes[7], sizes[8], sizes[126], sizes[127], sizes[129]) == (
        8, 8, 16, 128, 128, 192
    )  # fmt: skip
    assert (folder / "blobs.dat").stat().st_size == 192 * PAGE


def test_h17_garbage_in_a_slot_that_no_map_names_is_ignored(folder: Path) -> None:
    made(folder)
    with (folder / "blobs.dat").open("r+b") as file:
        file.seek(3 * PAGE)
        file.write(image(0, 2)[:BLOCK] + image(1, 2)[BLOCK:])

    store = opened(folder)

    assert all(is_at(store, number, 1) for number in range(3))
    put(store, 3, 1)
    assert is_at(store, 3, 1)
    store.close()


def test_h21_a_torn_last_record_is_dropped_and_cut(folder: Path) -> None:
    made(folder)
    log = folder / "manifest.log"
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])

    reader = opened(folder, read_only=True)
    assert reader.list_blobs() == [guid(0), guid(1)]
    reader.close()
    assert log.read_bytes() == whole[:-1]

    store = opened(folder)
    assert store.list_blobs() == [guid(0), guid(1)]
    assert log.read_bytes() == whole[:-61]
    put(store, 2, 2)
    store.flush()
    store.close()
    store = opened(folder)
    assert is_at(store, 2, 2)
    store.close()


@pytest.mark.parametrize(
    ("name", "at"),
    [("manifest.log", 0), ("manifest.log", 4), ("manifest.log", 8), ("manifest.log", 20),
     ("manifest.log", -1), ("manifest.log", 70), ("manifest.bin", 0), ("manifest.bin", 8),
     ("manifest.bin", 10), ("manifest.bin", 16), ("manifest.bin", 24), ("manifest.bin", -1)],
)  # fmt: skip
def test_h21_a_flipped_bit_refuses_the_opening(folder: Path, name: str, at: int) -> None:
    made(folder)
    flip(folder / name, at)
    before = content(folder)

    for read_only in (False, True):
        with pytest.raises(Corrupt, match=r"manifest\."):
            opened(folder, read_only=read_only)
    del before["store.lock"]
    assert before.items() <= content(folder).items()
    flip(folder / name, at)
    opened(folder).close()


def entries(*pairs: tuple[bytes, int]) -> bytes:
    return b"".join(name + slot.to_bytes(8, "little") for name, slot in pairs)


@pytest.mark.parametrize(
    "data",
    [
        SNAPSHOT_6[:8] + b"\x05" + SNAPSHOT_6[9:],
        SNAPSHOT_6[:8] + b"\x08" + SNAPSHOT_6[9:],
        SNAPSHOT_6[:24] + entries((AB, 0), (AB, 2)),
        SNAPSHOT_6[:24] + entries((AB, 2), (CD, 2)),
        SNAPSHOT_6[:24] + entries((AB, 0), (CD, 3)),
        SNAPSHOT_6[:-1],
        SNAPSHOT_6 + b"\0",
        SNAPSHOT_6[:20],
        b"",
    ],
    ids=["version 5", "version 8", "guid twice", "slot twice", "slot at next", "short", "long",
         "half a head", "empty"],
)  # fmt: skip
def test_h21_an_odd_snapshot_is_refused(folder: Path, data: bytes) -> None:
    made(folder)
    (folder / "manifest.bin").write_bytes(data)

    with pytest.raises(Corrupt, match=r"manifest\.bin"):
        opened(folder)


def test_h21_two_frames_in_one_slot_are_refused(folder: Path) -> None:
    made(folder)
    (folder / "manifest.log").write_bytes(
        encode_log([(AB, Frame(1, b"s" * 16)), (CD, Frame(1, b"s" * 16))], 1)
    )

    with pytest.raises(Corrupt, match="two frames into one slot"):
        opened(folder)


def test_h21_a_snapshot_and_the_log_that_it_covers_are_the_same_map(folder: Path) -> None:
    made(folder)
    store = opened(folder)
    put(store, 0, 2)
    store.flush()
    old_log = (folder / "manifest.log").read_bytes()
    store.delete_blob(guid(1))
    put(store, 3, 1)
    store.vacuum()
    assert not (folder / "manifest.log").exists()
    store.close()
    (folder / "manifest.log").write_bytes(old_log)

    store = opened(folder)

    assert sorted(store.list_blobs()) == [guid(0), guid(2), guid(3)]
    assert is_at(store, 0, 2)
    assert is_at(store, 2, 1)
    assert is_at(store, 3, 1)
    store.close()


def test_h21_a_long_log_becomes_a_snapshot(folder: Path) -> None:
    directory = PosixDirectory(str(folder), create=True)
    store = PageStore(directory, page_size=PAGE, log_bytes_min=1000)
    for version in range(40):
        put(store, 1, version)
        store.flush()
    assert store.stats().log_bytes < 1200
    store.close()

    store = opened(folder)
    assert is_at(store, 1, 39)
    assert store.stats().slots_used == 2
    store.close()


def test_h21_a_store_of_version_6_is_read_and_goes_on(folder: Path) -> None:
    folder.mkdir()
    (folder / "blobs.dat").write_bytes(image(1, 1) + image(2, 1) + image(3, 1) + bytes(5 * PAGE))
    old = Snapshot({guid(1): Frame(0, b""), guid(2): Frame(1, b"")}, 3)
    (folder / "manifest.bin").write_bytes(old.encode(6))
    log = Change(guid(3), Frame(2, b"")).encode() + Change(guid(2), None).encode()
    (folder / "manifest.log").write_bytes(log)

    store = opened(folder)
    assert sorted(store.list_blobs()) == [guid(1), guid(3)]
    assert is_at(store, 1, 1)
    assert store.read_blob_range(guid(3), BLOCK, BLOCK) == image(3, 1)[BLOCK:]
    store.close()
    assert (folder / "manifest.bin").read_bytes() == old.encode(6)
    store = opened(folder)
    put(store, 3, 2)
    store.flush()
    store.close()
    (folder / "manifest.log").write_bytes(log)  # as if its removal had not survived

    store = opened(folder)
    assert is_at(store, 1, 1)
    assert is_at(store, 3, 2)
    store.vacuum()
    store.close()


@pytest.mark.parametrize("name", ["manifest.bin", "manifest.log"])
def test_h21_frames_whose_file_is_gone_are_not_denied(folder: Path, name: str) -> None:
    """The rest of the manifest names frames, so an empty blobs.dat is no new store."""
    made(folder)
    (folder / "blobs.dat").unlink()

    with pytest.raises(Corrupt, match=r"blobs\.dat is gone"):
        opened(folder)
