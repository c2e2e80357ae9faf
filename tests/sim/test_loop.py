"""The loop's own promises: virtual time, order by age, and no silent failure."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.loop import Deadlock, Livelock, Unretrieved, run

ROOT = Path(__file__).parent.parent.parent


def test_an_hour_passes_at_once_and_exactly() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(3600)
        return loop.time()

    assert run(main()) == 3600.0


def test_a_timeout_fires_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.sleep(1000)
        return asyncio.get_running_loop().time()

    assert run(main()) == 2.5


def test_waiting_for_what_nobody_will_do_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run(main())


def test_a_program_that_spins_is_stopped() -> None:
    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        run(main(), steps_max=1000)


def test_an_exception_that_nobody_retrieved_fails_the_run() -> None:
    async def fail() -> None:
        raise ValueError("in the background")

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task

    with pytest.raises(Unretrieved, match="in the background"):
        run(main())


def test_threads_and_sockets_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="no threads"):
            await asyncio.to_thread(print)
        with pytest.raises(RuntimeError, match="no sockets"):
            asyncio.get_running_loop().add_reader(left, print)

    left, right = socket.socketpair()
    with left, right:
        run(main())


def test_what_is_left_is_cancelled_and_may_clean_up() -> None:
    events: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            events.append("cleaned up")
            await asyncio.get_running_loop().create_future()

    async def main() -> None:
        tasks.append(asyncio.create_task(background()))
        await asyncio.sleep(1)

    tasks: list[asyncio.Task[None]] = []
    run(main())

    assert events == ["cleaned up"]


ORDER = """
import asyncio
from tests.sim.loop import run

async def main():
    order = []
    async def wait(number):
        try:
            await asyncio.sleep(100)
        finally:
            order.append(number)
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(wait(number))
            await asyncio.sleep(1)
            raise RuntimeError
    except* RuntimeError:
        pass
    return order

print(run(main()))
"""


def test_a_task_group_cancels_in_the_same_order_in_every_process() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", ORDER],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in (1, 2, 3)
    ]

    assert outputs[0].startswith("[")
    assert len(set(outputs)) == 1
