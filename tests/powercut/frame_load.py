"""A process that writes, deletes and flushes frames in two threads and says what was acknowledged.

    python -m tests.powercut.frame_load ROOT LINES SEED OPERATIONS [COUNTER]

It first reads everything and says what it found.  It ends after so many operations, or when it is
killed.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Final

from node.pages.page_store import PageStore
from tests.node.pages.frames import filled, guid, image
from tests.powercut.frame_items import FRAMES, PAGE_SIZE, opened_frames, version_of
from tests.powercut.history import FOUND, MAY, MUST, NOTHING, State, Teller
from tests.powercut.kernel import die_with_parent

WRITERS: Final = 2


class FrameWriter:
    """Writes its own frames; what it wrote is promised after its next flush."""

    def __init__(self, store: PageStore, teller: Teller, seed: int, frames: list[int]) -> None:
        self._store = store
        self._teller = teller
        self._rng = Random(seed)
        self._frames = frames
        self._version = seed
        self._owed: dict[int, State] = {}

    def work(self, operations: int) -> None:
        for _ in range(operations):
            draw = self._rng.random()
            if draw < 0.55:
                self._write(self._rng.sample(self._frames, 1))
            elif draw < 0.65:
                self._write(self._rng.sample(self._frames, 3))
            elif draw < 0.75:
                self._delete(self._rng.choice(self._frames))
            else:
                self._flush(vacuum=draw > 0.98)

    def _write(self, items: list[int]) -> None:
        batch = []
        for item in items:
            self._version += 1
            data = image(item, self._version, PAGE_SIZE)
            batch.append((guid(item), filled(self._store, data)))
            self._owe(item, (self._version,))
        if self._rng.random() < 0.2:
            self._store.write_blobs_with_data_sync(batch)
        else:
            self._store.write_blobs(batch)

    def _delete(self, item: int) -> None:
        self._owe(item, NOTHING)
        self._store.delete_blob(guid(item))

    def _owe(self, item: int, state: State) -> None:
        self._teller.say(MAY, item, state)
        self._owed[item] = state

    def _flush(self, *, vacuum: bool) -> None:
        if vacuum:
            self._store.vacuum()
        else:
            self._store.flush()
        for item, state in self._owed.items():
            self._teller.say(MUST, item, state)
        self._owed.clear()


def main(root: str, lines: str, seed: str, operations: str, counter: str | None = None) -> None:
    """See the module."""
    die_with_parent()
    teller = Teller(lines, counter)
    store = opened_frames(root)
    newest = 0
    for item in range(FRAMES):
        state = version_of(store, item)
        newest = max(newest, *state, 0)
        teller.say(FOUND, item, state)
    writers = [
        FrameWriter(store, teller, newest + 1_000_000 * first + int(seed), list(frames))
        for first, frames in ((n, range(n, FRAMES, WRITERS)) for n in range(WRITERS))
    ]
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(lambda writer: writer.work(int(operations) // WRITERS), writers):
            pass
    store.close()
    teller.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
