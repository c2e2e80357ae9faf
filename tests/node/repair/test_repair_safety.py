"""What repair must not do, whatever happens while it works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from node.care_settings import CareSettings
from node.repair.repair_settings import RepairSettings
from ring.comparing import DescribeRecords, HintReason, HintRecords, ListFacts, SumPrefixes
from ring.digest import Digest
from ring.errors import HoldfastError, StorageFault
from ring.limits import CHUNK_BYTES
from ring.messages import Answer, GetRecord, Request, VerifyRecord
from ring.purge import Tombstone
from ring.record import RecordKey, RecordKind, dead, live
from tests.fakes.direct_transport import receivers_answer
from tests.fakes.small_cluster import (
    BLOB,
    DIGEST,
    KEY,
    SmallCluster,
    SmallNode,
    next_layout,
    small_cluster,
)
from tests.fakes.virtual_time import in_virtual_time

CARE = CareSettings(repair=RepairSettings(interval_s=1.0, settle_s=0.5, absent_s=1e9))
ONLY_HINTS = CareSettings(repair=RepairSettings(interval_s=1e9))
LARGE = bytes(range(256)) * (CHUNK_BYTES // 256) + b"tail"


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(30.0):
        while not condition():
            await asyncio.sleep(0.05)


async def pull_in_progress(cluster: SmallCluster, node: SmallNode) -> Callable[[], None]:
    """Have `node` ask for the blob, whose answers stay on their way; what lets them go."""
    held = [
        cluster.network.hold(other.node, GetRecord, answers=True, caller=node.node)
        for other in cluster.owners(DIGEST)
        if other is not node
    ]
    await cluster.ask(node, HintRecords(HintReason.MISSED_WRITE, (KEY,)))
    await until(lambda: any(one.waiting for one in held))

    def release() -> None:
        for one in held:
            one.release()

    return release


@in_virtual_time
async def test_a_pull_is_void_once_its_tombstone_was_purged_here() -> None:
    async with small_cluster(care=ONLY_HINTS) as cluster:
        node = cluster.owners(DIGEST)[2]
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        release = await pull_in_progress(cluster, node)
        for other in cluster.owners(DIGEST)[:2]:
            await other.store.drop(KEY)
        await node.store.bury(KEY, 1)
        await node.store.drop(KEY)
        release()
        await asyncio.sleep(30.0)
        assert not node.state_of(DIGEST).exists


@in_virtual_time
async def test_what_was_heard_before_a_purge_is_void_after_it() -> None:
    async with small_cluster(care=ONLY_HINTS) as cluster:
        node, other, late = cluster.owners(DIGEST)
        await cluster.store(on=[other])
        held = cluster.network.hold(late.node, DescribeRecords, answers=True, caller=node.node)
        await cluster.ask(node, HintRecords(HintReason.MISSED_WRITE, (KEY,)))
        await until(lambda: held.waiting > 0)
        await asyncio.sleep(1.0)  # the other one has said that it is there
        tombstone = [Tombstone(KEY, dead(1))]
        for one in cluster.nodes.values():
            await one.store.bury(KEY, 1)
            assert await one.store.disposal.settle(tombstone, lambda: True)
            assert await one.store.disposal.purge(tombstone, lambda: True)
        await node.store.put_chunk(KEY, None, BLOB)  # of an upload of which nothing else is known
        held.release()
        await asyncio.sleep(20.0)
        assert not any(one.state_of(DIGEST).root for one in cluster.nodes.values())


@in_virtual_time
async def test_a_pull_is_void_once_the_floor_rose() -> None:
    async with small_cluster(care=ONLY_HINTS) as cluster:
        node = cluster.owners(DIGEST)[2]
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        release = await pull_in_progress(cluster, node)
        for other in cluster.owners(DIGEST)[:2]:
            await other.store.drop(KEY)
        await node.store.raise_floor(DIGEST.partition, 1)
        release()
        await asyncio.sleep(30.0)
        assert not node.state_of(DIGEST).exists


@in_virtual_time
async def test_a_pull_is_void_once_layouts_changed() -> None:
    async with small_cluster(5, care=ONLY_HINTS) as cluster:
        node = cluster.owners(DIGEST)[2]
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        release = await pull_in_progress(cluster, node)
        await node.service.layouts.learn((cluster.layout, next_layout(cluster.layout)), None)
        release()
        await asyncio.sleep(1.0)
        assert not node.holds(DIGEST)


@in_virtual_time
async def test_a_spare_keeps_what_changed_after_the_owners_had_confirmed_it() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare, last = cluster.spares(DIGEST)[0], cluster.owners(DIGEST)[2]
        await cluster.store()
        held = cluster.network.hold(last.node, VerifyRecord, answers=True, caller=spare.node)
        await cluster.store(on=[spare])
        await until(lambda: held.waiting > 0)
        await spare.store.bury(KEY, 1)
        await spare.store.put_root(KEY, RecordKind.DATA, len(BLOB), 2, BLOB)
        held.release()
        await asyncio.sleep(0.2)
        assert spare.state_of(DIGEST).root == live(2)
        await until(lambda: all(o.state_of(DIGEST).root == live(2) for o in cluster.owners(DIGEST)))


@in_virtual_time
async def test_a_spare_keeps_its_copy_while_one_owner_does_not_confirm() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare, last = cluster.spares(DIGEST)[0], cluster.owners(DIGEST)[2]
        await cluster.store()

        def refuse(node: object, request: Request) -> HoldfastError | None:
            if node == last.node and isinstance(request, VerifyRecord):
                return StorageFault("its disk does not answer")
            return None

        cluster.network.faults.refuse = refuse
        await cluster.store(on=[spare])
        await asyncio.sleep(20.0)
        assert spare.holds(DIGEST)
        cluster.network.faults.refuse = None
        await until(lambda: not spare.holds(DIGEST))


@in_virtual_time
async def test_a_spare_keeps_its_copy_while_an_owner_is_silent_about_it() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare, last = cluster.spares(DIGEST)[0], cluster.owners(DIGEST)[2]
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        cluster.network.faults.cut.add((spare.node, last.node))
        await cluster.store(on=[spare])
        await asyncio.sleep(20.0)
        assert spare.holds(DIGEST)


@in_virtual_time
async def test_a_spare_keeps_what_an_owner_did_not_speak_of_whatever_it_verifies() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare, last = cluster.spares(DIGEST)[0], cluster.owners(DIGEST)[2]

        def refuse(node: object, request: Request) -> HoldfastError | None:
            if node == last.node and isinstance(request, DescribeRecords | HintRecords):
                return StorageFault("its index is being mended")
            return None

        cluster.network.faults.refuse = refuse
        for node in cluster.nodes:  # it learns nothing by itself either, and is not silent
            cluster.network.hold(node, SumPrefixes, caller=last.node)
        await cluster.store(on=[last])
        await cluster.store(generation=2, on=[*cluster.owners(DIGEST)[:2], spare])
        await asyncio.sleep(10.0)
        assert spare.state_of(DIGEST).root == live(2)


@in_virtual_time
async def test_a_spare_keeps_a_generation_that_the_owners_do_not_have() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare = cluster.spares(DIGEST)[0]
        cluster.network.faults.refuse = _no_hints
        for owner in cluster.owners(DIGEST):
            cluster.network.faults.cut.add((owner.node, spare.node))
        await cluster.store()
        await cluster.store(generation=2, on=[spare])
        await asyncio.sleep(10.0)
        assert spare.state_of(DIGEST).root == live(2)


def _no_hints(_node: object, request: Request) -> HoldfastError | None:
    return StorageFault("no") if isinstance(request, HintRecords) else None


@in_virtual_time
async def test_a_tombstone_on_a_spare_is_not_handed_over_but_purged() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare = cluster.spares(DIGEST)[0]
        for node in (*cluster.owners(DIGEST), spare):
            await node.store.bury(KEY, 1)
        await asyncio.sleep(4.0)
        assert spare.service.counters["repair_handed_over_total"] == 0


@in_virtual_time
async def test_what_receivers_say_is_neither_compared_nor_taken() -> None:
    async with small_cluster(care=CARE) as cluster:
        node = cluster.owners(DIGEST)[2]
        for other in cluster.owners(DIGEST)[:2]:
            cluster.network.faults.rewrite[other.node] = _receiver
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        compared = node.service.counters["repair_comparisons_total"]
        await cluster.ask(node, HintRecords(HintReason.MISSED_WRITE, (KEY,)))
        await asyncio.sleep(20.0)
        assert not node.holds(DIGEST)
        assert node.service.counters["repair_comparisons_total"] == compared


def _receiver(request: Request, answer: Answer) -> Answer:
    if isinstance(request, SumPrefixes | ListFacts | DescribeRecords | GetRecord):
        return replace(receivers_answer(request, answer), reply=answer.reply)
    return answer


@in_virtual_time
async def test_bytes_out_of_the_trash_are_hashed_before_they_count_again() -> None:
    async with small_cluster(care=ONLY_HINTS) as cluster:
        await cluster.store()
        node = cluster.owners(DIGEST)[2]
        await node.store.bury(KEY, 1, keep_value=True)
        assert node.holds(DIGEST)
        node.rot(DIGEST)
        for other in cluster.owners(DIGEST)[:2]:
            await other.store.bury(KEY, 1)
            await other.store.put_root(KEY, RecordKind.DATA, len(BLOB), 2, BLOB)
        await cluster.ask(node, HintRecords(HintReason.MISSED_WRITE, (KEY,)))
        await until(lambda: node.state_of(DIGEST).root == live(2))
        assert (await node.store.get(KEY))[1] == BLOB


@in_virtual_time
async def test_a_root_of_a_large_blob_is_not_spread_when_its_chunks_are_gone() -> None:
    async with small_cluster(care=ONLY_HINTS) as cluster:
        gateway = cluster.gateway()
        blob = (await gateway.put(Digest.of(LARGE), LARGE)).digest
        node = cluster.nodes[cluster.layout.nodes[2]]
        await until(lambda: node.holds(blob))
        (state,) = await node.store.stat([RecordKey(blob)])
        for other in cluster.nodes.values():
            await other.store.drop(RecordKey(Digest.of(b"tail")))
            if other is not node:
                await other.store.absorb(RecordKey(blob), replace(state, root=live(2)), (), None)
        await cluster.ask(node, HintRecords(HintReason.MISSED_WRITE, (RecordKey(blob),)))
        await asyncio.sleep(20.0)
        assert node.state_of(blob).root == live(1)


@in_virtual_time
async def test_two_nodes_that_lack_the_same_do_not_keep_each_other_busy() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        for node in cluster.owners(DIGEST):
            node.rot(DIGEST)
            await node.store.verify(KEY)
        await asyncio.sleep(60.0)
        before = cluster.network.count(DescribeRecords)
        await asyncio.sleep(60.0)
        assert cluster.network.count(DescribeRecords) - before < 60
