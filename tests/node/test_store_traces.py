"""A node's store is never changed in place."""

from __future__ import annotations

import pytest

from node.config import StoreKind
from node.memory_disk import MemoryDisk
from node.store_traces import require_store
from ring.errors import BadRequest
from ring.limits import MIB

DISKS = (StoreKind.FILES, StoreKind.PAGES)


@pytest.mark.parametrize("kind", DISKS)
async def test_an_empty_directory_suits_every_store(kind: StoreKind) -> None:
    await require_store(MemoryDisk(MIB), kind)


@pytest.mark.parametrize(
    ("trace", "kind", "other"),
    [(".state", StoreKind.FILES, StoreKind.PAGES), ("log", StoreKind.PAGES, StoreKind.FILES)],
)
async def test_a_directory_suits_the_store_that_filled_it_and_no_other(
    trace: str, kind: StoreKind, other: StoreKind
) -> None:
    disk = MemoryDisk(MIB)
    await disk.make_directories(trace)
    await require_store(disk, kind)

    with pytest.raises(BadRequest, match=f"filled by the store '{kind.value}'"):
        await require_store(disk, other)
