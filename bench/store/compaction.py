"""Compaction: how fast it frees the disk, and what clients feel of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from bench import progress
from bench.failure import RowFailed
from bench.plan import KIB, MIB, SMALL_BYTES, size_words
from bench.scratch import require_room
from bench.store import bodies, load
from bench.store.amplification import UNTHROTTLED
from bench.store.bodies import Body
from bench.store.figure import Figure
from bench.store.opened import Kind, Loop, folder_bytes, running_loop
from bench.store.scale import FULL_SEGMENT_BYTES
from bench.store.setting import Setting
from node.recordlog.log_tail import LogSizes
from node.recordlog.page_store import PageRecordStore, PageSettings
from node.recordlog.upkeep import UpkeepSettings

_RECORD_BYTES: Final = 4 * KIB
_LIVE_EVERY: Final = 10  # of which 4 stay
_LIVE: Final = 4
_CLIENTS: Final = 16  # of each kind
_BETWEEN_GETS_S: Final = 0.005
_BY_HAND: Final = 1e6  # seconds between two rounds: none is made but those that are asked for
_PUTS_PER_S_MAX: Final = 20_000
_COMPACTION_S_MAX: Final = 20.0


def compaction(setting: Setting) -> list[Figure]:
    """Bytes freed per second, and the p99 of puts and gets with compaction beside those without."""
    scale = setting.scale
    require_room(
        setting.folder, 4 * scale.compaction_segments * scale.segment_bytes, "compaction"
    )
    filled = (
        f"{scale.compaction_segments} segments of {size_words(scale.segment_bytes)}, "
        f"records of {size_words(_RECORD_BYTES)}, 40% of them live"
    )
    throttled = UpkeepSettings().compaction_bytes_per_s
    with running_loop(setting.deadline) as loop:
        quiet = _Store(setting, loop, "quiet", UNTHROTTLED)
        freed_bytes, seconds = loop.run(quiet.compact())
        figures = [
            Figure(
                "compaction", "disk freed by compaction, no throttle, no clients", "MB/s",
                freed_bytes / seconds / 1e6,
                full_scale=scale.segment_bytes >= FULL_SEGMENT_BYTES,
                note=f"{filled}; {freed_bytes / MIB:,.0f} MiB net of what was written anew, "
                f"in {seconds:.2f} s",
            )
        ]
        for name, words, rate in (
            ("default", f"throttled to {throttled / MIB:.0f} MiB/s as by default", throttled),
            ("no", "as fast as it can", UNTHROTTLED),
        ):
            busy = _Store(setting, loop, name, rate)
            without = loop.run(busy.latencies(scale.latency_seconds))
            during = loop.run(busy.latencies_while_compacting())
            for which, one, other in (
                ("puts", during.puts, without.puts),
                ("gets", during.gets, without.gets),
            ):
                note = f"{words}; {filled}"
                full_scale = scale.segment_bytes >= FULL_SEGMENT_BYTES
                figures.append(_slowed(f"{name}-{which}", one, other, note, full_scale=full_scale))
    return figures


def _slowed(
    key: str, during: load.Done, without: load.Done, note: str, *, full_scale: bool
) -> Figure:
    """The p99 of one kind of operation."""
    which = key.rpartition("-")[2]
    size_bytes = SMALL_BYTES if which == "puts" else _RECORD_BYTES
    medians_ms = [1e3 * load.percentile(one.latencies_s, 0.5) for one in (during, without)]
    return Figure(
        f"compaction-p99-{key}",
        f"p99 of {which} of {size_words(size_bytes)} by {_CLIENTS} tasks, beside as many others, "
        f"during compaction, {key.partition('-')[0]} throttle",
        "ms",
        1e3 * load.percentile(during.latencies_s, 0.99),
        1e3 * load.percentile(without.latencies_s, 0.99),
        "the same without compaction, just before",
        full_scale=full_scale,
        note=f"{note}; median {medians_ms[0]:.2f} against {medians_ms[1]:.2f} ms, "
        f"{during.per_s:,.0f} against {without.per_s:,.0f} {which}/s",
    )


@dataclass(frozen=True, slots=True)
class _Both:
    """What clients who put and clients who get did at the same time."""

    puts: load.Done
    gets: load.Done


class _Store:
    """A store whose log is full of segments that are worth freeing."""

    def __init__(self, setting: Setting, loop: Loop, name: str, bytes_per_s: float) -> None:
        scale = setting.scale
        self._log = setting.folder / name / "log"
        settings = PageSettings(
            log=LogSizes(segment_bytes=scale.segment_bytes),
            upkeep=UpkeepSettings(interval_s=_BY_HAND, compaction_bytes_per_s=bytes_per_s),
        )
        store = loop.open(Kind.PAGES, setting.folder / name, settings)
        assert isinstance(store, PageRecordStore)
        self._store = store
        fill_bytes = scale.compaction_segments * scale.segment_bytes
        made = bodies.make(fill_bytes // _RECORD_BYTES, _RECORD_BYTES)
        loop.run(load.puts(store, iter(made), 64))
        dead = [body for count, body in enumerate(made) if count % _LIVE_EVERY >= _LIVE]
        self._live = [body for count, body in enumerate(made) if count % _LIVE_EVERY < _LIVE]
        loop.run(load.bury(store, dead, 64))
        loop.run(store.upkeep.checkpoint())  # as a node has made one long since

    async def compact(self) -> tuple[int, float]:
        """Bytes by which the log's files shrank, and the seconds that took."""
        before_bytes = folder_bytes(self._log)
        began_s = time.perf_counter()
        await self._free_all()
        took_s = time.perf_counter() - began_s
        freed_bytes = before_bytes - folder_bytes(self._log)
        if freed_bytes <= 0:
            raise RowFailed("compaction freed nothing")
        return freed_bytes, took_s

    async def latencies(self, seconds: float) -> _Both:
        """Puts and gets for so long."""
        return await self._serve(seconds, lambda: False)

    async def latencies_while_compacting(self) -> _Both:
        """Puts and gets until compaction is through, or for as long as there is patience."""
        compacting = asyncio.get_running_loop().create_task(self._free_all())
        try:
            both = await self._serve(_COMPACTION_S_MAX, compacting.done)
        finally:
            is_through = compacting.done()
            compacting.cancel()
            with suppress(asyncio.CancelledError):
                await compacting
        if not is_through:
            progress.say(f"compaction was still at work after {_COMPACTION_S_MAX:.0f} s")
        return both

    async def _serve(self, seconds: float, is_over: Callable[[], bool]) -> _Both:
        fresh = _fresh(seconds)
        random = Random(4)

        async def put() -> bool:
            body = None if is_over() else next(fresh, None)
            if body is None:
                return False
            await load.put(self._store, body)
            return True

        gets_s: list[float] = []

        async def get() -> bool:
            await asyncio.sleep(_BETWEEN_GETS_S)  # who only gets takes the whole loop
            began_s = time.perf_counter()
            await asyncio.sleep(0)  # what comes by a socket waits for its turn, too
            await load.get(self._store, random.choice(self._live))
            gets_s.append(time.perf_counter() - began_s)
            return not is_over()

        puts, gets = await asyncio.gather(
            load.together(put, _CLIENTS, seconds), load.together(get, _CLIENTS, seconds)
        )
        gets.latencies_s = gets_s
        return _Both(puts, gets)

    async def _free_all(self) -> None:
        """Free what is worth it; RowFailed when nothing was."""
        freed = 0
        while await self._store.upkeep.free_one():
            freed += 1
        if not freed:
            raise RowFailed("compaction freed nothing")


def _fresh(seconds: float) -> Iterator[Body]:
    """Bodies as they are asked for: how many that will be is not known."""
    for _ in range(int(seconds * _PUTS_PER_S_MAX)):
        yield from bodies.make(1, SMALL_BYTES)
