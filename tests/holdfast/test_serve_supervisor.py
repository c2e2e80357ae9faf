"""Child processes: started again, stopped in order, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from holdfast.supervisor import Child, ChildSpec, Supervisor

# Says that it is there, then lives until it is told to stop, or for ever when it is stubborn.
PROGRAM = """
import os, signal, sys, time
mark, kind = sys.argv[1:]
with open(mark, "a") as file:
    file.write(f"{os.getpid()}\\n")
if kind == "fails":
    sys.exit(3)
if kind == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if kind == "reader":
    sys.stdin.read()
    with open(mark, "a") as file:
        file.write("end of input\\n")
    sys.exit(0)
with open(mark, "a") as file:
    file.write("ready\\n")
time.sleep(600)
"""
DEADLINE_S = 30.0


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[MutableMapping[str, object]]]:
    with capture_logs() as lines:
        yield lines


def _supervisor() -> Supervisor:
    return Supervisor(program=(sys.executable, "-c", PROGRAM))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def _lines(mark: Path) -> list[str]:
    return mark.read_text().splitlines() if mark.exists() else []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _start(supervisor: Supervisor, mark: Path, kind: str = "obedient") -> Child:
    return supervisor.start(ChildSpec("child", (str(mark), kind)))


async def test_a_child_that_is_killed_is_started_again(
    tmp_path: Path, log_lines: list[MutableMapping[str, object]]
) -> None:
    mark = tmp_path / "mark"
    async with _supervisor() as supervisor:
        child = _start(supervisor, mark)
        await _until(lambda: _lines(mark).count("ready") == 1)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await _until(lambda: _lines(mark).count("ready") == 2)
        second = child.pid

    assert second not in {None, first}
    assert child.restarts == 1
    assert [line["how"] for line in log_lines if "how" in line] == ["killed by SIGKILL"]


async def test_a_child_that_fails_says_how(tmp_path: Path) -> None:
    async with _supervisor() as supervisor:
        child = _start(supervisor, tmp_path / "mark", "fails")
        await _until(lambda: child.restarts == 2)

    assert child.last_exit == "exit code 3"


async def test_a_child_that_was_stopped_stays_stopped(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with _supervisor() as supervisor:
        child = _start(supervisor, mark)
        await _until(lambda: "ready" in _lines(mark))
        await supervisor.stop([child], grace_s=DEADLINE_S)

        assert child.pid is None
        assert child.last_exit == "killed by SIGTERM"

    assert child.restarts == 0


async def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with _supervisor() as supervisor:
        child = _start(supervisor, mark, "stubborn")
        await _until(lambda: "ready" in _lines(mark))
        await supervisor.stop([child], grace_s=0.05)

    assert child.last_exit == "killed by SIGKILL"


async def test_whoever_hurries_waits_for_no_grace(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with _supervisor() as supervisor:
        child = _start(supervisor, mark, "stubborn")
        await _until(lambda: "ready" in _lines(mark))
        stopping = asyncio.create_task(supervisor.stop([child], grace_s=600.0))
        await asyncio.sleep(0)
        supervisor.hurry()
        await asyncio.wait_for(stopping, DEADLINE_S)

    assert child.last_exit == "killed by SIGKILL"


async def test_a_child_that_waits_to_be_started_again_can_be_stopped(tmp_path: Path) -> None:
    async with _supervisor() as supervisor:
        child = _start(supervisor, tmp_path / "mark", "fails")
        await _until(lambda: child.restarts >= 1)
        await supervisor.stop([child], grace_s=DEADLINE_S)

    assert child.pid is None


async def test_nothing_is_left_when_the_context_is_left(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(RuntimeError):
        async with _supervisor() as supervisor:
            _start(supervisor, mark, "stubborn")
            await _until(lambda: "ready" in _lines(mark))
            raise RuntimeError

    assert not _is_alive(int(_lines(mark)[0]))


async def test_children_hear_when_their_parent_was_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    parent = f"""
import asyncio, sys
from holdfast.supervisor import ChildSpec, Supervisor

async def main():
    async with Supervisor(program=(sys.executable, "-c", {PROGRAM!r})) as supervisor:
        supervisor.start(ChildSpec("child", ({str(mark)!r}, "reader")))
        await asyncio.sleep(600)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", parent)
    await _until(lambda: len(_lines(mark)) == 1)

    process.kill()
    await process.wait()

    await _until(lambda: "end of input" in _lines(mark))
