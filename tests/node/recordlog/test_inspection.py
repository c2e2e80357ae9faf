"""Rebuild and check of a store that nobody has open."""

from __future__ import annotations

from random import Random

import pytest

from node.recordlog.inspection import Problem, Progress, Report, check, rebuild
from ring.errors import Corrupt
from tests.fakes.file_index import FileIndexHome
from tests.node.recordlog.load import VALUE_OF, Load, everything, judge, open_store
from tests.sim.disk import SimDisk
from tests.sim.loop import run


async def used_disk(seed: int = 0) -> tuple[SimDisk, Load]:
    disk = SimDisk(Random(seed), latency_s=0.0001)
    store = await open_store(disk, seed)
    load = Load(Random(seed))
    await load.work(store, 80)
    return disk.crash(), load


async def checked(disk: SimDisk) -> Report:
    steps: list[Progress] = []
    report = await check(disk, FileIndexHome(disk), steps.append)
    assert all(step.done_bytes <= step.all_bytes for step in steps)
    return report


def problems(report: Report) -> list[Problem]:
    return [finding.problem for finding in report.findings]


def test_a_sound_store_has_no_findings_and_is_not_changed() -> None:
    async def main() -> None:
        disk, load = await used_disk()
        before = {path: bytes(file.content) for path, file in disk.files()}
        report = await checked(disk)
        assert problems(report) == []
        assert report.copies > 3
        segments = {path for path in before if not path.startswith("index")}
        after = {path: bytes(file.content) for path, file in disk.files()}
        assert all(after.get(path, before[path]) == before[path] for path in segments)
        store = await open_store(disk, 1)
        await judge(store, load.promise)
        await store.close()

    run(main())


def test_a_rebuilt_index_is_what_the_index_was() -> None:
    async def main() -> None:
        disk, load = await used_disk(1)
        store = await open_store(disk, 1)
        before = await everything(store)
        await store.close()
        steps: list[Progress] = []
        rebuilt = await rebuild(disk, FileIndexHome(disk), steps.append)
        assert rebuilt.batches > 3
        assert steps[-1].done_bytes > 0
        store = await open_store(disk, 2)
        assert await everything(store) == before
        await judge(store, load.promise)
        await store.close()

    run(main())


def test_no_index_is_made_anew_and_none_thrown_away_where_there_is_no_log() -> None:
    async def main() -> None:
        disk, _ = await used_disk(1)
        logs = {path: bytes(file.content) for path, file in disk.files() if "log/" in path}
        for path in logs:
            await disk.unlink(path)
        with pytest.raises(Corrupt, match="mounted"):
            await rebuild(disk, FileIndexHome(disk), lambda _: None)
        for path, content in logs.items():
            await disk.publish(f"{path}.tmp", path, content)
        assert problems(await checked(disk)) == []

    run(main())


def test_a_check_finds_rot_and_lost_segments() -> None:
    async def main() -> None:
        disk, _ = await used_disk(2)
        store = await open_store(disk, 2)
        held = [key for key in VALUE_OF if (await store.stat([key]))[0].held and VALUE_OF[key]]
        places = {key: store.table.location(key.raw) for key in held}
        bulk = [key for key in held if len(VALUE_OF[key]) > 65_536]
        path_of = store.files.path
        await store.close()
        at = places[bulk[0]]
        assert at is not None
        disk.flip(path_of(at.segment), 8 * at.offset)
        report = await checked(disk)
        assert problems(report) == [Problem.BAD_COPY]
        assert report.findings[0].key == bulk[0].raw
        await disk.unlink(path_of(at.segment))
        assert Problem.MISSING_COPY in problems(await checked(disk))

    run(main())


def test_a_check_finds_a_damaged_log() -> None:
    async def main() -> None:
        disk, _ = await used_disk(3)
        log = next(path for path, _ in disk.files() if path.startswith("log/") and "seg" in path)
        disk.flip(log, 8 * (4096 + 60))
        assert problems(await checked(disk)) == [Problem.DAMAGED_LOG]

    run(main())
