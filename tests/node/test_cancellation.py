"""A cancellation that meets an error ends the work all the same."""

from __future__ import annotations

import asyncio

import pytest

from node.cancellation import is_of_the_world, stop_if_cancelled
from ring.errors import Corrupt, StorageFault


async def _fails_when_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise StorageFault("the disk failed in that very moment")


async def _goes_on_after_failures(rounds: list[int]) -> None:
    while True:
        rounds.append(1)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_fails_when_cancelled())
        except* StorageFault:
            stop_if_cancelled()


async def test_work_that_is_cancelled_while_a_part_of_it_fails_comes_to_an_end() -> None:
    rounds: list[int] = []
    task = asyncio.ensure_future(_goes_on_after_failures(rounds))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(10.0):
        with pytest.raises((asyncio.CancelledError, ExceptionGroup)):
            await task
    assert len(rounds) == 1


def test_a_group_is_of_the_world_when_each_of_its_errors_is() -> None:
    world = [StorageFault("one"), ExceptionGroup("two", [Corrupt("three")])]
    assert is_of_the_world(StorageFault("one"))
    assert is_of_the_world(ExceptionGroup("all", world))
    assert not is_of_the_world(ExceptionGroup("all", [*world, ValueError("ours")]))
    assert not is_of_the_world(ValueError("ours"))
