"""The page store's contract while nothing fails: the checks H1 to H12 and H18."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from node.pages.page_store import PAGE_SIZE, PageStore
from ring.errors import BadRequest, NotFound, StorageFault
from tests.node.pages.frames import BLOCK, PAGE, filled, got, guid, image, is_at, put
from tests.node.pages.sim_directory import SimDirectory


def address(buffer: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def test_h01_a_frame_is_read_as_it_was_written(store: PageStore) -> None:
    put(store, 1, 1)

    assert is_at(store, 1, 1)


def test_h01_buffers_are_aligned_and_one_page_long(store: PageStore) -> None:
    for _ in range(3):
        buffers = [store.alloc_blob_buf_zeroed(), store.alloc_blob_buf_uninit()]
        assert [len(buffer) for buffer in buffers] == [PAGE, PAGE]
        assert [address(buffer) % 4096 for buffer in buffers] == [0, 0]
        assert not any(buffers[0])
        buffers[0][:] = buffers[1][:] = b"x" * PAGE


def test_h01_a_buffer_in_use_is_not_given_out_again(store: PageStore) -> None:
    part = store.alloc_blob_buf_uninit()[100:200]
    part[:] = b"p" * 100
    for _ in range(40):
        store.alloc_blob_buf_uninit()[:] = b"x" * PAGE

    assert bytes(part) == b"p" * 100


@pytest.mark.parametrize(
    "buffer",
    [
        memoryview(mmap.mmap(-1, 4096)),
        memoryview(mmap.mmap(-1, 2 * PAGE)),
        memoryview(mmap.mmap(-1, 2 * PAGE))[1 : PAGE + 1],
        memoryview(mmap.mmap(-1, 2 * PAGE))[512 : PAGE + 512],
        memoryview(mmap.mmap(-1, PAGE)).toreadonly(),
        memoryview(mmap.mmap(-1, 2 * PAGE))[::2],
        memoryview(b"x" * PAGE),
    ],
    ids=["short", "long", "odd", "sector", "read-only", "strided", "bytes"],
)
def test_h01_a_wrong_buffer_is_refused(store: PageStore, buffer: memoryview) -> None:
    with pytest.raises(BadRequest):
        store.write_blob(guid(1), buffer)
    with pytest.raises(BadRequest):
        store.read_blob(guid(1), buffer)
    with pytest.raises(BadRequest):
        store.write_blobs([(guid(1), filled(store, image(1, 1))), (guid(2), buffer)])
    assert store.list_blobs() == []


@pytest.mark.parametrize("wrong", [b"", b"x" * 15, b"x" * 17])
def test_h01_a_wrong_guid_is_refused(store: PageStore, wrong: bytes) -> None:
    buffer = store.alloc_blob_buf_zeroed()
    for call in (store.read_blob, store.write_blob):
        with pytest.raises(BadRequest):
            call(wrong, buffer)
    for ask in (store.has_blob, store.delete_blob):
        with pytest.raises(BadRequest):
            ask(wrong)
    with pytest.raises(BadRequest):
        store.write_blobs([(guid(1), buffer), (wrong, buffer)])
    assert not store.needs_flush()


@pytest.mark.parametrize("page_size", [0, 512, 4095, 6000, -4096])
def test_h01_a_page_size_is_a_multiple_of_4096(page_size: int) -> None:
    with pytest.raises(BadRequest):
        PageStore(SimDirectory(), page_size=page_size)


def test_h01_the_page_size_is_512_kib_unless_told_otherwise(tmp_path: Path) -> None:
    store = PageStore.open(str(tmp_path / "pages"))
    put(store, 7, 7)
    store.flush()
    store.close()
    with pytest.raises(BadRequest, match="pages of 524288 bytes"):
        PageStore.open(str(tmp_path / "pages"), 4096)

    store = PageStore.open(str(tmp_path / "pages"))

    assert (store.page_size, PAGE_SIZE) == (524_288, 524_288)
    assert is_at(store, 7, 7)
    store.close()


def test_h02_an_absent_frame_is_not_found(store: PageStore) -> None:
    with pytest.raises(NotFound):
        got(store, 1)
    with pytest.raises(NotFound):
        store.read_blob_range(guid(1), 0, BLOCK)
    assert not store.has_blob(guid(1))


def test_h03_a_buffer_is_a_copy(store: PageStore) -> None:
    buffer = filled(store, image(1, 1))
    store.write_blob(guid(1), buffer)
    buffer[:] = bytes(PAGE)
    store.read_blob(guid(1), buffer)
    assert bytes(buffer) == image(1, 1)
    buffer[:] = bytes(PAGE)

    assert is_at(store, 1, 1)


def test_h04_an_overwrite_is_seen_at_once(store: PageStore) -> None:
    with ThreadPoolExecutor(1) as other:
        for version in range(1, 20):
            put(store, 1, version)
            assert is_at(store, 1, version)
            assert other.submit(is_at, store, 1, version).result()
            if version % 5 == 0:
                store.flush()


def test_h04_readers_never_see_a_mix(store: PageStore) -> None:
    done = Event()
    put(store, 1, 0)

    def read() -> int:
        newest = 0
        while not done.is_set():
            data = got(store, 1)
            version = int(data[:32].split(b"/")[1])
            assert data == image(1, version)
            assert version >= newest, "a reader went back in time"
            newest = version
        return newest

    with ThreadPoolExecutor(8) as readers:
        seen = [readers.submit(read) for _ in range(8)]
        for version in range(1, 100):
            put(store, 1, version)
            if version % 3 == 0:
                store.flush()
        done.set()
        assert max(future.result() for future in seen) <= 99


def test_h05_a_deleted_frame_is_gone_at_once(store: PageStore) -> None:
    put(store, 1, 1)
    put(store, 2, 1)
    store.delete_blob(guid(1))
    store.delete_blob(guid(1))
    store.delete_blob(guid(3))

    with pytest.raises(NotFound):
        got(store, 1)
    assert not store.has_blob(guid(1))
    assert store.list_blobs() == [guid(2)]
    put(store, 1, 2)
    assert is_at(store, 1, 2)


def test_h06_the_list_is_exact_and_has_what_was_not_flushed(store: PageStore) -> None:
    for number in range(10):
        put(store, number, 1)
        if number == 5:
            store.flush()
    store.delete_blob(guid(2))
    put(store, 3, 2)

    assert sorted(store.list_blobs()) == [guid(n) for n in range(10) if n != 2]


@pytest.mark.parametrize(
    "name", [bytes(16), b"\xff" * 16, b"/../\0/a\n" * 2, b"manifest.bin" + bytes(4)]
)
def test_h07_every_guid_is_a_guid(store: PageStore, name: bytes) -> None:
    store.write_blob(name, filled(store, image(1, 1)))
    store.flush()
    buffer = store.alloc_blob_buf_uninit()
    store.read_blob(name, buffer)

    assert bytes(buffer) == image(1, 1)
    assert store.list_blobs() == [name]


@pytest.mark.parametrize("synced", [False, True])
def test_h08_a_batch_is_its_writes_in_order(store: PageStore, *, synced: bool) -> None:
    write = store.write_blobs_with_data_sync if synced else store.write_blobs
    write([])
    assert not store.needs_flush()

    numbers = [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3)]
    write([(guid(n), filled(store, image(n, v))) for n, v in numbers])

    assert is_at(store, 1, 3)
    assert is_at(store, 2, 1)
    assert is_at(store, 3, 1)
    assert len(store.list_blobs()) == 3


def test_h09_an_absent_guid_fails_its_slot_only(store: PageStore) -> None:
    put(store, 1, 1)
    put(store, 3, 1)
    wanted = [(guid(n), store.alloc_blob_buf_uninit()) for n in (3, 2, 1, 3)]
    wanted.append((guid(1), memoryview(bytearray(3))))

    outcomes = store.read_blobs(wanted)

    assert [type(outcome) for outcome in outcomes] == [
        type(None), NotFound, type(None), type(None), BadRequest
    ]  # fmt: skip
    assert bytes(wanted[0][1]) == bytes(wanted[3][1]) == image(3, 1)
    assert bytes(wanted[2][1]) == image(1, 1)
    assert store.read_blobs([]) == []


@pytest.mark.parametrize("step", [BLOCK, 2 * BLOCK, 4 * BLOCK])
def test_h10_ranges_add_up_to_the_frame(tmp_path: Path, step: int) -> None:
    store = PageStore.open(str(tmp_path / "pages"), 4 * BLOCK)
    for version in (1, 2):
        put(store, 1, version)
        for _ in range(2):
            parts = [store.read_blob_range(guid(1), at, step) for at in range(0, 4 * BLOCK, step)]
            assert b"".join(parts) == image(1, version, 4 * BLOCK)
            assert all(address(part) % 4096 == 0 for part in parts)
    store.close()


@pytest.mark.parametrize(
    ("offset", "size"),
    [(1, BLOCK), (0, 1), (0, 0), (512, 512), (-BLOCK, BLOCK), (0, PAGE + BLOCK), (PAGE, BLOCK),
     (BLOCK, PAGE), (0, -BLOCK)],
)  # fmt: skip
def test_h10_a_range_that_is_none_is_refused(store: PageStore, offset: int, size: int) -> None:
    put(store, 1, 1)

    with pytest.raises(BadRequest):
        store.read_blob_range(guid(1), offset, size)


def test_h11_needs_flush_says_whether_something_is_owed(store: PageStore) -> None:
    batch = [(guid(n), filled(store, image(n, 1))) for n in range(3)]
    works: list[Callable[[], None]] = [
        lambda: put(store, 1, 1),
        lambda: store.write_blobs(batch),
        lambda: store.write_blobs_with_data_sync(batch),
        lambda: store.delete_blob(guid(1)),
    ]
    assert not store.needs_flush()
    for work in works:
        work()
        assert store.needs_flush()
        store.flush()
        assert not store.needs_flush()
    store.delete_blob(guid(99))
    assert not store.needs_flush(), "nothing was there to delete"


def test_h12_a_second_flush_is_fine(store: PageStore) -> None:
    store.flush()
    put(store, 1, 1)
    store.flush()
    store.flush()

    assert is_at(store, 1, 1)


def test_h12_a_write_during_a_flush_is_owed_afterwards() -> None:
    directory = SimDirectory()
    store = PageStore(directory, page_size=PAGE)
    put(store, 1, 1)
    put(store, 2, 1)

    def write_in_between(kind: str, name: str) -> None:
        if (kind, name) == ("sync", "blobs.dat"):
            directory.medium.fail = lambda _kind, _name: None
            put(store, 1, 2)
            store.delete_blob(guid(2))
            put(store, 3, 1)

    directory.medium.fail = write_in_between
    store.flush()
    assert store.needs_flush()
    store.flush()
    assert not store.needs_flush()

    store = PageStore(directory.kill(), page_size=PAGE)
    assert is_at(store, 1, 2)
    assert is_at(store, 3, 1)
    assert not store.has_blob(guid(2))


def test_h12_flushes_from_many_threads_make_everything_durable(tmp_path: Path) -> None:
    store = PageStore.open(str(tmp_path / "pages"), PAGE)

    def work(number: int) -> None:
        for version in range(1, 20):
            put(store, number, version)
            store.flush()

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(work, range(4)))
    assert not store.needs_flush()
    store.close()

    store = PageStore.open(str(tmp_path / "pages"), PAGE, read_only=True)
    assert all(is_at(store, number, 19) for number in range(4))
    store.close()


def test_h18_rewriting_one_frame_takes_two_slots(store: PageStore) -> None:
    for version in range(64):
        put(store, 1, version)
        store.flush()

    assert store.stats().slots_used == 2


@pytest.mark.parametrize("delete", [False, True])
def test_h18_a_slot_is_used_again_only_after_a_flush(store: PageStore, *, delete: bool) -> None:
    put(store, 1, 1)
    store.flush()
    if delete:
        store.delete_blob(guid(1))
    else:
        put(store, 1, 2)
    used = store.stats().slots_used
    put(store, 2, 1)
    assert store.stats().slots_used == used + 1
    assert store.stats().slots_waiting == 1

    store.flush()
    put(store, 3, 1)

    assert store.stats().slots_used == used + 1
    assert store.stats().slots_waiting == 0


def test_h18_a_slot_is_not_used_again_while_a_reader_holds_it() -> None:
    directory = SimDirectory()
    store = PageStore(directory, page_size=PAGE)
    put(store, 1, 1)
    store.flush()
    waiting: list[int] = []

    def replace_while_reading(kind: str, name: str) -> None:
        if kind == "read":
            directory.medium.fail = lambda _kind, _name: None
            put(store, 1, 2)
            store.flush()
            waiting.append(store.stats().slots_waiting)
            put(store, 2, 1)
            put(store, 3, 1)

    directory.medium.fail = replace_while_reading

    assert is_at(store, 1, 1), "the image that was the newest when the read began"
    assert waiting == [1]
    assert store.stats().slots_waiting == 0
    assert store.stats().slots_free == 1
    assert is_at(store, 1, 2)


def test_a_closed_store_says_so(store: PageStore) -> None:
    put(store, 1, 1)
    store.close()
    store.close()

    for call in (store.flush, store.list_blobs, store.vacuum, store.stats):
        with pytest.raises(StorageFault, match="closed"):
            call()
    with pytest.raises(StorageFault, match="closed"):
        got(store, 1)
