"""What operators see, in words: the cluster, a blob's copies, and whether writes can be served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.coordinator import Coordinator
from gateway.operator_views import STATUS_TIMEOUT_S
from gateway.readiness import READY_POLL_S, WatchedViews
from ring.control import TeachLayouts
from ring.digest import Digest
from ring.life import NodeId
from ring.messages import FlagsReply
from tests.fakes.direct_transport import DirectTransport
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, next_layout, small_cluster
from tests.fakes.virtual_time import in_virtual_time

View = dict[str, Any]  # Any: JSON


async def status_of(gateway: Coordinator) -> tuple[View, dict[str, View]]:
    view: View = await gateway.views.status()
    return view, {node["node"]: node for node in view["nodes"]}


@in_virtual_time
async def test_a_healthy_cluster() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await gateway.put(DIGEST, BLOB)
        await cluster.calm()
        view, nodes = await status_of(gateway)

        assert view["summary"] == "all 3 nodes vote: everything reads and writes"
        assert view["healthy"]
        assert (view["epoch"], view["replicas"], view["write_quorum"]) == (1, 3, 2)
        assert view["cluster_id"] == cluster.layout.cluster_id
        for node in nodes.values():
            assert (node["state"], node["reason"], node["error"]) == ("voter", "votes", None)
            assert (node["records"], node["bytes_stored"]) == (1, len(BLOB))
            assert node["counters"]["put_total"] == 1
        assert await gateway.views.ready() is None


@pytest.mark.parametrize(
    ("count", "down", "summary", "ready"),
    [
        (3, 1, "1 of 3 nodes cannot vote (n0): everything reads and writes; a second", True),
        (3, 2, "2 of 3 nodes cannot vote (n0, n1): writes fail with 503 where too few", False),
        (5, 1, "1 of 5 nodes cannot vote (n0): everything reads and writes; one more", True),
        (5, 2, "2 of 5 nodes cannot vote (n0, n1): everything reads and writes, but absence", True),
        (5, 3, "3 of 5 nodes cannot vote (n0, n1, n2): writes fail with 503", False),
    ],
)
@in_virtual_time
async def test_what_still_works_without_some_nodes(
    count: int, down: int, summary: str, ready: bool
) -> None:
    async with small_cluster(count, 3) as cluster:
        gateway = cluster.gateway()
        cluster.network.faults.down.update(list(cluster.nodes)[:down])
        view, nodes = await status_of(gateway)

        assert view["summary"].startswith(summary)
        assert not view["healthy"]
        assert (nodes["n0"]["state"], nodes["n0"]["error"]) == ("unreachable", "n0 is down")
        assert (await gateway.views.ready() is None) is ready


@in_virtual_time
async def test_a_frozen_node_does_not_keep_the_operator_waiting() -> None:
    async with small_cluster() as cluster:
        gateway, loop = cluster.gateway(), asyncio.get_running_loop()
        cluster.network.faults.frozen.add(NodeId("n1"))
        before = loop.time()
        _, nodes = await status_of(gateway)

        assert loop.time() - before <= STATUS_TIMEOUT_S + 0.1
        assert nodes["n1"]["error"] == "n1 did not answer in time"


@in_virtual_time
async def test_a_receiver_says_why_it_is_one() -> None:
    async with small_cluster() as cluster:
        gateway, node = cluster.gateway(), cluster.nodes[NodeId("n1")]
        await node.end()
        node.wipe()
        await cluster.nodes[NodeId("n2")].end()
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(1)
        _, nodes = await status_of(gateway)

        assert nodes["n1"]["state"] == "receiver"
        assert "of which these vote: n0" in nodes["n1"]["reason"]
        assert await gateway.views.ready() == "only 1 of 3 nodes vote"


@in_virtual_time
async def test_a_node_that_talks_nonsense_is_shown_to_do_so() -> None:
    async with small_cluster() as cluster:
        cluster.network.faults.rewrite[NodeId("n0")] = lambda _, answer: replace(
            answer, reply=FlagsReply(())
        )
        _, nodes = await status_of(cluster.gateway())

        assert nodes["n0"]["error"] == "answered FlagsReply when asked how it is"


@in_virtual_time
async def test_where_the_copies_of_a_blob_are() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway = cluster.gateway()
        owners, spares = cluster.owners(DIGEST), cluster.spares(DIGEST)
        await cluster.store(on=[owners[0], owners[1], spares[0]], generation=2)
        owners[1].rot(DIGEST)
        await owners[1].store.verify(KEY)
        cluster.network.faults.down.add(owners[2].node)
        view: View = await gateway.views.where(DIGEST)

        assert view["owners"] == [node.node for node in owners]
        assert view["spares"] == [node.node for node in spares]
        assert (view["partition"], view["digest"]) == (DIGEST.partition, str(DIGEST))
        told = [(copy["role"], copy["state"], copy["root"]) for copy in view["copies"]]
        assert told == [
            ("owner", "present", "live(2)"),
            ("owner", "no good copy", "live(2)"),
            ("owner", "unreachable", None),
            ("spare", "present", "live(2)"),
            ("spare", "absent", "none"),
        ]
        assert view["copies"][2]["error"] == f"{owners[2].node} is down"
        assert view["copies"][0]["verified_at_s"] > 0


@in_virtual_time
async def test_a_tombstone_is_shown_as_one() -> None:
    async with small_cluster() as cluster:
        for node in cluster.nodes.values():
            await node.store.bury(KEY, 1)
        view: View = await cluster.gateway().views.where(DIGEST)

        assert {(copy["held"], copy["root"]) for copy in view["copies"]} == {(False, "dead(1)")}


@in_virtual_time
async def test_where_is_told_by_the_newest_layout() -> None:
    async with small_cluster(5, 3) as cluster:
        newer = next_layout(cluster.layout)
        operator = DirectTransport(cluster.network, "operator")
        await operator.call(NodeId("n0"), TeachLayouts((newer,)), epochs=(), timeout_s=1)
        gateway = cluster.gateway()
        view: View = await gateway.views.where(DIGEST)

        assert view["epoch"] == 2
        assert view["owners"] == list(newer.group(DIGEST.partition).owners)
        assert all("error" not in copy for copy in view["copies"])


@in_virtual_time
async def test_readiness_follows_the_nodes() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        watched = WatchedViews(gateway.views)
        assert watched.ready() == "the nodes have not been asked yet"
        watching = asyncio.create_task(watched.run())
        await asyncio.sleep(0.1)
        assert watched.ready() is None
        cluster.network.faults.down.update(list(cluster.nodes)[:2])
        await asyncio.sleep(READY_POLL_S + 0.1)
        assert watched.ready() == "only 1 of 3 nodes vote"
        cluster.network.faults.down.clear()
        await asyncio.sleep(0.2)
        assert watched.ready() is None
        watching.cancel()
        assert (await watched.status())["healthy"]
        assert (await watched.where(Digest.of(b"x")))["epoch"] == 1
