"""`python -m bench peers`: Holdfast beside what a user would pick instead, in one run.

Standard output has the table, or one JSON object, and nothing else. Every process that is begun
here is ended here, and the folder that all data lies in belongs to the caller.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

from bench import curl, progress, wrk
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.payload import Payload
from bench.peers import traffic
from bench.peers.bazel_remote import bazel_remote
from bench.peers.door import Door, Part, Skipped, System
from bench.peers.minio import minio
from bench.peers.ours import bare_handler, holdfast
from bench.peers.rounds import Cell, Turn, settle, take_rounds
from bench.peers.scale import TOTAL_S, Kind, Load, Scale, loads
from bench.peers.seaweed import seaweedfs
from bench.peers.table import Report, as_json, as_markdown
from bench.peers.unmeasured import UNMEASURED, skip
from bench.plan import KIB, MIB, Plan
from bench.proc import file_system
from bench.scratch import require_room

KEYS: Final = (
    *("holdfast", "seaweedfs", "minio", "bazel-remote", "bare"),
    *(peer.key for peer in UNMEASURED),
)
_WARM_S: Final = 1
_WARM_CONNECTIONS: Final = 16


def run_peers(plan: Plan, only: Sequence[str], scale: Scale, *, json: bool) -> int:
    """Measure, print, and return the exit status: 1 when a system that was found has no figure."""
    deadline = Deadline(TOTAL_S)
    found = [
        holdfast(plan), seaweedfs(plan.folder), minio(plan.folder), bazel_remote(plan.folder),
        bare_handler(plan),
    ]
    found += [skip(peer) for peer in UNMEASURED]
    chosen = [one for one in found if not only or one.key in only]
    systems = [one for one in chosen if isinstance(one, System)]
    skipped = [one for one in chosen if isinstance(one, Skipped)]
    for peer in skipped:
        progress.say(f"{peer.name} is skipped: {peer.why}")
    machine = machine_words(plan.folder)
    progress.say(machine)
    rows = loads(scale)
    cells = {(system.key, load.key): Cell() for system in systems for load in rows}
    date = dt.datetime.now(dt.UTC).date().isoformat()
    _Comparison(plan.folder, scale, rows, cells, deadline).run(systems)
    report = Report(date, machine, scale, systems, skipped, rows, cells)
    print(as_json(report) if json else as_markdown(report))
    return 0 if report.complete else 1


def machine_words(folder: Path) -> str:
    """Processor, cores, memory, kernel and file system, for whoever reads the table elsewhere."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (KIB * MIB)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory_gib:.0f} GiB of memory, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"data on {file_system(folder)}, load generator on the same machine"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


class _Comparison:
    """All loads, over all systems that run."""

    def __init__(
        self,
        folder: Path,
        scale: Scale,
        rows: Sequence[Load],
        cells: dict[tuple[str, str], Cell],
        deadline: Deadline,
    ) -> None:
        self._folder = folder
        self._scale = scale
        self._rows = rows
        self._cells = cells
        self._deadline = deadline

    def run(self, systems: Sequence[System]) -> None:
        """Start every system, measure load by load, end every system."""
        with ExitStack() as running:
            doors: list[tuple[System, Door]] = []
            for system in systems:
                progress.say(f"starting {system.name}")
                try:
                    doors.append((system, running.enter_context(system.running(self._deadline))))
                except RowFailed as error:
                    progress.say(f"{system.name} did not start: {error}")
                    self._give_up([system], self._rows, f"it did not start: {error}")
            self._warm(doors)
            for load in self._rows:
                if load.kind is Kind.PUT_SMALL:
                    self._turns(doors, load, self._put_small)
            self._read_small(doors)
            self._large(doors)

    def _warm(self, doors: Sequence[tuple[System, Door]]) -> None:
        """A second of load for everybody, so that no first figure pays for a cold start."""
        for system, door in doors:
            try:
                traffic.put_small(door, "warm", _WARM_CONNECTIONS, _WARM_S, self._deadline)
            except RowFailed as error:
                progress.say(f"warming {system.name} up failed: {error}")

    def _put_small(self, system: System, door: Door, load: Load, number: int) -> float:
        tag = f"{load.key}-{number}"
        rate = traffic.put_small(
            door, tag, load.connections, self._scale.small_s, self._deadline
        )
        if system.part is not Part.LIMIT:
            traffic.check_small(door, tag, wrk.FIRST_NUMBER)
        return rate

    def _read_small(self, doors: Sequence[tuple[System, Door]]) -> None:
        rows = [load for load in self._rows if load.kind is Kind.GET_SMALL]
        ready = []
        for system, door in doors:
            progress.say(f"storing {self._scale.stock_blobs:,} blobs in {system.name} to read")
            try:
                paths = traffic.stock(door, "stock", self._scale.stock_blobs, self._deadline)
                if system.part is not Part.LIMIT:
                    traffic.check_small(door, "stock", self._scale.stock_blobs)
                self._paths(system).write_text("\n".join(paths) + "\n")
                self._read(system, door, _WARM_CONNECTIONS, _WARM_S)
            except RowFailed as error:
                self._give_up([system], rows, str(error))
                continue
            ready.append((system, door))
        for load in rows:
            self._turns(ready, load, self._get_small)

    def _get_small(self, system: System, door: Door, load: Load, _number: int) -> float:
        return self._read(system, door, load.connections, self._scale.small_s)

    def _read(self, system: System, door: Door, connections: int, seconds: int) -> float:
        return traffic.get_small(door, self._paths(system), connections, seconds, self._deadline)

    def _paths(self, system: System) -> Path:
        return self._folder / f"{system.key}-paths.txt"

    def _large(self, doors: Sequence[tuple[System, Door]]) -> None:
        rows = [load for load in self._rows if load.kind in {Kind.PUT_LARGE, Kind.GET_LARGE}]
        size_bytes = self._scale.large_bytes
        times = sum(one.stored_times for one, _ in doors if one.part is not Part.LIMIT)
        stored = times * self._scale.rounds * size_bytes
        try:
            require_room(self._folder, stored, "storing the large blobs")
            payload = Payload(size_bytes)
        except RowFailed as error:
            self._give_up([system for system, _ in doors], rows, str(error))
            return
        with closing(payload):
            transfers = _Transfers(payload, size_bytes, self._deadline)
            for load in rows:
                put = load.kind is Kind.PUT_LARGE
                self._turns(doors, load, transfers.put if put else transfers.get)

    def _turns(
        self,
        doors: Sequence[tuple[System, Door]],
        load: Load,
        measure: Callable[[System, Door, Load, int], float],
    ) -> None:
        turns = [
            Turn(
                system.name,
                self._cells[system.key, load.key],
                partial(measure, system, door, load),
            )
            for system, door in doors
        ]
        take_rounds(
            turns, self._scale.rounds, load.name, load.unit,
            lambda: settle(self._folder, self._scale.rest_s, self._deadline),
        )

    def _give_up(self, systems: Sequence[System], rows: Sequence[Load], why: str) -> None:
        for system in systems:
            for load in rows:
                self._cells[system.key, load.key].failure = why


class _Transfers:
    """Large blobs by curl: everybody is sent the same bytes in a round, new ones in the next."""

    def __init__(self, payload: Payload, size_bytes: int, deadline: Deadline) -> None:
        self._payload = payload
        self._size_bytes = size_bytes
        self._deadline = deadline
        self._round = 0
        self._readable: dict[str, str] = {}

    def put(self, system: System, door: Door, load: Load, number: int) -> float:
        """MB/s of one PUT of bytes that the system has never seen; the last one is read back."""
        if number != self._round:
            self._payload.renew()
            self._round = number
        target, path = door.large_paths(f"{load.key}-{number}", self._payload)
        transfer = curl.upload(
            self._payload.file, door.url + target, self._size_bytes, self._deadline
        )
        self._readable[system.key] = door.url + path
        if system.part is not Part.LIMIT:
            expected_hex = self._payload.digest("sha256").partition(":")[2]
            curl.check_sha256(door.url + path, expected_hex, self._deadline)
        return transfer.rate(self._size_bytes)

    def get(self, system: System, _door: Door, _load: Load, _number: int) -> float:
        """MB/s of one GET of what the last put stored."""
        url = self._readable.get(system.key)
        if url is None:
            raise RowFailed("nothing was stored that could be read")
        return curl.download(url, self._size_bytes, self._deadline).rate(self._size_bytes)
