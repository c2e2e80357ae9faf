"""The disk fails: EIO and ENOSPC at every call, syncs that lie afterwards, a disk that turns
read-only (H8, H19)."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from node.pages.page_store import PageStore
from ring.errors import Corrupt, DiskFull, HoldfastError, NotFound, StorageFault
from tests.node.pages.frames import PAGE, filled, got, guid, image, is_at, put
from tests.node.pages.sim_directory import Fail, Medium, SimDirectory, failing

CHANGES = frozenset(("write", "allocate", "truncate", "punch", "rename", "unlink", "sync"))
COUNT = 5


def quiet(_kind: str, _name: str) -> BaseException | None:
    return None


def opened(directory: SimDirectory) -> PageStore:
    return PageStore(directory, page_size=PAGE, log_bytes_min=300)


def batch(store: PageStore, version: int) -> list[tuple[bytes, memoryview]]:
    return [(guid(n), filled(store, image(n, version))) for n in range(COUNT)]


def work(store: PageStore) -> None:
    """Something of everything, over frames 0 to COUNT - 1 at version 1."""
    store.write_blobs(batch(store, 2))
    store.flush()
    store.delete_blob(guid(0))
    store.write_blobs_with_data_sync(batch(store, 3)[1:])
    store.flush()
    store.vacuum()
    got(store, 1)
    put(store, 0, 3)
    store.flush()


def prepared(*, direct: bool, seed: int = 0) -> tuple[SimDirectory, PageStore]:
    directory = SimDirectory(Medium(rng=Random(seed)), direct=direct)
    store = opened(directory)
    store.write_blobs(batch(store, 1))
    store.flush()
    return directory, store


def calls_of_work() -> int:
    directory, store = prepared(direct=True)
    calls: list[str] = []
    directory.medium.fail = lambda kind, _name: calls.append(kind)
    work(store)
    return len(calls)


CALLS = calls_of_work()


def from_call(number: int, error: HoldfastError) -> Fail:
    """Every change fails from this call on; reads go well."""
    seen = [0]

    def fail(kind: str, _name: str) -> BaseException | None:
        seen[0] += 1
        return error if seen[0] > number and kind in CHANGES else None

    return fail


def all_is_well_again(directory: SimDirectory, store: PageStore, version: int) -> None:
    """The batch is repeated, a flush succeeds, and the power goes."""
    store.write_blobs(batch(store, version))
    assert store.needs_flush()
    store.flush()
    assert not store.needs_flush()
    assert all(is_at(store, number, version) for number in range(COUNT))

    store = opened(directory.kill())
    assert all(is_at(store, number, version) for number in range(COUNT))
    assert len(store.list_blobs()) == COUNT


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "page cache"])
@pytest.mark.parametrize("error", [StorageFault("EIO"), DiskFull("ENOSPC")], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("kind", ["*", "write", "sync", "read"])
def test_h19_any_call_may_fail_once(error: HoldfastError, kind: str, *, direct: bool) -> None:
    assert CALLS > 20
    for number in range(CALLS):
        directory, store = prepared(direct=direct, seed=number)
        directory.medium.fail = failing(kind, number, error)
        with suppress(HoldfastError):
            work(store)
        directory.medium.fail = quiet

        all_is_well_again(directory, store, 4)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "page cache"])
@pytest.mark.parametrize(
    "error",
    [StorageFault("EIO"), DiskFull("ENOSPC"), StorageFault("read-only file system")],
    ids=["EIO", "ENOSPC", "EROFS"],
)
def test_h19_a_disk_that_takes_no_more_changes_still_reads(
    error: HoldfastError, *, direct: bool
) -> None:
    for number in range(CALLS):
        directory, store = prepared(direct=direct, seed=number)
        directory.medium.fail = from_call(number, error)
        with suppress(HoldfastError):
            work(store)
        for _ in range(3):
            for call in (store.flush, lambda store=store: put(store, 1, 9)):
                with suppress(StorageFault, DiskFull):
                    call()
        with suppress(NotFound, Corrupt):  # Corrupt: lost by a failed sync, never flushed
            for frame in range(COUNT):
                got(store, frame)
        directory.medium.fail = quiet

        all_is_well_again(directory, store, 4)


@pytest.mark.parametrize("kind", ["open", "read", "write", "sync", "rename", "unlink", "truncate"])
def test_h19_an_opening_that_fails_can_be_repeated(kind: str) -> None:
    for number in range(8):
        directory, store = prepared(direct=True)
        put(store, 0, 2)
        store.flush()
        log = directory.medium.entries["manifest.log"].content
        log.extend(b"MLG1")  # a torn tail
        directory = directory.kill()
        directory.medium.fail = failing(kind, number)
        with suppress(StorageFault):
            opened(directory).close()
        directory.medium.fail = quiet

        store = opened(SimDirectory(directory.medium))

        assert is_at(store, 0, 2)
        assert is_at(store, 1, 1)


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("error", [StorageFault("EIO"), DiskFull("ENOSPC")], ids=["EIO", "ENOSPC"])
def test_h19_a_making_that_fails_can_be_repeated(error: HoldfastError, number: int) -> None:
    directory = SimDirectory()
    directory.medium.fail = failing("*", number, error)
    with suppress(HoldfastError):
        opened(directory).close()
    directory.medium.fail = quiet

    store = opened(SimDirectory(directory.medium))

    assert store.list_blobs() == []
    put(store, 1, 1)
    store.flush()


@pytest.mark.parametrize("name", ["blobs.dat", "manifest.log"])
@pytest.mark.parametrize("error", [StorageFault("EIO"), DiskFull("ENOSPC")], ids=["EIO", "ENOSPC"])
def test_h19_a_failed_flush_is_owed_until_one_succeeds(error: HoldfastError, name: str) -> None:
    directory, store = prepared(direct=False)
    put(store, 1, 2)
    store.delete_blob(guid(2))
    for _ in range(3):
        # After the log has failed once, a snapshot is written instead: manifest.bin.tmp.
        directory.medium.fail = lambda kind, of: (
            error if kind == "sync" and of[:8] == name[:8] else None
        )
        with pytest.raises(type(error)):
            store.flush()
        assert store.needs_flush()
        assert is_at(store, 1, 2)
    directory.medium.fail = quiet

    store.flush()

    assert not store.needs_flush()
    store = opened(directory.kill())
    assert is_at(store, 1, 2)
    assert not store.has_blob(guid(2))


def test_h19_frames_of_a_failed_sync_move_to_other_slots() -> None:
    directory, store = prepared(direct=True)
    directory.medium.rng = Always(1.0)
    put(store, 1, 2)
    old = slot_of(directory, image(1, 2))
    directory.medium.fail = failing("sync", 0)
    with pytest.raises(StorageFault):
        store.flush()
    directory.medium.fail = quiet

    store.flush()

    blobs = bytes(directory.medium.entries["blobs.dat"].content)
    assert blobs.count(image(1, 2)) == 2, "written again, elsewhere"
    assert slot_of(directory, image(1, 2)) == old
    for number in (7, 8):
        put(store, number, number)
    assert slot_of(directory, image(8, 8)) == old, "the first place may be used again"
    assert is_at(store, 1, 2)


def test_h19_a_frame_that_a_failed_sync_lost_is_never_called_durable() -> None:
    directory, store = prepared(direct=True)
    directory.medium.rng = Always(0.0)  # the failed sync forgets every block
    put(store, 1, 2)
    put(store, 2, 2)
    directory.medium.fail = failing("sync", 0)
    with pytest.raises(StorageFault):
        store.flush()
    directory.medium.fail = quiet

    for _ in range(2):
        with pytest.raises(StorageFault, match="lost when a sync failed") as lost:
            store.flush()
        assert lost.value.facts == {"lost": 2}
        with pytest.raises(StorageFault, match="lost when a sync failed"):
            store.write_blobs_with_data_sync([])
        assert store.needs_flush()
        with pytest.raises(Corrupt):
            got(store, 1)
    put(store, 1, 2)
    with pytest.raises(StorageFault, match="1 frames were lost"):
        store.flush()
    store.delete_blob(guid(2))

    store.flush()

    store = opened(directory.kill())
    assert is_at(store, 1, 2)
    assert not store.has_blob(guid(2))


def test_h19_a_write_under_way_while_a_sync_fails_is_not_trusted() -> None:
    """Its bytes may be among those that the kernel then calls clean."""
    directory, store = prepared(direct=False)
    put(store, 1, 2)

    def fail_a_sync_during_the_write(kind: str, name: str) -> BaseException | None:
        if (kind, name) == ("write", "blobs.dat"):
            directory.medium.fail = failing("sync", 0)
            with pytest.raises(StorageFault):
                store.flush()
            directory.medium.fail = quiet
        return None

    directory.medium.fail = fail_a_sync_during_the_write
    put(store, 2, 2)
    assert bytes(directory.medium.entries["blobs.dat"].content).count(image(2, 2)) == 1

    store.flush()

    blobs = bytes(directory.medium.entries["blobs.dat"].content)
    assert blobs.count(image(2, 2)) == 2, "written again, elsewhere"


def test_h19_nothing_follows_what_a_failed_sync_left_in_the_log() -> None:
    """What is flushed next is shorter: behind it the failed flush's records would show."""
    for number in range(4):
        directory = SimDirectory(Medium(rng=Random(number)))
        store = PageStore(directory, page_size=PAGE)
        store.write_blobs(batch(store, 1))
        store.flush()
        store.write_blobs(batch(store, 2))
        directory.medium.fail = failing("sync", 0, name="manifest.log")
        with pytest.raises(StorageFault):
            store.flush()
        directory.medium.fail = quiet
        for frame in range(1, COUNT):
            store.delete_blob(guid(frame))
        store.flush()

        store = opened(directory.kill())

        assert store.list_blobs() == [guid(0)]
        assert is_at(store, 0, 2)


def test_h08_a_batch_that_fails_in_the_middle_is_repeated() -> None:
    for number in range(COUNT):
        for error in (StorageFault("EIO"), DiskFull("ENOSPC")):
            directory, store = prepared(direct=True, seed=number)
            directory.medium.fail = failing("write", number, error)
            with pytest.raises(type(error)):
                store.write_blobs(batch(store, 2))
            directory.medium.fail = quiet
            versions = [1 if is_at(store, frame, 1) else 2 for frame in range(COUNT)]
            assert versions == [2] * number + [1] * (COUNT - number)

            all_is_well_again(directory, store, 2)


def test_a_slot_that_cannot_be_written_does_not_stop_the_store() -> None:
    directory, store = prepared(direct=True)
    bad = store.stats().slots_used * PAGE
    seen: list[str] = []

    def one_bad_place(kind: str, name: str) -> BaseException | None:
        if (kind, name) == ("write", "blobs.dat") and len(seen) < 3:
            seen.append(kind)
            return StorageFault("EIO")
        return None

    directory.medium.fail = one_bad_place
    for _ in range(3):
        with pytest.raises(StorageFault):
            put(store, 1, 2)
        assert is_at(store, 1, 1)
    put(store, 1, 2)
    store.flush()

    assert is_at(store, 1, 2)
    assert store.stats().slots_used == bad // PAGE + 4


def test_a_full_disk_takes_what_still_fits() -> None:
    """Room for one more slot is used though the usual eight cannot be had."""
    directory, store = prepared(direct=True)
    room = [True]

    def nearly_full(kind: str, _name: str) -> BaseException | None:
        if kind == "allocate":
            room[0] = not room[0]
            return None if room[0] else DiskFull("ENOSPC")
        return None

    directory.medium.fail = nearly_full
    for number in range(10, 16):
        put(store, number, 1)
    store.flush()

    assert store.stats().file_bytes == 11 * PAGE
    directory.medium.fail = lambda kind, _name: DiskFull("ENOSPC") if kind == "allocate" else None
    with pytest.raises(DiskFull):
        put(store, 20, 1)
    store.delete_blob(guid(10))
    store.flush()
    put(store, 20, 1)
    assert is_at(store, 20, 1)


class Always(Random):
    """Randomness that is none."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self._value = value

    def random(self) -> float:
        return self._value


def slot_of(directory: SimDirectory, page: bytes) -> int:
    """The first slot with this content."""
    blobs = bytes(directory.medium.entries["blobs.dat"].content)
    return next(at // PAGE for at in range(0, len(blobs), PAGE) if blobs[at : at + PAGE] == page)


