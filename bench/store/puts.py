"""Durable puts of 1 KiB, beside appends with fdatasync; chunks of 4 MiB, beside direct writes."""

from __future__ import annotations

import os
from contextlib import closing

from bench.pairs import measure_pairs
from bench.plan import KIB, MIB, SMALL_BYTES, size_words
from bench.scratch import require_room
from bench.store import bodies, load, raw
from bench.store.figure import Figure, of_pairs
from bench.store.opened import Kind, running_loop
from bench.store.scale import CHUNK_WRITERS, WRITERS
from bench.store.setting import Setting
from node.record_keeper import RecordKeeper
from ring.limits import CHUNK_BYTES


def puts(setting: Setting) -> list[Figure]:
    """Puts per second for each store and number of writers."""
    scale = setting.scale
    require_room(setting.folder, 2 << 30, "puts")
    figures = []
    with (
        closing(raw.RawFile(setting.folder / "raw", 64 * MIB, direct=False)) as file,
        running_loop(setting.deadline) as loop,
    ):
        stores = {kind: loop.open(kind, setting.folder / kind.value) for kind in Kind}
        for writers in WRITERS:
            batch = os.urandom(writers * SMALL_BYTES)
            count = min(scale.put_records_max, 2_500 * writers)

            def bare(batch: bytes = batch, writers: int = writers) -> float:
                return raw.appends_per_s(file, batch, writers, scale.put_seconds)

            for kind in Kind:

                def ours(kind: Kind = kind, count: int = count, writers: int = writers) -> float:
                    fresh = iter(bodies.make(count, SMALL_BYTES))
                    step = load.puts(stores[kind], fresh, writers, scale.put_seconds)
                    return loop.run(step).per_s

                pairs = measure_pairs(ours, bare, scale.pairs)
                crowd = "1 writer" if writers == 1 else f"{writers} writers"
                name = f"durable puts of {size_words(SMALL_BYTES)}, {kind.value}, {crowd}"
                of = f"pwrite of {size_words(writers * KIB)} and fdatasync, in a loop"
                figures.append(of_pairs((f"puts-{kind.value}-{writers}", name), "/s", pairs, of))
    return figures


def chunks(setting: Setting) -> list[Figure]:
    """Megabytes of chunks per second."""
    scale = setting.scale
    total_bytes = scale.chunks * CHUNK_BYTES
    require_room(setting.folder, (3 * scale.pairs + 2) * total_bytes, "chunks")
    page = raw.aligned(CHUNK_BYTES)
    figures = []
    with (
        closing(raw.RawFile(setting.folder / "raw", total_bytes, direct=True)) as file,
        running_loop(setting.deadline) as loop,
    ):
        for kind in Kind:
            store = loop.open(kind, setting.folder / kind.value)

            def ours(store: RecordKeeper = store) -> float:
                fresh = iter(bodies.make(scale.chunks, CHUNK_BYTES))
                return _mb(loop.run(load.put_chunks(store, fresh, CHUNK_WRITERS)).per_s)

            def bare() -> float:
                return _mb(raw.group_writes_per_s(file, page, scale.chunks, CHUNK_WRITERS))

            pairs = measure_pairs(ours, bare, scale.pairs)
            name = f"chunks of {size_words(CHUNK_BYTES)}, {kind.value}, {CHUNK_WRITERS} writers"
            of = f"{CHUNK_WRITERS} pwrites at a time with O_DIRECT, then fdatasync"
            figures.append(
                of_pairs(
                    (f"chunks-{kind.value}", name), "MB/s", pairs, of, f"{scale.chunks} chunks"
                )
            )
    return figures


def _mb(chunks_per_s: float) -> float:
    return chunks_per_s * CHUNK_BYTES / 1e6
