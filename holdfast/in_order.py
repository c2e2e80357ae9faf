"""Several things at a time, results in the order of the things."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def in_order(
    items: Iterable[A], work: Callable[[A], Awaitable[B]], jobs: int
) -> AsyncGenerator[B, None]:
    """`work` on each item, at most `jobs` at once; the first error, in that order, ends it.

    Whoever stops early must `aclose` it; nothing is under way any more after that.
    """
    assert jobs > 0, jobs
    loop = asyncio.get_running_loop()
    under_way: deque[asyncio.Task[B]] = deque()

    async def one(item: A) -> B:
        return await work(item)

    try:
        for item in items:
            if len(under_way) == jobs:
                yield await under_way.popleft()
            under_way.append(loop.create_task(one(item)))
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
