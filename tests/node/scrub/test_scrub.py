"""Nodes that read their copies again, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from node.care_settings import CareSettings
from node.repair.repair_settings import RepairSettings
from node.scrub.scrub_settings import ScrubSettings
from ring.digest import Digest
from ring.errors import StorageFault
from ring.limits import CHUNK_BYTES
from ring.messages import StatRecords
from ring.operating import (
    CareOrder,
    CareReply,
    ExplainRecord,
    GetCare,
    IncidentKind,
    RecordStory,
    StartCare,
    StartedReply,
)
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

PERIOD_S = 3_600.0
REPAIR = RepairSettings(interval_s=1.0, settle_s=0.5)
CARE = CareSettings(repair=REPAIR, scrub=ScrubSettings(period_s=PERIOD_S))
CALM_REPAIR = CareSettings(
    repair=RepairSettings(interval_s=1e9),
    scrub=ScrubSettings(period_s=PERIOD_S, idle_s=60.0, bytes_per_s_min=1.0),
)
PATIENCE_S = 60.0
LARGE = bytes(range(256)) * (CHUNK_BYTES // 256) + b"tail"
OWN_SECTOR = (KEY, RecordKind.DATA)


class BadSectors(dict[tuple[RecordKey, RecordKind], bytes]):
    """Values of which some cannot be read."""

    def __init__(self, values: dict[tuple[RecordKey, RecordKind], bytes]) -> None:
        super().__init__(values)
        self.bad: list[tuple[RecordKey, RecordKind]] = []
        self.all_bad = False

    def get(self, at: Any, default: Any = None) -> Any:  # Any: as in dict
        if self.all_bad or at in self.bad:
            raise StorageFault("EIO")
        return super().get(at, default)

    def pop(self, at: Any, *default: Any) -> Any:  # Any: as in dict
        if at in self.bad:
            self.bad.remove(at)  # a disk puts what is written anew into another sector
        return super().pop(at, *default)


async def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.1)


async def order_scrub(cluster: SmallCluster, node: SmallNode) -> None:
    """Have a node read everything, and wait until it has."""
    answer = await cluster.ask(node, StartCare(CareOrder.SCRUB))
    assert isinstance(answer.reply, StartedReply)
    ticket = answer.reply.ticket
    async with asyncio.timeout(PATIENCE_S):
        while (await figures(cluster, node))["scrub_laps"] < ticket:
            await asyncio.sleep(0.1)


async def figures(cluster: SmallCluster, node: SmallNode) -> dict[str, int]:
    answer = await cluster.ask(node, GetCare())
    assert isinstance(answer.reply, CareReply)
    return dict(answer.reply.figures)


async def kinds_of_incidents(
    cluster: SmallCluster, node: SmallNode, digest: Digest = DIGEST
) -> list[IncidentKind]:
    answer = await cluster.ask(node, ExplainRecord(RecordKey(digest)))
    assert isinstance(answer.reply, RecordStory)
    return [incident.kind for incident in answer.reply.incidents]


def sectors_of(node: SmallNode) -> BadSectors:
    """Give the node a disk whose sectors can go bad."""
    node.store.values.values = sectors = BadSectors(node.store.values.values)
    return sectors


@in_virtual_time
async def test_a_scrub_that_is_asked_for_finds_rot_and_repair_mends_it() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        first = cluster.owners(DIGEST)[0]
        first.rot(DIGEST)
        await order_scrub(cluster, first)
        assert first.service.counters["scrub_bad_copies_total"] == 1
        await until(lambda: first.holds(DIGEST))
        assert (await first.store.get(KEY))[1] == BLOB
        assert await kinds_of_incidents(cluster, first) == [
            IncidentKind.PUT_ASIDE,
            IncidentKind.FETCHED,
        ]


@in_virtual_time
async def test_every_copy_is_read_again_within_the_period() -> None:
    async with small_cluster(1, 1, care=CALM_REPAIR) as cluster:
        (node,) = cluster.nodes.values()
        digests = [await cluster.store(b"%d" % number * 500) for number in range(200)]
        began_s = int(node.clock.now_s())
        while node.clock.now_s() < began_s + PERIOD_S:
            await asyncio.sleep(60.0)
            node.clock.seconds += 60.0
        oldest_s = min(node.state_of(digest).verified_at_s for digest in digests)
        assert oldest_s > began_s


@in_virtual_time
async def test_a_copy_that_somebody_removed_is_found_and_comes_back() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        first = cluster.owners(DIGEST)[0]
        del first.store.values.values[OWN_SECTOR]
        await order_scrub(cluster, first)
        assert (await figures(cluster, first))["bad_copies_found"] == 1
        await until(lambda: first.holds(DIGEST))
        assert await kinds_of_incidents(cluster, first) == [
            IncidentKind.MISSING,
            IncidentKind.FETCHED,
        ]


@in_virtual_time
async def test_a_lap_is_spread_over_its_part_of_the_period_and_longer_while_clients_are_busy() -> (
    None
):
    shares = []
    for is_busy in (False, True):
        care = CareSettings(
            repair=CALM_REPAIR.repair,
            scrub=ScrubSettings(period_s=PERIOD_S, idle_s=1.0, bytes_per_s_min=1.0, batch=1),
        )
        async with small_cluster(1, 1, care=care) as cluster:
            (node,) = cluster.nodes.values()
            for number in range(100):
                await cluster.store(b"%d" % number)
            node.clock.seconds += PERIOD_S
            client = asyncio.create_task(ask_for_ever(cluster, node)) if is_busy else None
            await asyncio.sleep(PERIOD_S / 20)
            if client is not None:
                client.cancel()
            shares.append(node.service.counters["scrub_copies_total"] / 100)
    quiet, busy = shares
    assert 0.08 <= quiet <= 0.13  # a twentieth of the period is a tenth of a lap
    assert 0.04 <= busy <= 0.08


async def ask_for_ever(cluster: SmallCluster, node: SmallNode) -> None:
    """A client that asks thirty times a second."""
    while True:
        await cluster.ask(node, StatRecords((KEY,)))
        await asyncio.sleep(1 / 30)


@in_virtual_time
async def test_a_clock_that_was_ahead_does_not_keep_copies_from_being_read() -> None:
    async with small_cluster(1, 1, care=CALM_REPAIR) as cluster:
        (node,) = cluster.nodes.values()
        node.clock.seconds += 100 * PERIOD_S
        await cluster.store()
        node.clock.seconds -= 100 * PERIOD_S
        await asyncio.sleep(300.0)
        assert node.state_of(DIGEST).verified_at_s <= node.clock.seconds


@in_virtual_time
async def test_what_was_hashed_just_now_is_left_alone() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        await asyncio.sleep(600.0)  # of the loop; the wall clock stands
        for node in cluster.nodes.values():
            assert node.service.counters["scrub_copies_total"] == 0


@in_virtual_time
async def test_one_sector_that_cannot_be_read_heals() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.store()
        await cluster.store(b"another")
        first = cluster.owners(DIGEST)[0]
        sectors_of(first).bad.append(OWN_SECTOR)
        await order_scrub(cluster, first)
        assert first.holds(DIGEST)  # not given up at once
        await asyncio.sleep(300.0)
        assert (await first.store.get(KEY))[1] == BLOB
        assert first.service.counters["scrub_given_up_total"] == 1
        kinds = await kinds_of_incidents(cluster, first)
        assert IncidentKind.GIVEN_UP in kinds
        assert kinds[-1] is IncidentKind.FETCHED


@in_virtual_time
async def test_a_dead_disk_does_not_make_a_node_forget_what_it_has() -> None:
    async with small_cluster(care=CARE) as cluster:
        digests = [await cluster.store(b"%d" % number) for number in range(20)]
        first = cluster.nodes[cluster.layout.nodes[0]]
        sectors = sectors_of(first)
        sectors.all_bad = True
        await order_scrub(cluster, first)
        await asyncio.sleep(600.0)
        assert first.service.counters["scrub_given_up_total"] == 0
        sectors.all_bad = False
        await asyncio.sleep(120.0)
        assert all(first.holds(digest) for digest in digests)
        assert (await figures(cluster, first))["scrub_unreadable"] == 0


@in_virtual_time
async def test_a_copy_that_nobody_else_has_is_not_given_up() -> None:
    async with small_cluster(care=CALM_REPAIR) as cluster:
        first = cluster.owners(DIGEST)[0]
        await cluster.store(on=[first])
        await cluster.store(b"another")
        sectors_of(first).bad.append(OWN_SECTOR)
        await order_scrub(cluster, first)
        await asyncio.sleep(600.0)
        assert first.holds(DIGEST)


@in_virtual_time
async def test_the_first_keeper_hashes_large_blobs_as_wholes() -> None:
    async with small_cluster(care=CARE) as cluster:
        stored = await cluster.gateway().put(Digest.of(LARGE), LARGE)
        await cluster.calm()
        for node in cluster.nodes.values():
            await order_scrub(cluster, node)
        good = [node.service.counters["scrub_blobs_good_total"] for node in cluster.nodes.values()]
        leader = cluster.owners(stored.digest)[0]
        assert sorted(good) == [0, 0, 1]
        assert leader.service.counters["scrub_blobs_good_total"] == 1


@in_virtual_time
async def test_a_large_blob_is_hashed_with_chunks_of_peers_too() -> None:
    head = LARGE[:CHUNK_BYTES]
    tails = (b"tail %d" % number for number in range(100))
    tail = next(  # of a partition that comes later than its blob's, so that it rots undiscovered
        tail for tail in tails if Digest.of(tail).partition > Digest.of(head + tail).partition
    )
    async with small_cluster(care=CALM_REPAIR) as cluster:
        stored = await cluster.gateway().put(Digest.of(head + tail), head + tail)
        await cluster.calm()
        leader = cluster.owners(stored.digest)[0]
        leader.rot(Digest.of(tail))
        await order_scrub(cluster, leader)
        assert leader.service.counters["scrub_blobs_good_total"] == 1
        assert leader.service.counters["scrub_bad_copies_total"] == 1


@in_virtual_time
async def test_a_recipe_of_other_bytes_is_told_and_stays() -> None:
    async with small_cluster(care=CARE) as cluster:
        await cluster.gateway().put(Digest.of(LARGE), LARGE)
        await cluster.calm()
        wrong = Digest.of(b"not these bytes")
        chunks = (Digest.of(LARGE[:CHUNK_BYTES]), Digest.of(LARGE[CHUNK_BYTES:]))
        recipe = Recipe(len(LARGE), chunks).encode(wrong)
        for node in cluster.owners(wrong):
            await node.store.put_root(RecordKey(wrong), RecordKind.RECIPE, len(LARGE), 1, recipe)
        leader = cluster.owners(wrong)[0]
        await order_scrub(cluster, leader)
        assert leader.service.counters["scrub_blobs_wrong_total"] == 1
        answer = await cluster.ask(leader, GetCare())
        assert isinstance(answer.reply, CareReply)
        assert any(str(wrong) in remark for remark in answer.reply.remarks)
        assert await kinds_of_incidents(cluster, leader, wrong) == [IncidentKind.WRONG_RECIPE]
        assert leader.holds(wrong)
