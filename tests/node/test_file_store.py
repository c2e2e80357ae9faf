"""What only a file store does: layout, restarts, the sweep, and what happens behind its back."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from node.file_paths import value_path
from node.file_store import FileRecordStore
from node.posix_disk import PosixDisk
from ring.admission import PutAnswer
from ring.digest import Algorithm, Digest
from ring.errors import StorageFault
from ring.limits import CHUNK_BYTES
from ring.messages import CopyVerdict
from ring.recipe import Recipe
from ring.record import NO_ROOT, RecordKey, RecordKind, live
from ring.seams import Disk
from tests.fakes.manual_clock import ManualClock
from tests.sim.host import SimRandomness

DATA = RecordKind.DATA


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[PosixDisk]:
    disk = PosixDisk(str(tmp_path / "node"), threads=2)
    yield disk
    await disk.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "node"


async def open_on(disk: Disk) -> FileRecordStore:
    randomness = SimRandomness(Random(0))
    return await FileRecordStore.open(disk, clock=ManualClock(), randomness=randomness)


def key_of(value: bytes, algorithm: Algorithm = Algorithm.SHA256) -> RecordKey:
    return RecordKey(Digest.of(value, algorithm))


async def put(store: FileRecordStore, value: bytes, generation: int = 1) -> RecordKey:
    key = key_of(value)
    answer = await store.put_root(key, DATA, len(value), generation, value)
    assert answer.root == live(generation)
    return key


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def contents(root: Path) -> list[str]:
    return [path for path in files_below(root) if not path.startswith(".state/")]


def write_foreign(root: Path, value: bytes, algorithm: str = "sha256") -> Path:
    """Store a blob as another implementation of the layout does."""
    digits = hashlib.new(algorithm, value).hexdigest()
    path = root / algorithm / digits[:2] / digits[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value)
    return path


# --- layout ---------------------------------------------------------------------------------------


async def test_a_value_is_a_file_that_a_person_can_find(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    value = b"hello"
    for algorithm in Algorithm:
        await store.put_root(key_of(value, algorithm), DATA, 5, 1, value)

    expected = []
    for algorithm in Algorithm:
        digits = Digest.of(value, algorithm).hex
        expected.append(f"{algorithm.label}/{digits[:2]}/{digits[2:]}")
        assert (root / expected[-1]).read_bytes() == value
    assert contents(root) == sorted(expected)
    assert len(Digest.of(value, Algorithm.SHA512).hex[2:]) == 126
    await store.close()


async def test_a_recipe_is_out_of_the_way_of_other_readers(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    key = key_of(b"large")
    recipe = Recipe(CHUNK_BYTES + 1, (Digest.of(b"1"), Digest.of(b"2")))
    value = recipe.encode(key.digest)

    await store.put_root(key, RecordKind.RECIPE, recipe.size_bytes, 1, value)

    digits = key.digest.hex
    assert contents(root) == [f".recipes/sha256/{digits[:2]}/{digits[2:]}"]
    await store.close()


async def test_files_and_directories_are_the_owners_alone(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    await put(store, b"private")
    await store.close()

    for path in root.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


async def test_a_store_written_by_another_implementation_is_adopted(
    disk: PosixDisk, root: Path
) -> None:
    write_foreign(root, b"one")
    write_foreign(root, b"two", "sha512")
    write_foreign(root, b"")
    large = write_foreign(root, bytes(CHUNK_BYTES + 1))
    junk = [
        root / "sha256" / ".tmp" / "kept-by-nobody.1.2.tmp",
        root / "sha256" / "abc" / ("0" * 61),
        root / "sha256" / "ab" / "short",
        root / "sha256" / "AB" / ("0" * 62),
        root / "sha256" / "ab" / ("G" * 62),
        root / "sha256" / "stray",
        root / "md5" / "ab" / ("0" * 30),
        root / "lost+found" / "x",
    ]
    for path in junk:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"junk")
    (root / "sha256" / "cd" / ("0" * 62)).mkdir(parents=True)

    store = await open_on(disk)

    assert not store.had_state
    keys = sorted([key_of(b"one"), key_of(b""), key_of(b"two", Algorithm.SHA512)])
    entries, done = await store.page(None, 100, roots_only=True)
    assert ([entry.key for entry in entries], done) == (keys, True)
    for entry in entries:
        assert (entry.state.root, entry.state.held, entry.state.verified_at_s) == (live(1), True, 0)
        assert await store.verify(entry.key) is CopyVerdict.GOOD
    assert (await store.get(key_of(b"one")))[1] == b"one"
    assert large.exists()
    assert [path.exists() for path in junk] == [False] + [True] * 7
    await store.close()

    store = await open_on(disk)
    assert store.had_state
    assert store.usage().held == 3
    assert large.exists()
    assert all(path.exists() for path in junk[1:])
    await store.close()


async def test_who_must_know_of_a_lost_state_knows_before_there_is_one_again(
    disk: PosixDisk, root: Path
) -> None:
    told: list[list[str]] = []

    async def tell() -> None:
        told.append(sorted(path.name for path in (root / ".state").glob("*")))

    for _ in range(2):
        store = await FileRecordStore.open(
            disk, clock=ManualClock(), randomness=SimRandomness(Random(0)), before_new=tell
        )
        await store.close()

    assert told == [[]]


async def test_a_lost_state_is_made_anew_from_the_files(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    chunks = [b"chunk one", b"chunk two"]
    key = key_of(b"large")
    digests = tuple(Digest.of(chunk) for chunk in chunks)
    recipe = Recipe(CHUNK_BYTES + 1, digests)
    for chunk in chunks:
        await store.put_chunk(RecordKey(Digest.of(chunk)), key.digest, chunk)
    value = recipe.encode(key.digest)
    await store.put_root(key, RecordKind.RECIPE, recipe.size_bytes, 1, value)
    await store.close()
    for path in (root / ".state").iterdir():
        path.unlink()
    (root / ".state").rmdir()

    store = await open_on(disk)

    assert not store.had_state
    assert store.usage().records == 3
    state, got = await store.get(key)
    assert (state.kind, state.size_bytes, state.root, got) == (
        RecordKind.RECIPE, recipe.size_bytes, live(1), value,
    )  # fmt: skip
    for digest in digests:
        assert await store.claims(RecordKey(digest), None, 10) == ([key.digest], True)
        await store.bury(RecordKey(digest), 1)
        assert (await store.stat([RecordKey(digest)]))[0].held
    await store.close()


# --- restarts -------------------------------------------------------------------------------------


async def test_everything_is_there_after_a_restart(disk: PosixDisk) -> None:
    store = await open_on(disk)
    kept, buried, dropped = [await put(store, value) for value in (b"kept", b"buried", b"dropped")]
    chunk = key_of(b"chunk")
    claimants = [Digest.of(b"%d" % number, list(Algorithm)[number % 3]) for number in range(5)]
    for claimant in claimants:
        await store.put_chunk(chunk, claimant, b"chunk")
    await store.bury(buried, 1)
    await store.drop(dropped)
    await store.raise_floor(77, 4)
    keys = [kept, buried, dropped, chunk]
    before = [await store.get(key) for key in keys]
    page, usage = await store.page(None, 10, roots_only=False), store.usage()
    await store.close()

    for _ in range(3):
        store = await open_on(disk)
        assert store.had_state
        assert [await store.get(key) for key in keys] == before
        assert await store.page(None, 10, roots_only=False) == page
        assert await store.claims(chunk, None, 10) == (sorted(claimants), True)
        assert await store.floors() == {77: 4}
        assert store.usage() == usage
        await store.close()


async def test_a_closed_store_refuses_to_write(disk: PosixDisk) -> None:
    store = await open_on(disk)
    key = await put(store, b"kept")
    await store.close()
    await store.close()

    for attempt in (put(store, b"late"), store.bury(key, 1), store.raise_floor(1, 1)):
        with pytest.raises(StorageFault):
            await attempt


async def test_the_sweep_removes_what_nobody_was_told_of(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    kept, buried = await put(store, b"kept"), await put(store, b"buried")
    await store.bury(buried, 1)
    await store.close()
    orphan = write_foreign(root, b"never acknowledged")
    undead = write_foreign(root, b"buried")
    unfinished = root / "sha256" / ".tmp" / "abc.tmp"
    unfinished.write_bytes(b"half")
    notes = root / "sha256" / ".tmp" / "notes"
    notes.write_bytes(b"none of ours")

    store = await open_on(disk)

    assert [path.exists() for path in (orphan, undead, unfinished)] == [False] * 3
    assert (await store.get(kept))[1] == b"kept"
    assert contents(root) == ["sha256/.tmp/notes", value_path(kept, DATA)]
    await store.close()


async def test_the_sweep_corrects_rows_whose_files_are_gone_or_cut(
    disk: PosixDisk, root: Path
) -> None:
    store = await open_on(disk)
    gone, cut, kept = [await put(store, value) for value in (b"gone", b"cut short", b"kept")]
    await store.close()
    (root / value_path(gone, DATA)).unlink()
    (root / value_path(cut, DATA)).write_bytes(b"cut")

    for _ in range(2):
        store = await open_on(disk)
        for key in (gone, cut):
            state, value = await store.get(key)
            assert (state.root, state.held, value) == (live(1), False, None)
        assert (await store.get(kept))[1] == b"kept"
        assert [path.read_bytes() for path in (root / ".quarantine").iterdir()] == [b"cut"]
        await store.close()


# --- while it runs --------------------------------------------------------------------------------


async def test_quarantined_bytes_are_kept(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    key = await put(store, b"rotten")
    for damaged in (b"rottem", b"rottom"):
        (root / value_path(key, DATA)).write_bytes(damaged)
        await put(store, b"rotten")
    await store.close()
    store = await open_on(disk)

    kept = sorted(path.read_bytes() for path in (root / ".quarantine").iterdir())
    assert kept == [b"rottem", b"rottom"]
    assert (await store.get(key))[1] == b"rotten"
    await store.close()


async def test_a_bit_flipped_on_disk_is_seen_by_the_next_read(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    key = await put(store, b"bits")
    for _ in range(3):
        assert (await store.get(key))[1] == b"bits"
    assert store.get_now(key) in {None, await store.get(key)}

    (root / value_path(key, DATA)).write_bytes(b"bitt")

    assert (await store.get(key))[1] == b"bitt"
    assert await store.verify(key) is CopyVerdict.QUARANTINED
    assert (await store.get(key))[1] is None
    await put(store, b"bits")
    assert (await store.get(key))[1] == b"bits"
    await store.close()


async def test_a_file_that_somebody_removed_is_found_missing(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    read, verified = await put(store, b"read"), await put(store, b"verified")
    for key in (read, verified):
        (root / value_path(key, DATA)).unlink()

    state, value = await store.get(read)
    assert (state.root, state.held, value) == (live(1), False, None)
    assert await store.verify(verified) is CopyVerdict.ABSENT
    assert store.usage().lost_total == 2
    assert store.usage().held == 0
    assert not (await put_answer(store, b"read")).had
    assert (await store.get(read))[1] == b"read"
    await store.close()


async def put_answer(store: FileRecordStore, value: bytes) -> PutAnswer:
    return await store.put_root(key_of(value), DATA, len(value), 1, value)


async def test_a_directory_where_a_file_should_be_is_a_fault(disk: PosixDisk, root: Path) -> None:
    store = await open_on(disk)
    key = await put(store, b"replaced")
    path = root / value_path(key, DATA)
    path.unlink()
    path.mkdir()

    for attempt in (store.get(key), store.verify(key), store.bury(key, 1)):
        with pytest.raises(StorageFault):
            await attempt
    await store.close()


async def test_a_directory_where_a_file_should_be_is_healed_by_a_put(
    disk: PosixDisk, root: Path
) -> None:
    store = await open_on(disk)
    key = await put(store, b"replaced")
    path = root / value_path(key, DATA)
    path.unlink()
    path.mkdir()

    assert not (await put_answer(store, b"replaced")).had
    assert (await store.get(key))[1] == b"replaced"
    await store.close()


async def test_directories_that_somebody_removed_are_made_again(
    disk: PosixDisk, root: Path
) -> None:
    store = await open_on(disk)
    key = await put(store, b"value")
    path = root / value_path(key, DATA)
    path.unlink()
    path.parent.rmdir()
    (root / "sha256" / ".tmp").rmdir()

    await put(store, b"value")

    assert path.read_bytes() == b"value"
    await store.close()


async def test_an_abandoned_put_is_finished_all_the_same(disk: PosixDisk) -> None:
    store = await open_on(disk)
    key = key_of(b"abandoned")
    putting = asyncio.ensure_future(put(store, b"abandoned"))
    while not store.usage().held and not putting.done():
        putting.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(putting, return_exceptions=True)
    await store.close()

    store = await open_on(disk)
    state, value = await store.get(key)
    assert (state.root, value) in [(live(1), b"abandoned"), (NO_ROOT, None)]
    await store.close()
