"""What nodes tell each other of chunks that one of them collected, and what repair leaves alone."""

from __future__ import annotations

import asyncio

from node.collection.collection_settings import DAY_S
from ring.comparing import HintReason, HintRecords
from ring.digest import Digest
from ring.record import RecordKey
from tests.fakes.small_cluster import small_cluster
from tests.fakes.virtual_time import in_virtual_time
from tests.node.collection.gone import (
    SETTINGS,
    bury,
    collected,
    holders,
    large_blob,
    nodes_of,
)

CHUNK, SHARED = b"chunk", b"shared"
KEY = RecordKey(Digest.of(CHUNK))


@in_virtual_time
async def test_what_another_node_collected_is_looked_at_after_half_the_grace() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        one = collected(cluster, nodes_of(cluster)[0])
        running = asyncio.ensure_future(one.collection.run())
        one.later(DAY_S / 2 - 1)
        one.collection.look_at([KEY, RecordKey(blob), RecordKey(Digest.of(b"absent"))])
        await asyncio.sleep(1)
        assert holders(cluster, CHUNK) == 3

        one.later(1)
        one.collection.look_at([KEY])
        await asyncio.sleep(1)
        assert holders(cluster, CHUNK) == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@in_virtual_time
async def test_repair_is_told_what_is_not_worth_fetching() -> None:
    async with small_cluster() as cluster:
        gone, kept = await large_blob(cluster, CHUNK), await large_blob(cluster, SHARED)
        await bury(nodes_of(cluster), gone)
        first, *others = nodes_of(cluster)
        one = collected(cluster, first)

        verdicts = one.collection.garbage_verdicts
        assert await verdicts().is_garbage(KEY, [gone])
        assert not await verdicts().is_garbage(KEY, [gone, kept])
        cluster.network.faults.down |= {node.node for node in others}
        assert not await verdicts().is_garbage(KEY, [gone]), "nobody answered"
        cluster.network.faults.down.clear()
        one.later()
        await one.collection.round()
        cluster.network.faults.down |= {node.node for node in others}
        assert await verdicts().is_garbage(KEY, [gone]), "it has just been collected here"


@in_virtual_time
async def test_other_keepers_are_told_what_was_collected() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        first, *others = nodes_of(cluster)
        one = collected(cluster, first)
        one.later()
        running = asyncio.ensure_future(one.collection.run())
        one.collection.begin()
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        calls = cluster.network.calls_of(HintRecords)
        hints = [call for call in calls if call.caller == first.node]
        assert {hint.node for hint in hints} == {node.node for node in others}
        assert all(hint.request == HintRecords(HintReason.COLLECTED, (KEY,)) for hint in hints)


@in_virtual_time
async def test_what_others_tell_puts_off_no_look_through_everything() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        one = collected(cluster, nodes_of(cluster)[0])
        one.later()
        running = asyncio.ensure_future(one.collection.run())
        for _ in range(40):
            await asyncio.sleep(SETTINGS.interval_s / 2)
            one.collection.look_at([RecordKey(Digest.of(b"absent"))])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not nodes_of(cluster)[0].holds(KEY.digest)
