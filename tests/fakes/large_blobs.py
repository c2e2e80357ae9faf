"""What tests of large blobs share: bodies in pieces, and the count of the memory they cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.coordinator import Coordinator
from gateway.permits import Permits
from ring.digest import Buffer
from ring.limits import CHUNK_BYTES
from tests.fakes.small_cluster import SmallCluster


async def pieces(data: bytes, size: int = CHUNK_BYTES) -> AsyncIterator[Buffer]:
    """As a client sends it; each piece is overwritten when the next one is asked for."""
    for start in range(0, len(data), size):
        piece = bytearray(data[start : start + size])
        yield memoryview(piece)
        piece[:] = bytes(len(piece))


def permits_of(gateway: Coordinator) -> tuple[Permits, Permits]:
    """Those for uploads and those for downloads."""
    return gateway._upload_permits, gateway._download_permits  # noqa: SLF001 - what must not leak


def free_in(permits: Permits) -> int:
    """How many can be taken now; they are given back."""
    taken = 0
    while permits.try_acquire():
        taken += 1
    for _ in range(taken):
        permits.release()
    return taken


async def assert_calm(cluster: SmallCluster, gateway: Coordinator, permits: int = 96) -> None:
    """Nothing is under way, and every permit is back."""
    await cluster.calm()
    await asyncio.sleep(0.1)
    assert gateway.records.stragglers.under_way == 0
    assert [free_in(each) for each in permits_of(gateway)] == [permits, permits]
