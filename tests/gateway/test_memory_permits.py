"""Permits for memory: never more than there are, in order, and every one comes back."""

from __future__ import annotations

import asyncio

import pytest

from gateway.permits import Lease, Permits
from ring.errors import Busy
from tests.fakes.large_blobs import free_in
from tests.fakes.virtual_time import in_virtual_time


@in_virtual_time
async def test_no_more_are_given_than_there_are() -> None:
    permits = Permits(2, 5)
    await permits.acquire()
    assert permits.try_acquire()
    assert not permits.try_acquire()
    with pytest.raises(Busy):
        await permits.acquire()

    permits.release()
    permits.release()
    assert free_in(permits) == 2


@in_virtual_time
async def test_who_waits_is_served_in_order_and_before_who_comes_later() -> None:
    permits = Permits(1, 5)
    await permits.acquire()
    order: list[int] = []

    async def waiter(number: int) -> None:
        await permits.acquire()
        order.append(number)

    tasks = [asyncio.create_task(waiter(number)) for number in range(3)]
    await asyncio.sleep(1)
    permits.release()
    assert not permits.try_acquire()
    await asyncio.sleep(0)
    permits.release()
    permits.release()
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2]
    permits.release()
    assert free_in(permits) == 1


@in_virtual_time
async def test_who_gives_up_leaves_its_place() -> None:
    permits = Permits(1, 5)
    await permits.acquire()
    first = asyncio.create_task(permits.acquire())
    second = asyncio.create_task(permits.acquire())
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.sleep(0)
    permits.release()
    await second

    permits.release()
    assert free_in(permits) == 1


@pytest.mark.parametrize("turns", [0, 1, 2])
@in_virtual_time
async def test_a_permit_given_to_who_is_giving_up_is_not_lost(turns: int) -> None:
    permits = Permits(1, 5)
    await permits.acquire()
    waiter = asyncio.create_task(permits.acquire())
    await asyncio.sleep(1)
    permits.release()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    if not waiter.cancelled():
        permits.release()

    assert free_in(permits) == 1


@in_virtual_time
async def test_a_permit_given_in_the_moment_of_the_timeout_is_not_lost() -> None:
    permits = Permits(1, 5)
    await permits.acquire()
    waiter = asyncio.create_task(permits.acquire())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(5, permits.release)
    outcome = (await asyncio.gather(waiter, return_exceptions=True))[0]
    if outcome is None:
        permits.release()
    await asyncio.sleep(1)

    assert free_in(permits) == 1


@in_virtual_time
async def test_a_lease_is_one_permit_however_often_it_is_taken_and_given_back() -> None:
    permits = Permits(2, 5)
    lease = Lease(permits)
    await lease.take()
    await lease.take()
    assert free_in(permits) == 1
    lease.give_back()
    lease.give_back()
    assert free_in(permits) == 2


@in_virtual_time
async def test_a_lease_that_was_refused_gives_nothing_back() -> None:
    permits = Permits(1, 5)
    await permits.acquire()
    lease = Lease(permits)
    with pytest.raises(Busy):
        await lease.take()
    lease.give_back()
    assert free_in(permits) == 0
