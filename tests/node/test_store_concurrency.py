"""The small parts that keep concurrent work apart: key locks, shared syncs, operations, threads."""

from __future__ import annotations

import asyncio

import pytest

from node.group_sync import GroupSync
from node.key_locks import KeyLocks
from node.operations import Operations
from node.posix_threads import Threads
from ring.errors import DiskFull, StorageFault


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- key locks ------------------------------------------------------------------------------------


async def test_a_key_is_held_by_one_at_a_time_in_order_of_arrival() -> None:
    locks = KeyLocks()
    inside: list[int] = []
    order: list[int] = []

    async def work(number: int) -> None:
        async with locks.hold((b"key",)):
            inside.append(number)
            assert inside == [number]
            order.append(number)
            await turns()
            inside.remove(number)

    await asyncio.gather(*map(work, range(10)))

    assert order == list(range(10))
    assert not locks.is_held(b"key")


async def test_several_keys_are_taken_without_waiting_in_a_ring() -> None:
    locks = KeyLocks()

    async def work(keys: list[bytes]) -> None:
        async with locks.hold(keys):
            await turns()

    pairs = [[b"a", b"b", b"a"], [b"b", b"a"], [b"c", b"b"], [b"a", b"c"], [b"b"]]
    await asyncio.wait_for(asyncio.gather(*map(work, pairs * 5)), 10)

    assert not any(map(locks.is_held, (b"a", b"b", b"c")))


async def test_whoever_stops_waiting_is_passed_over() -> None:
    locks = KeyLocks()
    done: list[str] = []

    async def work(name: str) -> None:
        async with locks.hold((b"other", b"key")):
            done.append(name)
            await turns(20)

    tasks = [asyncio.ensure_future(work(name)) for name in "abcd"]
    await turns(3)
    tasks[1].cancel()
    await turns()
    tasks[0].cancel()
    tasks[2].cancel()  # its turn may have come in this very moment
    await asyncio.gather(*tasks, return_exceptions=True)

    assert done in (["a", "d"], ["a", "c", "d"])
    assert not locks.is_held(b"key")
    assert not locks.is_held(b"other")


async def test_whoever_gives_up_as_its_turn_comes_hands_the_key_on() -> None:
    locks = KeyLocks()
    await locks.acquire(b"key")
    given_up, patient = [asyncio.ensure_future(locks.acquire(b"key")) for _ in range(2)]
    await turns()
    locks.release(b"key")
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up

    await asyncio.wait_for(patient, 10)
    locks.release(b"key")
    assert not locks.is_held(b"key")


# --- shared syncs ---------------------------------------------------------------------------------


async def test_one_sync_serves_everybody_who_asked_before_it_began() -> None:
    begun: list[asyncio.Event] = []

    async def sync() -> None:
        begun.append(asyncio.Event())
        await begun[-1].wait()

    group = GroupSync(sync)
    first = asyncio.ensure_future(group.wait())
    await turns()
    later = [asyncio.ensure_future(group.wait()) for _ in range(5)]
    await turns()
    begun[0].set()
    await turns()

    assert first.done()
    assert not any(task.done() for task in later)
    assert len(begun) == 2
    begun[1].set()
    await asyncio.gather(*later)
    assert len(begun) == 2
    assert group.idle


async def test_a_failed_sync_fails_those_who_wait_for_the_next_one_too() -> None:
    release = asyncio.Event()
    runs: list[int] = []

    async def sync() -> None:
        runs.append(len(runs))
        await release.wait()
        if len(runs) == 1:
            raise StorageFault("the medium failed")

    group = GroupSync(sync)
    first = asyncio.ensure_future(group.wait())
    await turns()
    second = asyncio.ensure_future(group.wait())
    await turns()
    release.set()

    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StorageFault, StorageFault]
    assert outcomes[0] is not outcomes[1]
    await group.wait()
    assert runs == [0, 1]


async def test_a_caller_who_gives_up_disturbs_nobody() -> None:
    release = asyncio.Event()
    group = GroupSync(release.wait)  # type: ignore[arg-type]  # its True is as good as None
    tasks = [asyncio.ensure_future(group.wait()) for _ in range(3)]
    await turns()
    tasks[0].cancel()
    release.set()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [None, None]


# --- operations -----------------------------------------------------------------------------------


async def test_what_has_begun_is_finished() -> None:
    operations = Operations()
    release = asyncio.Event()
    finished: list[str] = []

    async def work() -> str:
        await release.wait()
        finished.append("work")
        return "done"

    waiting = asyncio.ensure_future(operations.finish(work))
    abandoned = asyncio.ensure_future(operations.finish(work))
    await turns()
    abandoned.cancel()
    await turns()
    closing = asyncio.ensure_future(operations.close())
    await turns()
    assert not closing.done()
    release.set()
    await closing

    assert await waiting == "done"
    assert finished == ["work", "work"]
    with pytest.raises(StorageFault):
        await operations.finish(work)


async def test_a_failure_reaches_who_waits_and_nobody_else() -> None:
    operations = Operations()

    async def fail() -> None:
        await turns()
        raise DiskFull("no room")

    abandoned = asyncio.ensure_future(operations.finish(fail))
    await turns(2)
    abandoned.cancel()
    with pytest.raises(DiskFull):
        await operations.finish(fail)
    await operations.close()


async def test_only_so_many_operations_are_under_way() -> None:
    operations = Operations(3)
    under_way: list[int] = []
    most: list[int] = []

    async def work() -> None:
        under_way.append(1)
        most.append(len(under_way))
        await turns()
        under_way.pop()

    await asyncio.gather(*(operations.finish(work) for _ in range(20)))

    assert max(most) == 3
    assert len(most) == 20


# --- threads --------------------------------------------------------------------------------------


async def test_results_and_errors_come_back() -> None:
    threads = Threads(2, "test")

    def fail() -> None:
        raise StorageFault("in a thread")

    assert await asyncio.gather(*(threads.run(lambda n=n: n * n) for n in range(50))) == [  # type: ignore[misc]  # a loop value
        n * n for n in range(50)
    ]
    with pytest.raises(StorageFault, match="in a thread"):
        await threads.run(fail)
    assert await threads.close()
    assert await threads.close()
    with pytest.raises(StorageFault, match="stopped"):
        threads.run(fail)


async def test_the_outcome_of_abandoned_work_is_still_reported() -> None:
    threads = Threads(1, "test")
    reported: list[tuple[int | None, bool]] = []

    future = threads.run(lambda: 7, lambda result, future: reported.append((result, future.done())))
    future.cancel()
    await threads.close()

    assert reported == [(7, True)]
