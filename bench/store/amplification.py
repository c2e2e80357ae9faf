"""Bytes written to the disk for each byte stored, checkpoints of the index included."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

from bench.failure import RowFailed
from bench.plan import SMALL_BYTES, size_words
from bench.scratch import require_room
from bench.store import bodies, load
from bench.store.bodies import Body
from bench.store.counting import CountingDisk, Written
from bench.store.figure import Figure
from bench.store.opened import Kind, Loop, folder_bytes, running_loop
from bench.store.scale import AMPLIFICATION_WRITERS, LARGER_BYTES
from bench.store.setting import Setting
from node.record_keeper import RecordKeeper
from node.recordlog.batch import used_bytes_at
from node.recordlog.log_tail import LogSizes
from node.recordlog.page_store import PageRecordStore, PageSettings
from node.recordlog.upkeep import UpkeepSettings
from ring.seams import BLOCK_BYTES

BUDGET: Final = 2.5
_BUDGET_LONE_BLOCKS: Final = 3
_BUDGET_DELETES: Final = 4.0
_LIMIT_OF: Final = "every byte written once"
_WRITERS: Final = 16
_SEGMENTS_MIN: Final = 12
_ENDS_OF_A_ROUND: Final = 2  # of the checkpoint before it and of its own
_TOMBSTONES_SHARE: Final = 4  # one for so many live records
UNTHROTTLED: Final = 1e12


def amplification(setting: Setting) -> list[Figure]:
    """For 1 KiB and few or many writers, and for larger records."""
    scale = setting.scale
    require_room(setting.folder, 8 * scale.larger_bytes, "write amplification")
    loads = [
        (SMALL_BYTES, writers, scale.lone_puts if writers == 1 else scale.small_puts)
        for writers in AMPLIFICATION_WRITERS
    ]
    loads += [(size, _WRITERS, max(16, scale.larger_bytes // size)) for size in LARGER_BYTES]
    figures = []
    with running_loop(setting.deadline) as loop:
        for number, (size_bytes, writers, count) in enumerate(loads):
            folder = setting.folder / str(number)
            disk = CountingDisk(str(folder))
            store = loop.open(Kind.PAGES, folder, disk=disk)
            wrote = loop.run(stored(store, disk, bodies.make(count, size_bytes), writers))
            figures += _figures(wrote, size_bytes, writers, count)
    return figures


async def stored(
    store: RecordKeeper, disk: CountingDisk, made: Sequence[Body], writers: int
) -> Written:
    """What putting the bodies writes, with a checkpoint at the end."""
    assert isinstance(store, PageRecordStore)
    before = disk.written()
    await load.puts(store, iter(made), writers)
    await store.upkeep.checkpoint()
    return disk.written().since(before)


async def stored_in_a_round(
    store: RecordKeeper, disk: CountingDisk, writers: int, records_max: int
) -> tuple[Written, int]:
    """What is written from the end of one checkpoint that the store makes by itself to the end of
    the next, and how many records were put meanwhile.  RowFailed when that takes too many.
    """
    assert isinstance(store, PageRecordStore)
    upkeep = store.upkeep
    ends: list[tuple[Written, int]] = []

    def puts() -> Iterator[Body]:
        """Looks before each put, so that no checkpoint ends unseen however quick they are."""
        seen = upkeep.checkpoints_total
        for count in range(records_max):
            if upkeep.checkpoints_total != seen:
                seen = upkeep.checkpoints_total
                ends.append((disk.written(), count))
                if len(ends) == _ENDS_OF_A_ROUND:
                    return
            yield bodies.body_of(os.urandom(SMALL_BYTES))

    await load.puts(store, puts(), writers)
    if len(ends) < _ENDS_OF_A_ROUND:
        raise RowFailed(f"no two checkpoints within {records_max:,} puts")
    (before, first), (after, last) = ends
    return after.since(before), last - first


def parts(wrote: Written, stored_bytes: int) -> str:
    """Where the bytes went, in words."""
    return (
        f"log and values {wrote.others / stored_bytes:.2f}, "
        f"index {wrote.index / stored_bytes:.2f}; besides, "
        f"{wrote.zeros / stored_bytes:.2f} of zeros ahead of the log; "
        f"the kernel's write_bytes, zeros included: {wrote.device / stored_bytes:.2f}"
    )


def _figures(wrote: Written, size_bytes: int, writers: int, count: int) -> list[Figure]:
    stored_bytes = size_bytes * count
    lone = writers == 1
    crowd = "1 writer" if lone else f"{writers} writers"
    words = f"{size_words(size_bytes)}, {crowd}"
    key = f"amplification-{size_bytes}-{writers}"
    note = f"{count:,} records: {parts(wrote, stored_bytes)}"
    figure = Figure(
        key, f"bytes written for each stored, {words}", "bytes",
        wrote.without_zeros / stored_bytes, 1.0, _LIMIT_OF, None if lone else BUDGET, note=note,
    )
    if not lone:
        return [figure]
    blocks = wrote.without_zeros / count / BLOCK_BYTES
    name = f"blocks written for each put, {words}"
    return [
        figure,
        Figure(f"{key}-blocks", name, "blocks", blocks, 1.0, "one block", _BUDGET_LONE_BLOCKS),
    ]


def churn(setting: Setting) -> list[Figure]:
    """Replace records one by one while compaction keeps as much of the store live as it does.

    Tombstones are dropped later on, as a cluster does when all nodes have them.  What counts is how
    many segments there are, not how long they are: where there are few, none has the time to become
    emptier than the others.
    """
    scale = setting.scale
    sizes = LogSizes(segment_bytes=scale.churn_segment_bytes)
    upkeep = UpkeepSettings(interval_s=0.2, compaction_bytes_per_s=UNTHROTTLED)
    disk = CountingDisk(str(setting.folder / "churn"))
    with running_loop(setting.deadline) as loop:
        settings = PageSettings(log=sizes, upkeep=upkeep)
        store = loop.open(Kind.PAGES, setting.folder / "churn", settings, disk)
        return [_churned(setting, loop, store, disk, sizes)]


def _churned(
    setting: Setting, loop: Loop, store: RecordKeeper, disk: CountingDisk, sizes: LogSizes
) -> Figure:
    assert isinstance(store, PageRecordStore)
    scale = setting.scale
    live = bodies.make(scale.churn_records, SMALL_BYTES)
    loop.run(load.puts(store, iter(live), _WRITERS))
    dead: deque[Body] = deque()
    loop.run(_replaced(store, live, dead, scale.churn_records))  # until both are everywhere
    shares: list[float] = []
    shares_of_files: list[float] = []
    segments = _names(setting)
    before = disk.written()
    for _ in range(scale.churn_turns):
        loop.run(_replaced(store, live, dead, scale.churn_records))
        log = setting.folder / "churn" / "log"
        live_bytes = scale.churn_records * SMALL_BYTES
        shares.append(live_bytes / values_bytes(log))
        shares_of_files.append(live_bytes / (folder_bytes(log) - sizes.reserve_bytes))
    loop.run(store.upkeep.checkpoint())
    wrote = disk.written().since(before)
    stored_bytes = scale.churn_turns * scale.churn_records * SMALL_BYTES
    freed = len(segments - _names(setting))
    if not freed:
        raise RowFailed("compaction freed nothing while records were replaced")
    return Figure(
        "amplification-deletes",
        f"bytes written for each stored, {size_words(SMALL_BYTES)}, {_WRITERS} writers, each put "
        "followed by a delete and later by the drop of a tombstone, compaction included",
        "bytes",
        wrote.without_zeros / stored_bytes,
        1.0,
        _LIMIT_OF,
        _BUDGET_DELETES,
        full_scale=len(segments) >= _SEGMENTS_MIN,
        note=f"{scale.churn_records:,} live records in {len(segments)} segments of "
        f"{size_words(scale.churn_segment_bytes)}, each replaced {scale.churn_turns} times; "
        f"{min(shares):.0%} to {max(shares):.0%} of the values in the log were live, which were "
        f"{min(shares_of_files):.0%} to {max(shares_of_files):.0%} of its files with rows, "
        f"tombstones and padding; "
        f"{freed} of the first segments freed; {parts(wrote, stored_bytes)}",
    )


def values_bytes(log: Path) -> int:
    """All values that the segments of a log have, live or not, by the heads of their batches."""
    total = 0
    for path in sorted(log.glob("*.seg")):
        content = path.read_bytes()
        at = BLOCK_BYTES
        while (used_bytes := used_bytes_at(content[at : at + BLOCK_BYTES])) is not None:
            total += int.from_bytes(content[at + 8 : at + 12], "little")
            at += -(-used_bytes // BLOCK_BYTES) * BLOCK_BYTES
    return total


def _names(setting: Setting) -> frozenset[str]:
    return frozenset(path.name for path in (setting.folder / "churn" / "log").iterdir())


async def _replaced(
    store: RecordKeeper, live: list[Body], dead: deque[Body], count: int
) -> None:
    """Put so many new records and delete as many old ones, which are drawn by chance."""
    random = Random(count)
    fresh = iter(bodies.make(count, SMALL_BYTES))

    async def one() -> bool:
        body = next(fresh, None)
        if body is None:
            return False
        place = random.randrange(len(live))
        old, live[place] = live[place], body
        await load.put(store, body)
        await store.bury(old.key, load.GENERATION)
        dead.append(old)
        if len(dead) > len(live) // _TOMBSTONES_SHARE:
            await store.drop(dead.popleft().key)
        return True

    await load.together(one, _WRITERS)
