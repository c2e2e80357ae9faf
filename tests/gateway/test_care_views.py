"""The ledger added up, orders to all nodes, and the story of a digest in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.coordinator import Coordinator
from gateway.ledger_metrics import FORGET_S, LedgerMetrics
from gateway.operating.care import forecast
from gateway.operating.ledger_sum import add_up
from gateway.operating.why import ago
from node.care_settings import CareSettings
from node.repair.copy_ledger import bitmap
from node.repair.repair_settings import RepairSettings
from ring.digest import Digest
from ring.life import NodeId
from ring.limits import CHUNK_BYTES, GIB, PARTITIONS
from ring.operating import CareOrder, LedgerCount
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind
from tests.fakes.small_cluster import BLOB, CALM_CARE, DIGEST, KEY, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time

View = dict[str, Any]  # Any: JSON

CARE = CareSettings(repair=RepairSettings(interval_s=1.0, settle_s=0.5, absent_s=30.0))
SLOW = CareSettings(
    repair=RepairSettings(interval_s=30.0, settle_s=0.5),
    collection=CALM_CARE.collection,
    scrub=CALM_CARE.scrub,
)
A, B = NodeId("a"), NodeId("b")
CLAIMANT = Digest.of(b"a large blob")
CLAIMING = RecordKey(CLAIMANT)


async def until(condition: Callable[[View], Any], gateway: Coordinator) -> View:
    """The care view once something is so of its ledger."""
    async with asyncio.timeout(120.0):
        while True:
            view: View = await gateway.views.care()
            if condition(view["ledger"]):
                return view
            await asyncio.sleep(0.25)


async def words_of(gateway: Coordinator, digest: Digest = DIGEST) -> str:
    view: View = await gateway.views.why(digest)
    return "\n".join(view["words"])


async def mend(cluster: SmallCluster) -> None:
    """Have all nodes compare, and wait until they have."""
    gateway = cluster.gateway("operator")
    await gateway.views.care(CareOrder.REPAIR)
    await until(lambda ledger: ledger["whole"], gateway)


@in_virtual_time
async def test_the_ledgers_of_all_nodes_add_up() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        digests = [await cluster.store(b"%d" % number) for number in range(40)]
        gateway = cluster.gateway()
        view = await until(lambda ledger: ledger["whole"], gateway)
        ledger = view["ledger"]
        assert ledger["copies"] == {"0": 0, "1": 0, "2": 0, "3": len(digests), "more": 0}
        assert ledger["words"].startswith("whole: all of 40 digests have all their copies")
        assert (ledger["not_counting"], ledger["not_compared"]) == ({}, {})
        status: View = await gateway.views.status()
        assert status["ledger"]["digests"] == len(digests)
        assert status["nodes"][0]["forecast"]["words"].startswith("unknown yet")


@in_virtual_time
async def test_a_copy_that_is_missing_is_counted_and_whole_is_said_after_a_recount() -> None:
    async with small_cluster(care=SLOW) as cluster:
        gateway = cluster.gateway()
        await until(lambda ledger: ledger["whole"], gateway)
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        begun: View = await gateway.views.care(CareOrder.REPAIR)
        tickets = {row["node"]: row["ticket"] for row in begun["nodes"]}
        assert all(isinstance(ticket, int) for ticket in tickets.values())
        view = await until(lambda ledger: ledger["short"], gateway)
        assert view["ledger"]["copies"]["2"] == 1
        assert view["ledger"]["waiting_bytes"] == len(BLOB)
        assert view["ledger"]["words"].startswith("not whole: 1 of 1 digest has fewer copies")
        view = await until(lambda ledger: ledger["whole"], gateway)
        assert cluster.owners(DIGEST)[2].holds(DIGEST)
        for row in view["nodes"]:
            assert row["figures"]["repair_rounds"] >= tickets[row["node"]]


async def broken_off(cluster: SmallCluster, *, on: int) -> None:
    """BLOB as a chunk that some of its owners got, of an upload whose recipe never came."""
    for node in cluster.owners(DIGEST)[:on]:
        await node.store.put_chunk(KEY, CLAIMANT, BLOB)


@in_virtual_time
async def test_a_chunk_of_an_upload_that_was_broken_off_does_not_keep_a_cluster_from_being_whole(
) -> None:
    for count in (1, 2):
        async with small_cluster(4, care=CARE) as cluster:
            gateway = cluster.gateway()
            await broken_off(cluster, on=count)
            view = await until(lambda ledger: ledger["left_over"], gateway)
            for _ in range(20):
                ledger = view["ledger"]
                assert (ledger["whole"], ledger["short"], ledger["digests"]) == (True, 0, 0)
                assert ledger["words"].endswith("1 chunk that no blob needs goes when the grace of "
                                                "uploads is over")
                await asyncio.sleep(1.0)
                view = await gateway.views.care()
            assert sum(node.holds(DIGEST) for node in cluster.nodes.values()) == count
            words = await words_of(gateway)
            assert "of an upload that was broken off: no blob needs it" in words
            assert "will fetch it" not in words


@in_virtual_time
async def test_a_chunk_that_was_left_over_is_copied_as_soon_as_a_blob_needs_it() -> None:
    async with small_cluster(4, care=CARE) as cluster:
        gateway = cluster.gateway()
        await broken_off(cluster, on=1)
        await until(lambda ledger: ledger["left_over"], gateway)
        recipe = Recipe(CHUNK_BYTES + 1, (DIGEST, DIGEST))
        for node in cluster.nodes.values():
            await node.store.put_root(
                CLAIMING, RecordKind.RECIPE, recipe.size_bytes, 1, recipe.encode(CLAIMANT)
            )
        begun: View = await gateway.views.care(CareOrder.REPAIR)
        tickets = {row["node"]: row["ticket"] for row in begun["nodes"]}
        was_short = False
        async with asyncio.timeout(60):
            while True:
                view: View = await gateway.views.care()
                have = all(node.holds(DIGEST) for node in cluster.owners(DIGEST))
                rounds = {row["node"]: row["figures"]["repair_rounds"] for row in view["nodes"]}
                if all(rounds[node] >= ticket for node, ticket in tickets.items()):
                    if view["ledger"]["whole"]:
                        break
                    was_short = True
                await asyncio.sleep(0.05)
        assert have, "whole was said while copies were missing"
        assert was_short, "this test never saw the moment that it is about"
        assert view["ledger"]["left_over"] == 0


@in_virtual_time
async def test_a_write_that_was_on_its_way_does_not_keep_a_cluster_from_being_whole() -> None:
    async with small_cluster(care=SLOW) as cluster:
        gateway = cluster.gateway()
        await until(lambda ledger: ledger["whole"], gateway)
        await cluster.store(on=cluster.owners(DIGEST)[:2])
        await gateway.views.care(CareOrder.REPAIR)
        view = await until(lambda ledger: ledger["short"], gateway)
        rounds = [row["figures"]["repair_rounds"] for row in view["nodes"]]
        await cluster.store(on=cluster.owners(DIGEST)[2:])
        view = await until(lambda ledger: ledger["whole"], gateway)
        assert [row["figures"]["repair_rounds"] for row in view["nodes"]] == rounds


@in_virtual_time
async def test_a_round_that_is_under_way_does_not_count_for_an_order() -> None:
    async with small_cluster(care=CARE) as cluster:
        gateway = cluster.gateway()
        await until(lambda ledger: ledger["whole"], gateway)
        cluster.network.faults.frozen.add(NodeId("n1"))
        await asyncio.sleep(5.0)  # by now a round waits for it
        begun: View = await gateway.views.care(CareOrder.REPAIR)
        for row in begun["nodes"]:
            if row["node"] != "n1":
                assert row["ticket"] == row["figures"]["repair_rounds"] + 2


@in_virtual_time
async def test_who_was_not_asked_has_not_agreed() -> None:
    async with small_cluster(care=SLOW) as cluster:
        gateway = cluster.gateway()
        first, second, third = cluster.owners(DIGEST)
        await until(lambda ledger: ledger["whole"], gateway)
        await cluster.store(on=[first, second])
        await gateway.views.care(CareOrder.REPAIR)
        await until(lambda ledger: ledger["short"], gateway)
        await third.end()
        await asyncio.sleep(5.0)
        view: View = await gateway.views.care()
        assert view["ledger"]["copies"]["2"] == 1


@in_virtual_time
async def test_the_next_keeper_counts_for_one_that_is_silent() -> None:
    async with small_cluster(care=SLOW) as cluster:
        await cluster.store()
        gateway, first = cluster.gateway(), cluster.owners(DIGEST)[0]
        await until(lambda ledger: ledger["whole"], gateway)
        await first.end()
        view: View = await gateway.views.care()
        assert view["ledger"]["partitions_uncounted"] > 0
        assert "partitions are not counted" in view["ledger"]["words"]
        assert view["ledger"]["not_counting"] == {first.node: f"{first.node} is down"}
        view = await until(lambda ledger: not ledger["partitions_uncounted"], gateway)
        await asyncio.sleep(100.0)  # what was compared with it is too old by now
        recounted: View = await gateway.views.care()
        assert recounted["ledger"]["copies"]["2"] == 1
        assert not recounted["ledger"]["whole"]


@in_virtual_time
async def test_what_has_no_copy_at_all_is_counted_as_that() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        for node in cluster.owners(DIGEST):
            node.rot(DIGEST)
            await node.store.verify(KEY)
        view: View = await until(lambda ledger: ledger["copies"]["0"], cluster.gateway())
        assert "1 of them none at all" in view["ledger"]["words"]
        words = await words_of(cluster.gateway())
        assert "no good copy on any node that answered" in words
        assert "3 quarantined copies are kept" in words


@in_virtual_time
async def test_a_bad_copy_has_a_story() -> None:
    async with small_cluster(care=SLOW) as cluster:
        await cluster.store()
        gateway, second = cluster.gateway(), cluster.owners(DIGEST)[1]
        await until(lambda ledger: ledger["whole"], gateway)
        assert "3 of 3 owners have a good copy" in await words_of(gateway)
        second.rot(DIGEST)
        for _ in range(6):
            assert await gateway.get(DIGEST) == BLOB
        await cluster.calm()
        await mend(cluster)
        second.clock.seconds += 180
        words = await words_of(gateway)
        assert "3 of 3 owners have a good copy" in words
        assert f"{second.node}'s copy was bad and put aside 3 minutes ago" in words
        assert "found when a gateway asked for it" in words
        assert "; a verified copy came from " in words


@in_virtual_time
async def test_what_will_happen_is_said() -> None:
    async with small_cluster(5, care=SLOW) as cluster:
        gateway = cluster.gateway()
        owners, spare = cluster.owners(DIGEST), cluster.spares(DIGEST)[0]
        await cluster.store(on=[owners[0], spare])
        cluster.network.faults.down.add(owners[1].node)
        words = await words_of(gateway)
        assert f"1 of 3 owners have a good copy: {owners[0].node}" in words
        assert f"{spare.node} keeps a copy for others" in words
        assert f"{owners[2].node} has no copy; {owners[2].node} will fetch it" in words
        assert f"{owners[1].node} did not answer" in words


@in_virtual_time
async def test_what_is_deleted_unknown_or_a_chunk_is_said() -> None:
    async with small_cluster(care=CALM_CARE) as cluster:
        gateway = cluster.gateway()
        assert "nothing is known of it" in await words_of(gateway)
        await gateway.put(DIGEST, BLOB)
        await gateway.delete(DIGEST)
        await cluster.calm()
        words = await words_of(gateway)
        assert words.startswith("it was deleted")
        assert "admin undelete" in words
        large = bytes(range(256)) * (CHUNK_BYTES // 256) + b"tail"
        stored = await gateway.put(Digest.of(large), large)
        await cluster.calm()
        assert (await words_of(gateway, stored.digest)).startswith("a large blob")
        assert "1 large blob needs" in await words_of(gateway, Digest.of(b"tail"))
        view: View = await gateway.views.why(Digest.of(b"tail"))
        assert [node["claims"] for node in view["nodes"]] == [1, 1, 1]
        await cluster.nodes[cluster.layout.nodes[0]].store.put_chunk(
            RecordKey(Digest.of(b"alone")), None, b"alone"
        )
        assert "nobody put as a blob" in await words_of(gateway, Digest.of(b"alone"))


@in_virtual_time
async def test_metrics_of_the_cluster_are_told_while_they_are_fresh() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        gateway = cluster.gateway()
        await until(lambda ledger: ledger["whole"], gateway)
        metrics = LedgerMetrics(gateway.views)
        assert list(metrics.collect()) == []
        running = asyncio.create_task(metrics.run())
        await asyncio.sleep(1.0)
        told = {
            (sample.name, *sample.labels.values()): sample.value
            for family in metrics.collect()
            for sample in family.samples
        }
        assert told["holdfast_cluster_digests", "3"] == 1
        assert told["holdfast_cluster_whole",] == 1
        running.cancel()
        await asyncio.sleep(FORGET_S + 1.0)
        assert list(metrics.collect()) == []


def count(led: bytes, copies: tuple[int, ...] = (0, 0, 0, 1, 0)) -> LedgerCount:
    return LedgerCount(led, copies, 0, 0, 0, 0, 100, 1_500, ())


def test_partitions_that_nobody_or_two_count_are_told() -> None:
    half = bitmap(range(PARTITIONS // 2))
    rest = bitmap(range(PARTITIONS // 2, PARTITIONS))
    whole = add_up([A, B], {A: count(half), B: count(rest)}, {})
    assert (whole["whole"], whole["digests"], whole["counted_s_ago"]) == (True, 2, 1.5)
    missing: View = add_up([A, B], {A: count(half)}, {B: "no answer"})
    assert not missing["whole"]
    assert missing["partitions_uncounted"] == PARTITIONS // 2
    assert missing["not_counting"] == {B: "no answer"}
    assert missing["uncounted_prefixes"][:2] == ["800", "801"]
    assert "digests that begin with 800, 801, 802..." in str(missing["words"])
    twice = add_up([A, B], {A: count(half), B: count(bitmap(range(PARTITIONS)))}, {})
    assert (twice["partitions_counted_twice"], twice["whole"]) == (PARTITIONS // 2, False)
    assert not add_up([A], {}, {A: "starting"})["whole"]


def test_a_forecast_is_made_only_of_what_is_known() -> None:
    assert forecast({}, GIB) == {
        "days_to_full": None,
        "words": "unknown yet: less than half an hour is known",
    }
    known = {"growth_span_s": 7_200, "grown_bytes": GIB // 12}
    assert forecast(known, 10 * GIB)["days_to_full"] == 10.0
    assert forecast(known, 10 * GIB)["words"] == "10.0 days, at the pace of the last 2 h"
    assert forecast({**known, "grown_bytes": 0}, GIB)["words"] == "it did not fill in the last 2 h"
    assert forecast({**known, "grown_bytes": 1}, GIB)["days_to_full"] is None


def test_times_read_well() -> None:
    assert [ago(0), ago(59), ago(180), ago(7_300), ago(200_000)] == [
        "just now",
        "59 seconds ago",
        "3 minutes ago",
        "2 hours ago",
        "2 days ago",
    ]
