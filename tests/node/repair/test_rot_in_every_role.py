"""A rotten copy in every role: clients get right bytes or none, it heals, and `why` tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from gateway.coordinator import Coordinator
from node.care_settings import CareSettings
from node.repair.repair_settings import RepairSettings
from ring.comparing import HintReason, HintRecords
from ring.digest import Digest
from ring.errors import Unavailable
from ring.record import RecordKind
from tests.fakes.small_cluster import (
    BLOB,
    CALM_CARE,
    DIGEST,
    KEY,
    SmallCluster,
    SmallNode,
    small_cluster,
)
from tests.fakes.virtual_time import in_virtual_time

CARE = CareSettings(
    repair=RepairSettings(interval_s=1.0, settle_s=0.5),
    collection=CALM_CARE.collection,
    scrub=CALM_CARE.scrub,
)


def is_good(node: SmallNode) -> bool:
    """Whether the node's copy is what it should be, whatever the node says of it."""
    return node.store.values.values.get((KEY, RecordKind.DATA)) == BLOB


async def until_good(nodes: Sequence[SmallNode]) -> None:
    """Wait until each has a good copy."""
    async with asyncio.timeout(60.0):
        while not all(map(is_good, nodes)):
            await asyncio.sleep(0.1)


async def why(gateway: Coordinator, digest: Digest = DIGEST) -> str:
    """What the operator reads."""
    words = (await gateway.views.why(digest))["words"]
    assert isinstance(words, list)
    return "\n".join(map(str, words))


async def reads_are_right(gateway: Coordinator, count: int = 6) -> int:
    """Read again and again: right bytes or an error; how many were right."""
    right = 0
    for _ in range(count):
        try:
            data = await gateway.get(DIGEST)
        except Unavailable:
            continue
        assert data == BLOB
        right += 1
    return right


Role = Callable[[SmallCluster], SmallNode]


def _an_owner(cluster: SmallCluster) -> SmallNode:
    return cluster.owners(DIGEST)[1]


def _the_first_owner(cluster: SmallCluster) -> SmallNode:
    return cluster.owners(DIGEST)[0]


@pytest.mark.parametrize("role", [_the_first_owner, _an_owner])
@in_virtual_time
async def test_of_an_owner(role: Role) -> None:
    async with small_cluster(5, care=CARE) as cluster:
        await cluster.store()
        gateway, node = cluster.gateway(), role(cluster)
        node.rot(DIGEST)
        assert await reads_are_right(gateway, 12) == 12
        await until_good(cluster.owners(DIGEST))
        told = await why(gateway)
        assert f"{node.node}'s copy was bad and put aside" in told
        assert "3 of 3 owners have a good copy" in told


@in_virtual_time
async def test_of_a_spare_that_keeps_it_for_an_owner() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        first, second, away = cluster.owners(DIGEST)
        spare, gateway = cluster.spares(DIGEST)[0], cluster.gateway()
        await away.end()
        await cluster.store(on=[first, second, spare])
        spare.rot(DIGEST)
        assert await reads_are_right(gateway) == 6
        await away.start()
        await until_good([first, second, away])
        async with asyncio.timeout(60.0):
            while spare.holds(DIGEST):
                await asyncio.sleep(0.1)
        assert is_good(away)


@in_virtual_time
async def test_of_every_source_but_one_that_a_repair_asks() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        first, second, last = cluster.owners(DIGEST)
        await cluster.store(on=[first, second])
        first.rot(DIGEST)
        await cluster.ask(last, HintRecords(HintReason.MISSED_WRITE, (KEY,)))
        await until_good([first, second, last])
        assert "put aside" in await why(cluster.gateway())


@in_virtual_time
async def test_of_all_owners_when_the_only_good_copy_is_on_a_spare() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        await cluster.store(on=[*cluster.owners(DIGEST), cluster.spares(DIGEST)[1]])
        gateway = cluster.gateway()
        for node in cluster.owners(DIGEST):
            node.rot(DIGEST)
        assert await reads_are_right(gateway) >= 1
        await until_good(cluster.owners(DIGEST))
        assert await reads_are_right(gateway) == 6


@in_virtual_time
async def test_of_everybody() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        await cluster.store()
        gateway = cluster.gateway()
        for node in cluster.owners(DIGEST):
            node.rot(DIGEST)
        for _ in range(6):
            with pytest.raises(Unavailable):
                await gateway.get(DIGEST)
        await asyncio.sleep(20.0)
        told = await why(gateway)
        assert "no good copy" in told
        kept = [node for node in cluster.owners(DIGEST) if node.store.values.in_quarantine]
        assert kept, "the evidence is kept"
        assert (await gateway.put(DIGEST, BLOB)).digest == DIGEST
        await until_good(cluster.owners(DIGEST))
        assert await reads_are_right(gateway) == 6
        assert "3 of 3 owners have a good copy" in await why(gateway)
