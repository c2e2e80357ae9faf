"""Gateways tell owners of what they missed."""

from __future__ import annotations

import asyncio

from ring.comparing import HintRecords
from ring.digest import Digest
from ring.record import RecordKey
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, small_cluster
from tests.fakes.virtual_time import in_virtual_time


@in_virtual_time
async def test_an_owner_that_missed_a_write_is_told_and_fetches_it() -> None:
    async with small_cluster(5) as cluster:
        gateway, away = cluster.gateway(), cluster.owners(DIGEST)[1]
        cluster.network.faults.refuse = None
        cluster.network.faults.cut.add(("gateway", away.node))
        await gateway.put(DIGEST, BLOB)
        assert not away.holds(DIGEST)
        cluster.network.faults.cut.clear()
        async with asyncio.timeout(10.0):
            while not away.holds(DIGEST):
                await asyncio.sleep(0.1)
        assert gateway.hints.sent_total == 1


@in_virtual_time
async def test_an_owner_that_a_read_finds_lacking_is_told() -> None:
    async with small_cluster() as cluster:
        first, second, last = cluster.owners(DIGEST)
        await cluster.store(on=[first, second])
        gateway = cluster.gateway()
        async with asyncio.timeout(30.0):
            while not last.holds(DIGEST):
                assert await gateway.get(DIGEST) == BLOB
                await asyncio.sleep(0.5)


@in_virtual_time
async def test_many_hints_travel_together() -> None:
    async with small_cluster(5) as cluster:
        gateway = cluster.gateway()
        blobs = [b"blob %d" % number for number in range(40)]
        away = cluster.nodes[cluster.layout.nodes[0]]
        cluster.network.faults.cut.add(("gateway", away.node))
        for blob in blobs:
            await gateway.put(Digest.of(blob), blob)
        cluster.network.faults.cut.clear()
        await asyncio.sleep(5.0)
        hints = [call.request for call in cluster.network.calls_of(HintRecords, away.node)]
        from_gateway = [hint for hint in hints if isinstance(hint, HintRecords)]
        missed = [key for hint in from_gateway for key in hint.keys]
        assert 1 <= len(from_gateway) <= 4
        assert set(missed) == {
            RecordKey(Digest.of(blob)) for blob in blobs if away in cluster.owners(Digest.of(blob))
        }


@in_virtual_time
async def test_a_hint_to_a_node_that_is_down_is_lost_and_nothing_else_is() -> None:
    async with small_cluster(5) as cluster:
        gateway, away = cluster.gateway(), cluster.owners(DIGEST)[1]
        await away.end()
        await gateway.put(DIGEST, BLOB)
        await asyncio.sleep(10.0)
        assert gateway.hints.lost_total == 1
        assert await gateway.get(DIGEST) == BLOB
        assert KEY.digest == DIGEST
