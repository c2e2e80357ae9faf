"""Disks that were wiped, rolled back, or taken away under a running node."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from node.marker import DIRECTORY, MARKER_PATH
from node.membership import HEARTBEAT_S, RENEW_S
from node.memory_disk import MemoryDisk
from ring.control import GetFloors, Introduce, TeachLayouts
from ring.errors import (
    Fenced,
    HoldfastError,
    NotAdmitted,
)
from ring.life import Life, NodeId
from ring.limits import GIB
from ring.messages import GetRecord, PutRecord, Request
from ring.record import RecordKind
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")
PUT = PutRecord(KEY, RecordKind.DATA, len(BLOB), 1, None)


async def marker_of(node: SmallNode) -> tuple[int, int, bool]:
    """Incarnation and boot on disk, and whether it votes everywhere."""
    marker = await node.marker()
    assert marker is not None
    return marker.incarnation, marker.boot, not marker.receiver


# --- lost and rolled back disks -------------------------------------------------------------------


@in_virtual_time
async def test_a_wiped_node_waits_for_the_operator_and_writes_nothing() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        await node.end()
        node.wipe()
        await node.start(accept_blank=False)
        await asyncio.sleep(60)

        assert node.state == "blank"
        assert "peers remember this node" in node.reason
        assert await node.disk.list_directory("") == []
        with pytest.raises(NotAdmitted, match="peers remember this node"):
            await cluster.ask(node, GetRecord(KEY))
        with pytest.raises(NotAdmitted):
            await cluster.ask(node, PUT, BLOB)


@in_virtual_time
async def test_one_peer_that_remembers_is_enough_to_keep_a_wiped_node_from_being_new() -> None:
    async with small_cluster() as cluster:
        await cluster.nodes[N1].end()
        cluster.nodes[N1].wipe()
        for peer in (N0, N2):
            await cluster.nodes[peer].end()
        cluster.nodes[N0].wipe()
        await cluster.nodes[N0].start(accept_blank=False)
        await cluster.nodes[N1].start(accept_blank=False)
        await cluster.nodes[N2].start(accept_blank=False)
        await asyncio.sleep(60)

        assert cluster.nodes[N0].state == cluster.nodes[N1].state == "blank"
        assert cluster.nodes[N2].state == "voter"


@in_virtual_time
async def test_where_blank_is_accepted_a_wiped_node_lives_again_as_a_receiver() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        await node.end()
        node.wipe()
        await cluster.nodes[N0].end()
        await cluster.nodes[N2].end()  # nobody to compare with, but one that remembers
        await cluster.nodes[N0].start()
        await node.start()
        await node.until("receiver")

        assert await marker_of(node) == (2, 1, False)
        assert not (await cluster.ask(node, PUT, BLOB)).voter
        assert node.holds(DIGEST)
        answer = await cluster.ask(node, GetRecord(KEY))
        assert (answer.voter, answer.payload) == (False, None)


@pytest.mark.parametrize("boots_lost", [1, 2, 3])
@in_virtual_time
async def test_a_disk_that_was_rolled_back_is_fenced(boots_lost: int) -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        snapshot = await node.snapshot()
        for _ in range(boots_lost):
            await node.end()
            await node.start()
            await node.until("voter")
        await node.end()
        await node.roll_back(snapshot)
        held = cluster.network.hold(N0, GetFloors, caller="n1")
        await node.start()
        await node.until("receiver")

        assert await marker_of(node) == (2, 1, False)
        assert "remembers a later life" in node.reason
        held.release()
        await node.until("voter")
        assert await marker_of(node) == (2, 1, True)


@in_virtual_time
async def test_a_disk_that_was_rolled_back_within_a_boot_is_fenced_after_a_while() -> None:
    async with small_cluster() as cluster:
        node, gateway = cluster.nodes[N1], cluster.gateway()
        snapshot = await node.snapshot()
        await asyncio.sleep(RENEW_S + 2 * HEARTBEAT_S)
        cluster.network.faults.frozen.add(N2)
        await gateway.put(DIGEST, BLOB)  # acked by n0 and n1
        await node.end()
        await node.roll_back(snapshot)
        cluster.network.faults.frozen.clear()
        await node.start()
        await node.until("voter")
        assert await marker_of(node) == (2, 1, True)
        cluster.network.faults.down.add(N0)

        assert await cluster.gateway("another").get(DIGEST) == BLOB


@in_virtual_time
async def test_a_node_that_raises_its_counter_goes_on_as_it_was() -> None:
    async with small_cluster() as cluster:
        node, gateway = cluster.nodes[N1], cluster.gateway()
        before = node.service.membership.life
        await gateway.put(DIGEST, BLOB)
        await asyncio.sleep(RENEW_S + 2 * HEARTBEAT_S)
        life = node.service.membership.life

        assert (life.process, life.boot) == (before.process, before.boot + 1)
        assert await marker_of(node) == (1, life.boot, True)
        assert node.state == "voter"
        for peer in (N0, N2):
            assert await cluster.nodes[peer].remembers(N1) == life
        for _ in range(3):
            assert await gateway.get(DIGEST) == BLOB
            assert (await gateway.stat(DIGEST)).confirmed
        assert not (await gateway.put(DIGEST, BLOB)).created


@in_virtual_time
async def test_a_counter_that_cannot_be_raised_stays() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        await node.end()
        trouble = Trouble()
        node.disk = FaultyDisk(node.disk, trouble)
        await node.start()
        await node.until("voter")
        life = node.service.membership.life
        await node.disk.unlink(".holdfast/reserve")
        trouble.room_bytes = 0
        await asyncio.sleep(RENEW_S + 2 * HEARTBEAT_S)
        assert (node.service.membership.life, node.state) == (life, "voter")

        trouble.room_bytes = None
        await asyncio.sleep(RENEW_S)
        assert node.service.membership.life.boot == life.boot + 1


@in_virtual_time
async def test_a_node_that_is_fenced_in_mid_life_stops_voting_at_once() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        clone = Introduce(N1, Life(1, 3, 77), blank=False, receiver=False)
        await cluster.nodes[N0].service.membership.introduced(clone)
        cluster.network.hold(N0, GetFloors, caller="n1")
        await node.until("receiver")

        assert not (await cluster.ask(node, GetRecord(KEY))).voter
        assert node.service.membership.life.incarnation == 2


@in_virtual_time
async def test_a_fenced_node_whose_disk_is_full_votes_no_more_all_the_same() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        await node.end()
        trouble = Trouble()
        node.disk = FaultyDisk(node.disk, trouble)
        await node.start()
        await node.until("voter")
        await node.disk.unlink(".holdfast/reserve")
        trouble.room_bytes = 0
        clone = Introduce(N1, Life(1, 9, 77), blank=False, receiver=False)
        await cluster.nodes[N0].service.membership.introduced(clone)
        await node.until("receiver")
        life = node.service.membership.life

        assert life.incarnation == 1  # it says nothing of a life that is not on disk
        assert not (await cluster.ask(node, GetRecord(KEY))).voter
        trouble.room_bytes = None
        await node.until("voter")
        assert node.service.membership.life.incarnation > 1


@pytest.mark.parametrize("fact", ["nine", b"\x09", -1, 1 << 62, None])
@in_virtual_time
async def test_a_fence_that_names_no_sound_incarnation_fences_all_the_same(
    fact: str | bytes | int | None,
) -> None:
    async with small_cluster() as cluster:
        facts = {} if fact is None else {"incarnation": fact}

        def refuse(node: NodeId, request: Request) -> HoldfastError | None:
            told = isinstance(request, Introduce) and request.node == N1
            return Fenced("no", **facts) if told and node == N0 else None

        cluster.network.faults.refuse = refuse
        await cluster.nodes[N1].until("receiver")
        await asyncio.sleep(3)  # fenced again and again
        cluster.network.faults.refuse = None
        await cluster.nodes[N1].until("voter")

        incarnation, _, _ = await marker_of(cluster.nodes[N1])
        assert 1 < incarnation < 10


# --- a disk that goes away ------------------------------------------------------------------------


@in_virtual_time
async def test_a_node_whose_marker_vanished_neither_votes_nor_stores_nor_writes() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        await node.end()
        mounted = FaultyDisk(node.disk)
        node.disk = mounted
        await node.start()
        await node.until("voter")
        await mounted.unlink(MARKER_PATH)
        await node.until("lost its disk")
        calls = len(mounted.trouble.calls)

        with pytest.raises(NotAdmitted, match="is its disk mounted"):
            await cluster.ask(node, PUT, BLOB)
        with pytest.raises(NotAdmitted):
            await cluster.ask(node, GetRecord(KEY))
        newer = (replace(cluster.layout, epoch=2),)
        await cluster.ask(node, TeachLayouts(newer))
        with pytest.raises(NotAdmitted):
            await node.service.membership.introduced(
                Introduce(N2, Life(5, 1, 1), blank=False, receiver=False)
            )
        await cluster.nodes[N0].service.membership.introduced(
            Introduce(N1, Life(7, 1, 1), blank=False, receiver=False)
        )
        await asyncio.sleep(30)  # heartbeats are fenced and find news

        assert set(mounted.trouble.calls[calls:]) == {"info"}
        assert node.state == "lost its disk"


@in_virtual_time
async def test_a_blank_node_stores_no_layouts_before_it_has_a_marker() -> None:
    cluster = SmallCluster(3, 3)
    newer = replace(cluster.layout, epoch=2)
    for node in cluster.nodes.values():
        node.disk = MemoryDisk(GIB)
    first, *others = cluster.nodes.values()
    await first.start()
    await cluster.ask(first, TeachLayouts((newer,)))

    assert await first.disk.list_directory("") == []
    assert first.service.layouts.live.epochs == (2,)
    for node in others:
        await node.start()
    await first.until("voter")
    assert await first.stored_layouts() == (newer,)
    assert DIRECTORY in await first.disk.list_directory("")
    await cluster.end()
