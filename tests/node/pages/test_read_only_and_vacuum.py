"""Opening for reading, what a flush leaves alone, and vacuum (H16, H22, H23)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.pages.page_store import PageStore
from ring.errors import BadRequest, NotFound, StorageFault
from tests.node.pages.frames import PAGE, filled, got, guid, image, is_at, put
from tests.node.pages.real_stores import content, corrupt, flip, made, opened


def test_h22_a_store_opened_for_reading_is_not_changed(folder: Path) -> None:
    made(folder)
    shutil.copy(folder / "manifest.bin", folder / "manifest.bin.tmp")
    before = content(folder)
    store = opened(folder, read_only=True)
    buffer = filled(store, image(1, 5))

    assert is_at(store, 1, 1)
    assert len(store.list_blobs()) == 3
    for change in (
        lambda: store.write_blob(guid(1), buffer),
        lambda: store.write_blobs([(guid(1), buffer)]),
        lambda: store.write_blobs([]),
        lambda: store.write_blobs_with_data_sync([(guid(1), buffer)]),
        lambda: store.delete_blob(guid(1)),
        store.flush,
        store.vacuum,
    ):
        with pytest.raises(BadRequest) as refused:
            change()
        assert refused.value.facts == {"reason": "read_only"}
        assert not store.needs_flush()
    store.close()
    assert content(folder) == before


def test_h22_what_is_no_store_is_not_opened_for_reading(folder: Path, tmp_path: Path) -> None:
    for read_only, create in ((True, True), (False, False)):
        with pytest.raises(StorageFault, match="no page store"):
            PageStore.open(str(folder), PAGE, read_only=read_only, create=create)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(StorageFault, match="no page store"):
        opened(folder, read_only=True)
    with pytest.raises(StorageFault, match="no page store"):
        PageStore.open(str(folder), PAGE, create=False)


@pytest.mark.parametrize("direct", [True, False])
def test_h23_vacuum_keeps_every_frame_and_shrinks(folder: Path, *, direct: bool) -> None:
    store = PageStore.open(str(folder), PAGE, direct=direct)
    for number in range(40):
        put(store, number, 1)
    store.flush()
    for number in range(0, 40, 3):
        put(store, number, 2)
    for number in range(1, 40, 3):
        store.delete_blob(guid(number))
    kept = [number for number in range(40) if number % 3 != 1]

    stats = store.vacuum()

    def check() -> None:
        assert sorted(store.list_blobs()) == [guid(number) for number in kept]
        assert all(is_at(store, number, 1 if number % 3 else 2) for number in kept)
        assert not store.needs_flush()

    check()
    assert stats.slots_used == len(kept)
    assert stats.slots_free == stats.slots_waiting == 0
    assert stats.file_bytes == (folder / "blobs.dat").stat().st_size == 32 * PAGE
    store.close()
    store = opened(folder)
    check()
    put(store, 50, 1)
    assert is_at(store, 50, 1)
    store.close()


def test_h23_vacuum_leaves_a_corrupt_frame_where_it_is(folder: Path) -> None:
    made(folder, 6)
    flip(folder / "blobs.dat", 5 * PAGE)
    store = opened(folder)
    store.delete_blob(guid(0))
    store.delete_blob(guid(1))

    store.vacuum()

    corrupt(store, 5)
    assert all(is_at(store, number, 1) for number in (2, 3, 4))
    assert store.stats().slots_used == 6
    put(store, 5, 2)
    assert is_at(store, 5, 2)
    assert store.vacuum().slots_used == 4
    store.close()


def test_h23_an_empty_store_shrinks_to_nothing(folder: Path) -> None:
    made(folder, 20)
    store = opened(folder)
    for name in store.list_blobs():
        store.delete_blob(name)

    assert store.vacuum().file_bytes == 0
    with pytest.raises(NotFound):
        got(store, 1)
    put(store, 1, 2)
    store.flush()
    assert is_at(store, 1, 2)
    store.close()


def slots(folder: Path) -> Iterator[bytes]:
    data = (folder / "blobs.dat").read_bytes()
    for at in range(0, len(data), PAGE):
        yield data[at : at + PAGE]


def test_h16_no_durably_mapped_byte_changes_between_two_flushes(folder: Path) -> None:
    made(folder, 10)
    store = opened(folder)
    for round_number in range(2, 6):
        before = list(slots(folder))
        mapped = [before.index(got(store, number)) for number in range(10)]
        for number in range(10):
            put(store, number, 10 * round_number)
            put(store, number, 10 * round_number + 1)
        store.delete_blob(guid(9))
        put(store, 9, 10 * round_number + 2)
        newest = filled(store, image(0, 10 * round_number + 3))
        store.write_blobs_with_data_sync([(guid(0), newest)])
        now = list(slots(folder))
        assert [now[slot] for slot in mapped] == [before[slot] for slot in mapped]
        assert now != before
        store.flush()
    store.close()
