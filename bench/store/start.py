"""Opening a store that has very many records: seconds and memory; and puts into it.

Seconds count from the birth of the process to the moment when the store is open.  Memory is the
peak of RssAnon from birth until one second after.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import progress
from bench.child import Child
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.memory import INTERVAL_S, MemorySampler
from bench.plan import MIB, SMALL_BYTES, size_words
from bench.scratch import require_room
from bench.store.amplification import BUDGET, parts, stored_in_a_round
from bench.store.counting import CountingDisk
from bench.store.figure import Figure
from bench.store.opened import Kind, running_loop
from bench.store.scale import FULL_RECORDS
from bench.store.setting import Setting

_BUDGET_S: Final = 2.0
_BUDGET_MIB: Final = 250.0
_FILL_S: Final = 300.0
_OPEN_S: Final = 60.0
_STOP_S: Final = 30.0
_AFTER_S: Final = 1.0
_RECORD_BYTES_ABOUT: Final = 1_500  # on the disk, at worst
_WRITERS: Final = 16


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of a store."""

    seconds: float
    memory_bytes: int


def start(setting: Setting) -> list[Figure]:
    """After a clean close, after SIGKILL, and write amplification at that size."""
    scale, folder = setting.scale, setting.folder
    total = scale.records + scale.tail_records
    require_room(folder, total * _RECORD_BYTES_ABOUT, f"a store of {total:,} records")
    empty = _openings(setting, "empty", 0, signal.SIGTERM)
    filling = Resident(folder, "full", 0, scale.records, setting.deadline)
    try:
        seconds = filling.value("filled", _FILL_S)
    except BaseException:
        filling.end(signal.SIGKILL)
        raise
    filling.end(signal.SIGTERM)
    progress.say(f"start: {scale.records:,} records in {seconds:.0f} s")
    clean = _openings(setting, "full", scale.records, signal.SIGTERM)
    tail = Resident(folder, "full", scale.records, scale.tail_records, setting.deadline)
    try:
        tail.value("filled", _FILL_S)
    finally:
        tail.end(signal.SIGKILL)
    killed = _openings(setting, "full", total, signal.SIGKILL)
    filled = f"filled in {seconds:.0f} s, {scale.records / seconds:,.0f} records/s"
    return [
        *_figures(setting, "clean", clean, empty, filled),
        *_figures(
            setting, "killed", killed, empty,
            f"{scale.tail_records:,} more records since the last opening",
        ),
        _amplification(setting, total),
    ]


def _figures(
    setting: Setting, key: str, full: list[Opening], empty: list[Opening], note: str
) -> list[Figure]:
    records = setting.scale.records
    full_scale = records >= FULL_RECORDS
    after = "a clean close" if key == "clean" else "SIGKILL"
    name = f"store with {records:,} records opened after {after}"
    said = f"median of {len(full)}; {note}"
    limit = "the same with no records"
    return [
        Figure(
            f"start-{key}", f"{name}: time", "s", _seconds(full), _seconds(empty), limit,
            _BUDGET_S, full_scale, said,
        ),
        Figure(
            f"start-{key}-memory", f"{name}: peak RssAnon", "MiB", _mebibytes(full),
            _mebibytes(empty), limit, _BUDGET_MIB, full_scale, said,
        ),
    ]


def _amplification(setting: Setting, records: int) -> Figure:
    folder = setting.folder / "full"
    disk = CountingDisk(str(folder))
    with running_loop(setting.deadline) as loop:
        store = loop.open(Kind.PAGES, folder, disk=disk)
        records_max = setting.scale.round_records_max
        wrote, count = loop.run(stored_in_a_round(store, disk, _WRITERS, records_max))
    return Figure(
        "amplification-large-store",
        f"bytes written for each stored, {size_words(SMALL_BYTES)}, {_WRITERS} writers, into a "
        f"store of {records:,} records",
        "bytes", wrote.without_zeros / (count * SMALL_BYTES), 1.0, "every byte written once",
        BUDGET, full_scale=records >= FULL_RECORDS,
        note=f"{count:,} puts from one checkpoint to the next, as the store makes them: "
        f"{parts(wrote, count * SMALL_BYTES)}",
    )


def _seconds(openings: list[Opening]) -> float:
    return statistics.median_low(one.seconds for one in openings)


def _mebibytes(openings: list[Opening]) -> float:
    return statistics.median_low(one.memory_bytes for one in openings) / MIB


def _openings(setting: Setting, name: str, records: int, how: signal.Signals) -> list[Opening]:
    """Open and end so many times; `how` leaves the store as it should be found next time."""
    return [
        _open(setting.folder, name, records, how, setting.deadline)
        for _ in range(setting.scale.open_rounds)
    ]


def _open(
    folder: Path, name: str, records: int, how: signal.Signals, deadline: Deadline
) -> Opening:
    resident = Resident(folder, name, 0, 0, deadline)
    try:
        seconds = resident.value("ready", _OPEN_S)
        found = int(resident.value("records", _OPEN_S))
        if found != records:
            raise RowFailed(f"a store of {records:,} records was opened with {found:,}")
        settle = Deadline(_AFTER_S)
        while settle.remaining_s() > 0:
            resident.sampler.sample()
            time.sleep(INTERVAL_S)
        return Opening(seconds, resident.sampler.peak_bytes)
    finally:
        resident.end(how)


class Resident:
    """A process of resident.py; the caller ends it."""

    def __init__(self, folder: Path, name: str, first: int, count: int, deadline: Deadline) -> None:
        self._deadline = deadline
        self._log = folder / f"{name}.log"
        arguments = (str(folder / name), str(first), str(count))
        self._child = Child([sys.executable, "-m", "bench.store.resident", *arguments], self._log)
        self.sampler = MemorySampler(lambda: [self._child.pid])

    def value(self, name: str, patience_s: float) -> float:
        """The number that it says under this name; samples its memory until it does."""
        patience = Deadline(self._deadline.share_s(patience_s, f"a store that is {name}"))
        while patience.remaining_s() > 0:
            said = said_value(self._log.read_text(errors="replace"), name)
            if said is not None:
                return said
            if self._child.exited:
                raise RowFailed(f"a process with a store ended: {self._child.last_words()}")
            self.sampler.sample()
            time.sleep(INTERVAL_S)
        raise RowFailed(f"a store was not {name} within {patience_s:.0f} s")

    def end(self, how: signal.Signals) -> None:
        """SIGTERM closes the store; SIGKILL does not."""
        if how is signal.SIGKILL and not self._child.exited:
            os.kill(self._child.pid, signal.SIGKILL)
        complaint = self._child.stop(_STOP_S)
        if complaint and how is not signal.SIGKILL:
            raise RowFailed(f"a process with a store {complaint}")


def said_value(text: str, name: str) -> float | None:
    """The number of the line `name number`, if that line is whole."""
    for line in text.splitlines(keepends=True):
        word, _, number = line.partition(" ")
        if word == name and line.endswith("\n"):
            return float(number)
    return None
