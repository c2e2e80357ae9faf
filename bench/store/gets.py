"""Gets of 1 KiB: hot ones out of the kernel's memory, cold ones from the disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Final

from bench.failure import RowFailed
from bench.pairs import measure_pairs
from bench.plan import KIB, SMALL_BYTES, size_words
from bench.store import bodies, load, raw
from bench.store.bodies import Body
from bench.store.figure import Figure, of_pairs
from bench.store.opened import Kind, Loop, drop_cache, running_loop
from bench.store.setting import Setting
from node.record_keeper import RecordKeeper

_READERS: Final = 16
_COLD_BYTES: Final = 4 * KIB
_NAME: Final = f"gets of {size_words(SMALL_BYTES)}"


def gets(setting: Setting) -> list[Figure]:
    """Gets per second for each store, hot by one reader, cold by one and by several."""
    scale = setting.scale
    size_bytes = scale.get_records * SMALL_BYTES
    figures = []
    with (
        closing(raw.RawFile(setting.folder / "cold", size_bytes, direct=True)) as cold,
        closing(raw.RawFile(setting.folder / "hot", size_bytes, direct=False)) as hot,
    ):
        for kind in Kind:
            with running_loop(setting.deadline) as loop:
                readers = _Readers(loop, kind, setting)
                figures.append(_hot(readers, hot, setting))
                figures += [_cold(readers, cold, setting, count) for count in (1, _READERS)]
    return figures


def _hot(readers: _Readers, file: raw.RawFile, setting: Setting) -> Figure:
    scale = setting.scale
    places = Random(1).sample(range(scale.get_records), scale.get_reads)
    pairs = measure_pairs(
        readers.hot, lambda: raw.cached_reads_per_s(file, SMALL_BYTES, places), scale.pairs
    )
    names = (f"gets-hot-{readers.kind.value}", f"{_NAME}, {readers.kind.value}, hot")
    return of_pairs(names, "/s", pairs, "preadv with RWF_NOWAIT of a cached file")


def _cold(readers: _Readers, file: raw.RawFile, setting: Setting, count: int) -> Figure:
    scale = setting.scale
    blocks = scale.get_records * SMALL_BYTES // _COLD_BYTES
    places = Random(1).choices(range(blocks), k=scale.get_reads)
    page = raw.aligned(_COLD_BYTES)
    pairs = measure_pairs(
        lambda: readers.cold(count),
        lambda: raw.reads_per_s(file, page, places, count),
        scale.pairs,
    )
    crowd = "1 reader" if count == 1 else f"{count} readers"
    kind = readers.kind.value
    names = (f"gets-cold-{kind}-{count}", f"{_NAME}, {kind}, cold, {crowd}")
    note = (
        f"{readers.waited_share:.0%} had to wait for the disk, "
        "for the others the kernel had read ahead"
    )
    return of_pairs(names, "/s", pairs, f"pread of 4 KiB with O_DIRECT, {crowd}", note)


class _Readers:
    """A store with records in it, read in no order."""

    def __init__(self, loop: Loop, kind: Kind, setting: Setting) -> None:
        scale = setting.scale
        self.kind = kind
        self.waited_share = 0.0
        self._folder: Path = setting.folder / kind.value
        self._loop = loop
        self._store: RecordKeeper = loop.open(kind, self._folder)
        made = bodies.make(scale.get_records, SMALL_BYTES)
        loop.run(load.puts(self._store, iter(made), 64))
        self._wanted: Sequence[Body] = Random(2).sample(made, scale.get_reads)

    def hot(self) -> float:
        """By `get_now`, which never waits; all of it was read once before."""
        self._loop.run(self._read(1))
        began_s = time.perf_counter()
        for body in self._wanted:
            answer = self._store.get_now(body.key)
            if answer is None or answer[1] != body.value:
                raise RowFailed("a hot record was not in memory")
        return len(self._wanted) / (time.perf_counter() - began_s)

    def cold(self, readers: int) -> float:
        """By `get`, after the kernel forgot the files."""
        drop_cache(self._folder)
        return self._loop.run(self._read(readers))

    async def _read(self, readers: int) -> float:
        left = iter(self._wanted)
        waited = 0

        async def one() -> bool:
            nonlocal waited
            body = next(left, None)
            if body is None:
                return False
            waited += await load.get(self._store, body)
            return True

        done = await load.together(one, readers)
        self.waited_share = waited / len(self._wanted)
        return done.per_s
