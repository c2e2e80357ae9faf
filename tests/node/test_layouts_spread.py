"""Layouts spread between nodes without a gateway: old ones are taught, newer ones learnt."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from node.care_settings import CareSettings
from node.repair.repair_settings import RepairSettings
from ring.codec import pack
from ring.control import pack_layout
from ring.errors import WrongEpoch
from ring.life import NodeId
from tests.fakes.small_cluster import next_layout, small_cluster, small_layout
from tests.fakes.virtual_time import in_virtual_time

CARE = CareSettings(repair=RepairSettings(interval_s=1.0, settle_s=0.5))
N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")


@in_virtual_time
async def test_layouts_that_one_node_learnt_reach_every_other() -> None:
    async with small_cluster(5, care=CARE) as cluster:
        newer = (cluster.layout, next_layout(cluster.layout))
        await cluster.nodes[N1].service.layouts.learn(newer, None)
        async with asyncio.timeout(20.0):
            while any(n.service.layouts.live.epochs != (1, 2) for n in cluster.nodes.values()):
                await asyncio.sleep(0.1)


@in_virtual_time
async def test_a_receiver_that_missed_a_change_learns_of_it_from_whom_it_compares_with() -> None:
    async with small_cluster(care=CARE) as cluster:
        node = cluster.nodes[N2]
        await node.end()
        node.wipe()
        for other in (N0, N1):
            layouts = (next_layout(cluster.layout),)
            await cluster.nodes[other].service.layouts.learn(layouts, None)
        await node.start()
        await node.until("voter")
        assert node.service.layouts.live.epochs == (2,)


@in_virtual_time
async def test_what_a_peer_tells_that_are_no_layouts_of_ours_changes_nothing() -> None:
    async with small_cluster(care=CARE) as cluster:
        layouts, stranger = cluster.nodes[N0].service.layouts, small_layout(4, 3)
        before = layouts.live
        packed = pack([pack_layout(replace(stranger, cluster_id="another", epoch=9))])
        for fact in (packed, b"", pack([]), pack("no layouts"), "text"):
            await layouts.learn_from(WrongEpoch("you are behind", layouts=fact), None)
        await layouts.learn_from(WrongEpoch("you are behind"), None)
        assert layouts.live is before
