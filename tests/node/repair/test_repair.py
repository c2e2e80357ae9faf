"""Nodes that find and mend by themselves what differs between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from node.care_settings import CareSettings
from node.repair.repair_settings import RepairSettings
from ring.comparing import DescribeRecords, HintReason, HintRecords, ListFacts, SumPrefixes
from ring.digest import Digest
from ring.limits import CHUNK_BYTES
from ring.messages import CopyVerdict, VerifyRecord
from ring.record import RecordKey, RecordKind, dead, live
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time

CARE = CareSettings(repair=RepairSettings(interval_s=1.0, settle_s=0.5, absent_s=60.0))
PATIENCE_S = 30.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.05)


def copies(cluster: SmallCluster, digest: Digest = DIGEST) -> list[str]:
    """Names of the nodes that hold a copy, in order."""
    return [name for name, node in cluster.nodes.items() if node.holds(digest)]


def owners(cluster: SmallCluster, digest: Digest = DIGEST) -> list[str]:
    """Names of the owners, in order."""
    return sorted(node.node for node in cluster.owners(digest))


@in_virtual_time
async def test_a_copy_that_an_owner_never_got_is_fetched() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        await until(lambda: copies(cluster) == owners(cluster))


@in_virtual_time
async def test_a_delete_that_an_owner_missed_reaches_it() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        last = cluster.owners(DIGEST)[2]
        for node in cluster.owners(DIGEST)[:2]:
            await node.store.bury(KEY, 1)
        await until(lambda: last.state_of(DIGEST).root == dead(1))


@in_virtual_time
async def test_a_rotten_copy_that_was_put_aside_comes_back_from_the_others() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        first = cluster.owners(DIGEST)[0]
        first.rot(DIGEST)
        assert await first.store.verify(KEY) is CopyVerdict.QUARANTINED
        assert not first.holds(DIGEST)
        await until(lambda: first.holds(DIGEST))
        assert await first.store.verify(KEY) is CopyVerdict.GOOD


@in_virtual_time
async def test_a_rotten_copy_is_no_source_and_heals_too() -> None:
    async with small_cluster(care=CARE) as cluster:
        first, second, third = cluster.owners(DIGEST)
        await cluster.store(on=[first, second])
        first.rot(DIGEST)
        await until(lambda: third.holds(DIGEST))
        assert (await third.store.get(KEY))[1] == BLOB
        kept = first.store.values.values
        await until(lambda: kept.get((KEY, RecordKind.DATA)) == BLOB)


@in_virtual_time
async def test_a_copy_on_a_spare_goes_to_the_owners_and_then_away() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare = cluster.spares(DIGEST)[0]
        await cluster.store(on=[*cluster.owners(DIGEST)[:1], spare])
        await until(lambda: copies(cluster) == owners(cluster))


@in_virtual_time
async def test_a_copy_on_a_spare_stays_while_an_owner_is_away() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare, away = cluster.spares(DIGEST)[0], cluster.owners(DIGEST)[1]
        await cluster.store(on=[*cluster.owners(DIGEST)[:1], spare])
        await away.end()
        await asyncio.sleep(20.0)
        assert spare.holds(DIGEST)
        await away.start()
        await until(lambda: copies(cluster) == owners(cluster))


@in_virtual_time
async def test_a_node_that_stays_away_is_made_up_for_and_relieved_when_it_is_back() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        await cluster.store()
        away, spare = cluster.owners(DIGEST)[1], cluster.spares(DIGEST)[0]
        await away.end()
        await asyncio.sleep(30.0)
        assert not spare.holds(DIGEST)
        async with asyncio.timeout(120.0):
            while not spare.holds(DIGEST):
                await asyncio.sleep(0.5)
        await away.start()
        await until(lambda: copies(cluster) == owners(cluster))


@in_virtual_time
async def test_a_large_blob_and_the_claims_of_its_chunks_reach_every_owner() -> None:
    data = bytes(range(256)) * (CHUNK_BYTES // 256) + b"tail"
    async with small_cluster(care=CARE) as cluster:
        gateway, away = cluster.gateway(), cluster.nodes[cluster.layout.nodes[2]]
        await away.end()
        stored = await gateway.put(Digest.of(data), data)
        await away.start()
        await until(lambda: away.holds(stored.digest))
        for chunk in (data[:CHUNK_BYTES], data[CHUNK_BYTES:]):
            await until(lambda chunk=chunk: away.holds(Digest.of(chunk)))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            claims, _ = await away.store.claims(RecordKey(Digest.of(chunk)), None, 10)
            assert claims == [stored.digest]


@in_virtual_time
async def test_a_recipe_whose_chunks_are_gone_is_not_spread() -> None:
    data = bytes(range(256)) * (CHUNK_BYTES // 256) + b"tail"
    async with small_cluster(care=CARE) as cluster:
        gateway, away = cluster.gateway(), cluster.nodes[cluster.layout.nodes[2]]
        await away.end()
        stored = await gateway.put(Digest.of(data), data)
        for node in cluster.nodes.values():
            await node.store.drop(RecordKey(Digest.of(b"tail")))
        await away.start()
        await asyncio.sleep(20.0)
        assert not away.holds(stored.digest)


@in_virtual_time
async def test_what_nobody_has_a_good_copy_of_is_said_and_waited_for() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        for node in cluster.owners(DIGEST):
            node.rot(DIGEST)
            await node.store.verify(KEY)
        await asyncio.sleep(10.0)
        first = cluster.owners(DIGEST)[0]
        assert first.service.counters["repair_no_good_copy_total"] > 0
        await cluster.store(on=[first])
        await until(lambda: copies(cluster) == owners(cluster))


@in_virtual_time
async def test_equal_nodes_ask_each_other_one_small_question_a_round() -> None:
    async with small_cluster(care=CARE) as cluster:
        for number in range(50):
            await cluster.store(b"blob %d" % number)
        await asyncio.sleep(5.0)
        sums = cluster.network.count(SumPrefixes)
        lists = cluster.network.count(ListFacts)
        await asyncio.sleep(10.5)
        rounds = (cluster.network.count(SumPrefixes) - sums) / 6
        assert 9 <= rounds <= 11
        assert cluster.network.count(ListFacts) == lists


@in_virtual_time
async def test_a_hint_is_looked_into_at_once() -> None:
    care = CareSettings(repair=RepairSettings(interval_s=1e9))
    async with small_cluster(care=care) as cluster:
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        last = cluster.owners(DIGEST)[2]
        await cluster.ask(last, HintRecords(HintReason.MISSED_WRITE, (KEY,)))
        await until(lambda: last.holds(DIGEST))


@in_virtual_time
async def test_a_generation_that_an_owner_missed_reaches_it() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        first, second, third = cluster.owners(DIGEST)
        for node in (first, second):
            await node.store.bury(KEY, 1)
            await node.store.put_root(KEY, RecordKind.DATA, len(BLOB), 2, BLOB)
        await until(lambda: third.state_of(DIGEST).root == live(2))
        assert third.holds(DIGEST)


@in_virtual_time
async def test_a_spare_lets_go_only_after_every_owner_has_hashed_its_copy() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare = cluster.spares(DIGEST)[0]
        await cluster.store()
        await cluster.store(on=[spare])
        bad = cluster.owners(DIGEST)[2]
        bad.rot(DIGEST)
        await until(lambda: not spare.holds(DIGEST))
        assert (await bad.store.get(KEY))[1] == BLOB
        asked = {call.node for call in cluster.network.calls_of(VerifyRecord)}
        assert {node.node for node in cluster.owners(DIGEST)} <= asked



@in_virtual_time
async def test_a_spare_that_knows_fewer_claims_lets_go_of_a_chunk_and_all_come_to_rest() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        chunk = b"chunk"
        name = Digest.of(chunk)
        blobs = [await cluster.store(data) for data in (b"one blob", b"another blob")]
        (spare, *_), key = cluster.spares(name), RecordKey(name)
        for owner in cluster.owners(name):
            for blob in blobs:
                await owner.store.put_chunk(key, blob, chunk)
        await spare.store.put_chunk(key, blobs[0], chunk)
        await until(lambda: copies(cluster, name) == owners(cluster, name))
        await asyncio.sleep(PATIENCE_S)
        before = cluster.network.count(DescribeRecords)
        await asyncio.sleep(PATIENCE_S)
        assert cluster.network.count(DescribeRecords) == before


@in_virtual_time
async def test_who_has_been_silent_for_a_while_is_not_waited_for() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        silent, faults = cluster.owners(DIGEST)[2], cluster.network.faults
        faults.frozen.add(silent.node)
        faults.cut |= {(silent.node, node) for node in cluster.nodes}
        await asyncio.sleep(PATIENCE_S)
        await cluster.store(on=cluster.owners(DIGEST)[:1])
        await until(lambda: cluster.owners(DIGEST)[1].holds(DIGEST))
        assert not cluster.network.count(DescribeRecords, silent.node)
        faults.frozen.clear()
        faults.cut.clear()
        await until(lambda: silent.holds(DIGEST))


@in_virtual_time
async def test_comparisons_go_on_while_much_is_handed_over() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        spare, last = cluster.spares(DIGEST)[0], cluster.owners(DIGEST)[2]
        await cluster.store()
        held = cluster.network.hold(last.node, VerifyRecord, caller=spare.node)
        await cluster.store(on=[spare])
        await until(lambda: held.waiting > 0)
        before = spare.service.counters["repair_comparisons_total"]
        await until(lambda: spare.service.counters["repair_comparisons_total"] >= before + 12)
        assert held.waiting <= 1
        held.release()
        await until(lambda: not spare.holds(DIGEST))
