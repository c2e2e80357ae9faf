"""Power cuts at every boundary of scripts of random work (H14, H15, H17 and more)."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from node.pages.page_store import PageStore
from ring.errors import HoldfastError, NotFound
from tests.node.pages.crash_states import STATES, Allowed, states
from tests.node.pages.frames import PAGE, filled, got, guid, image, put
from tests.node.pages.sim_directory import Killed, Medium, SimDirectory, failing

FRAMES = 6
OPERATIONS = 40
SCRIPTS = max(16, STATES // 500)


def quiet(_kind: str, _name: str) -> BaseException | None:
    """No faults."""
    return None


class Script:
    """Random work on a store, noted in its history.

    faults: now and then a call fails; what was refused may have happened or not.
    """

    def __init__(self, directory: SimDirectory, rng: Random, *, first: int, faults: bool) -> None:
        self._directory = directory
        self._rng = rng
        self._version = first
        self._faults = faults
        self._store = self._opened()
        self._settle()

    def run(self, operations: int) -> None:
        """End with everything flushed."""
        for _ in range(operations):
            if self._faults and self._rng.random() < 0.15:
                kind = self._rng.choice(("*", "sync", "write", "sync", "allocate", "rename"))
                self._medium.fail = failing(kind, self._rng.randrange(4))
            work = (self._write, self._batch, self._delete, self._flush, self._vacuum, self._again,
                    self._killed)  # fmt: skip
            try:
                self._rng.choices(work, (6, 3, 2, 4, 1, 1, 1))[0]()
            except HoldfastError:
                if not self._faults:
                    raise
            if self._rng.random() < 0.5:
                self._medium.fail = quiet
        self._medium.fail = quiet
        self.finish()

    @property
    def _medium(self) -> Medium:
        return self._directory.medium

    def _opened(self) -> PageStore:
        return PageStore(self._directory, page_size=PAGE, log_bytes_min=400)

    def _noted(self, number: int, *, present: bool = True) -> bytes:
        self._version += 1
        version = self._version if present else 0
        self._medium.record("note", note=("wrote", number, version))
        return image(number, version)

    def _write(self) -> None:
        number = self._rng.randrange(FRAMES)
        self._store.write_blob(guid(number), filled(self._store, self._noted(number)))

    def _batch(self) -> None:
        numbers = [self._rng.randrange(FRAMES) for _ in range(self._rng.randrange(4))]
        batch = [(guid(n), filled(self._store, self._noted(n))) for n in numbers]
        if self._rng.random() < 0.5:
            self._store.write_blobs(batch)
        else:
            self._store.write_blobs_with_data_sync(batch)

    def _delete(self) -> None:
        number = self._rng.randrange(FRAMES)
        self._noted(number, present=False)
        self._store.delete_blob(guid(number))

    def _flush(self) -> None:
        self._store.flush()
        assert not self._store.needs_flush()
        self._settle()

    def _vacuum(self) -> None:
        self._store.vacuum()
        self._settle()

    def _settle(self) -> None:
        """A flush returned: each frame's newest version is what the store says now.

        After refused writes the script cannot know which landed, so it asks, of the store that then
        has to keep its word.
        """
        fail, self._medium.fail = self._medium.fail, quiet
        for number in range(FRAMES):
            version = version_of(self._store, number)
            self._medium.record("note", note=("wrote", number, version))
        self._medium.record("note", note=("flushed",))
        self._medium.fail = fail

    def _again(self) -> None:
        """The process ends, kindly or not, and another one begins."""
        fail, self._medium.fail = self._medium.fail, quiet
        if self._rng.random() < 0.5:
            self._store.close()
            self._directory = SimDirectory(self._medium)
        else:
            self._directory = self._directory.kill()
        self._store = self._opened()
        self._settle()  # what is found at a start is durable from then on
        self._medium.fail = fail

    def _killed(self) -> None:
        """The process dies in the middle of a flush."""
        self._medium.fail = failing("*", self._rng.randrange(8), Killed())
        try:
            self._rng.choice((self._store.flush, self._store.vacuum))()
        except Killed:
            self._directory = self._directory.kill()
            self._medium.fail = quiet
            self._store = self._opened()
        self._medium.fail = quiet
        self._settle()

    def finish(self) -> None:
        """Whatever was lost when a sync failed is written again; then a flush must succeed."""
        for number in range(FRAMES):
            self._store.write_blob(guid(number), filled(self._store, self._noted(number)))
        self._flush()
        self._store.close()


def version_of(store: PageStore, number: int) -> int:
    """The version that a frame is at, whole; 0 for absent."""
    try:
        data = got(store, number)
    except NotFound:
        return 0
    except HoldfastError as error:
        raise AssertionError(f"frame {number} cannot be read") from error
    version = int(data[:64].split(b"/")[1])
    assert data == image(number, version), f"frame {number} is a mix"
    return version


def judge(directory: SimDirectory, allowed: Allowed) -> None:
    """The store opens, and every frame is whole and one of those that it may be."""
    store = PageStore(directory, page_size=PAGE)
    listed = store.list_blobs()
    assert len(listed) == len(set(listed))
    for number, versions in allowed.versions.items():
        version = version_of(store, number)
        assert version in versions, f"frame {number} is at {version}, not one of {versions}"
        assert (guid(number) in listed) == store.has_blob(guid(number)) == bool(version)
    assert not store.needs_flush()
    store.close()


def scripted(seed: int, *, faults: bool) -> SimDirectory:
    directory = SimDirectory(Medium(rng=Random(seed)), direct=seed % 2 == 0)
    Script(directory, Random(seed), first=0, faults=faults).run(OPERATIONS)
    return directory


@pytest.mark.parametrize("faults", [False, True], ids=["quiet", "faults"])
@pytest.mark.parametrize("seed", range(SCRIPTS))
def test_h14_h15_a_power_cut_leaves_whole_frames_and_what_was_flushed(
    seed: int, *, faults: bool
) -> None:
    history = scripted(seed, faults=faults).medium.history
    rng = Random(seed)

    for directory, allowed in states(history, rng, STATES // (2 * SCRIPTS)):
        judge(directory, allowed)


@pytest.mark.parametrize("seed", range(SCRIPTS))
def test_h14_a_power_cut_after_a_power_cut_is_no_worse(seed: int) -> None:
    history = scripted(seed, faults=False).medium.history
    rng = Random(seed)
    first = [(cut, allowed.copy()) for cut, allowed in states(history, rng, 1)]

    for directory, allowed in first[seed :: len(history) // 4]:
        found = directory.medium.copy()
        Script(directory, rng, first=10_000, faults=True).run(6)
        second = directory.medium.history
        for again, now_allowed in states(second, rng, STATES // 200, found, allowed):
            judge(again, now_allowed)


def noted(store: PageStore, medium: Medium, number: int, version: int) -> None:
    """Write an image and say so."""
    medium.record("note", note=("wrote", number, version))
    put(store, number, version)


@pytest.mark.parametrize("fault", ["killed", "failed", "failed before the log"])
@pytest.mark.parametrize("call", range(12))
def test_h14_what_the_next_process_found_survives_a_power_cut(call: int, fault: str) -> None:
    """Its predecessor died, or was failed by the disk, in the middle of a flush.

    What it read was in the page cache, perhaps nowhere else.
    """
    rng = Random(call)
    directory = SimDirectory(Medium(rng=rng), direct=call % 2 == 0)
    medium = directory.medium
    store = PageStore(directory, page_size=PAGE)
    for version in (100, 200):
        for number in range(FRAMES):
            noted(store, medium, number, version)
        if version == 100:
            store.flush()
            medium.record("note", note=("flushed",))
    medium.fail = {
        "killed": failing("*", call, Killed()),
        "failed": failing("sync", 0, name="manifest.log"),
        "failed before the log": failing("sync", 0, name="blobs.dat"),
    }[fault]
    with suppress(Killed, HoldfastError):
        store.flush()
    medium.fail = quiet

    again = PageStore(directory.kill(), page_size=PAGE)
    for number in range(FRAMES):
        medium.record("note", note=("wrote", number, version_of(again, number)))
    medium.record("note", note=("flushed",))
    for number in range(2 * FRAMES, 3 * FRAMES):  # into the slots that are free now
        noted(again, medium, number, 300)

    for cut, allowed in states(medium.history, rng, 1):
        judge(cut, allowed)
