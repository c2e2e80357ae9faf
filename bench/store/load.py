"""Puts, gets and deletes by several tasks at once, as a node's server would make them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.failure import RowFailed
from bench.store.bodies import Body
from node.record_keeper import RecordKeeper
from ring.record import RecordKind

GENERATION: Final = 1


@dataclass(slots=True)
class Done:
    """What a load did: operations, seconds, and how long each operation took."""

    count: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """Operations per second; RowFailed when there were none."""
        if not self.count:
            raise RowFailed("a load did nothing in its time")
        return self.count / self.seconds


async def put(store: RecordKeeper, body: Body) -> None:
    """One durable put; small values take the server's quick way."""
    size_bytes = len(body.value)
    begun = store.begin_put_root(body.key, RecordKind.DATA, size_bytes, GENERATION, body.value)
    if begun is None:
        answer = await store.put_root(
            body.key, RecordKind.DATA, size_bytes, GENERATION, body.value
        )
    else:
        answer = await begun
    if answer.had:
        raise RowFailed("a store said that it had what it was never given")


async def get(store: RecordKeeper, body: Body) -> bool:
    """One get as a node's server makes it; whether it had to wait.  RowFailed for a wrong value."""
    answer = store.get_now(body.key)
    waited = answer is None
    if answer is None:
        answer = await store.get(body.key)
    if answer[1] != body.value:
        raise RowFailed("a record came back otherwise than it was put")
    return waited


async def puts(
    store: RecordKeeper, bodies: Iterator[Body], writers: int, seconds: float = float("inf")
) -> Done:
    """Put all bodies, or as many as the seconds allow, `writers` at a time."""

    async def one() -> bool:
        body = next(bodies, None)
        if body is None:
            return False
        await put(store, body)
        return True

    return await together(one, writers, seconds)


async def put_chunks(store: RecordKeeper, bodies: Iterator[Body], writers: int) -> Done:
    """Keep all bodies as chunks of a recipe that is still to come."""

    async def one() -> bool:
        body = next(bodies, None)
        if body is None:
            return False
        await store.put_chunk(body.key, None, body.value)
        return True

    return await together(one, writers)


async def bury(store: RecordKeeper, bodies: Sequence[Body], writers: int) -> Done:
    """Delete all."""
    left = iter(bodies)

    async def one() -> bool:
        body = next(left, None)
        if body is None:
            return False
        await store.bury(body.key, GENERATION)
        return True

    return await together(one, writers)


async def together(
    one: Callable[[], Awaitable[bool]], writers: int, seconds: float = float("inf")
) -> Done:
    """Call `one` by so many tasks until it says false or the seconds are over.

    Raises what the first that fails raises; the others are cancelled.
    """
    done = Done()
    began_s = time.perf_counter()
    end_s = began_s + seconds

    async def write() -> None:
        last_s = time.perf_counter()
        while last_s < end_s and await one():
            now_s = time.perf_counter()
            done.latencies_s.append(now_s - last_s)
            done.count += 1
            last_s = now_s

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(writers):
                group.create_task(write())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    done.seconds = time.perf_counter() - began_s
    return done


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all is not above; RowFailed without any."""
    if not values:
        raise RowFailed("nothing was timed")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
