"""PageStore: frames written, read and flushed, beside direct I/O on a file of the same size."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from random import Random

from bench.pairs import measure_pairs
from bench.plan import size_words
from bench.scratch import require_room
from bench.store import raw
from bench.store.figure import Figure, of_pairs
from bench.store.setting import Setting
from node.pages.page_store import PAGE_SIZE, PageStore

_FLUSH_EVERY = 16


def frames(setting: Setting) -> list[Figure]:
    """Frames per second, all of them written over frames that are there."""
    scale = setting.scale
    require_room(setting.folder, 4 * scale.frames * PAGE_SIZE, "frames")
    guids = [os.urandom(16) for _ in range(scale.frames)]
    order = list(range(scale.frames))
    Random(1).shuffle(order)
    page = raw.aligned(PAGE_SIZE)
    size_bytes = scale.frames * PAGE_SIZE
    with (
        closing(raw.RawFile(setting.folder / "raw", size_bytes, direct=True)) as file,
        closing(PageStore.open(str(setting.folder / "frames"))) as store,
    ):
        loads = _Frames(store, guids, order)
        for _ in range(2):  # then there is a free slot for each frame, as there is in use
            loads.write(_FLUSH_EVERY)

        def compare(
            key: str, what: str, ours: Callable[[], float], bare: Callable[[], float], of: str
        ) -> Figure:
            setting.deadline.share_s(1, what)
            pairs = measure_pairs(ours, bare, scale.pairs)
            name = f"frames of {size_words(PAGE_SIZE)} {what}"
            return of_pairs((key, name), "frames/s", pairs, of, f"{scale.frames} frames")

        def written(sync_every: int) -> Callable[[], float]:
            return lambda: raw.writes_per_s(file, page, order, sync_every)

        return [
            compare(
                "frames-write", "written, not flushed",
                lambda: loads.write(0), written(0), "pwrite with O_DIRECT",
            ),
            compare(
                "frames-read", "read, in no order", loads.read,
                lambda: raw.reads_per_s(file, page, order), "pread with O_DIRECT",
            ),
            compare(
                "frames-flush", "written, each flushed",
                lambda: loads.write(1), written(1), "pwrite with O_DIRECT and fdatasync, each",
            ),
            compare(
                f"frames-flush-{_FLUSH_EVERY}", f"written, a flush for every {_FLUSH_EVERY}",
                lambda: loads.write(_FLUSH_EVERY), written(_FLUSH_EVERY),
                f"pwrite with O_DIRECT, fdatasync for every {_FLUSH_EVERY}",
            ),
        ]


class _Frames:
    """Loads on one store."""

    def __init__(self, store: PageStore, guids: list[bytes], order: list[int]) -> None:
        self._store = store
        self._guids = guids
        self._order = order
        self._buffer = store.alloc_blob_buf_zeroed()
        self._buffer[:] = os.urandom(len(self._buffer))

    def write(self, flush_every: int) -> float:
        """Frames per second; flush_every 0: one flush at the end, which is not timed."""
        store = self._store
        began_s = time.perf_counter()
        for count, number in enumerate(self._order, 1):
            store.write_blob(self._guids[number], self._buffer)
            if flush_every and count % flush_every == 0:
                store.flush()
        took_s = time.perf_counter() - began_s
        store.flush()
        return len(self._order) / took_s

    def read(self) -> float:
        """Frames per second, each checked against its checksum as every read is."""
        began_s = time.perf_counter()
        for number in self._order:
            self._store.read_blob(self._guids[number], self._buffer)
        return len(self._order) / (time.perf_counter() - began_s)
