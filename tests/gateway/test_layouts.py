"""A change of layout in the middle of everything: who learns from whom, and what counts then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import combinations, count

import pytest

from gateway.coordinator import Coordinator
from ring.codec import pack
from ring.control import TeachLayouts, pack_layout
from ring.digest import Digest
from ring.errors import HoldfastError, NotAdmitted, NotFound, Unavailable, WrongEpoch
from ring.layout import Layout, LiveLayouts
from ring.life import NodeId
from ring.limits import CHUNK_BYTES, KIB
from ring.listing import ListRecords
from ring.messages import GetRecord, PutRecord, Request, StatRecords
from ring.quorum import Placement
from ring.record import RecordKey
from tests.fakes.direct_transport import DirectTransport, Refuse
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, SmallCluster, next_layout, small_cluster
from tests.fakes.virtual_time import in_virtual_time

LARGE = bytes(CHUNK_BYTES + 1)
LONG = bytes(64 * KIB + 1)


async def teach(cluster: SmallCluster, *layouts: Layout, nodes: Sequence[NodeId]) -> None:
    transport = DirectTransport(cluster.network, "operator")
    for node in nodes:
        await transport.call(node, TeachLayouts(layouts), epochs=(), timeout_s=5)


async def put(gateway: Coordinator) -> None:
    await gateway.put(DIGEST, BLOB)
    assert await gateway.get(DIGEST) == BLOB


async def put_large(gateway: Coordinator) -> None:
    await gateway.put(Digest.of(LARGE), LARGE)
    assert await gateway.get(Digest.of(LARGE)) == LARGE


async def get(gateway: Coordinator) -> None:
    assert await gateway.get(Digest.of(b"there")) == b"there"


async def get_long(gateway: Coordinator) -> None:
    assert await gateway.get(Digest.of(LONG)) == LONG


async def head(gateway: Coordinator) -> None:
    assert await gateway.contains(Digest.of(b"there"))


async def miss(gateway: Coordinator) -> None:
    with pytest.raises(NotFound):
        await gateway.get(DIGEST)


async def delete(gateway: Coordinator) -> None:
    await gateway.delete(Digest.of(b"there"))
    assert not await gateway.contains(Digest.of(b"there"))


async def list_all(gateway: Coordinator) -> None:
    assert len((await gateway.list_page(None, 10))[0]) == 2


operations = pytest.mark.parametrize(
    "operation", [put, put_large, get, get_long, head, miss, delete, list_all]
)
Operation = Callable[[Coordinator], Awaitable[None]]


@asynccontextmanager
async def filled(count: int = 3) -> AsyncIterator[SmallCluster]:
    """A cluster with two blobs on every node, so that a new table needs no copying."""
    async with small_cluster(count, 3) as cluster:
        for data in (b"there", LONG):
            await cluster.store(data, on=list(cluster.nodes.values()))
        yield cluster


@operations
@in_virtual_time
async def test_a_gateway_learns_newer_layouts_and_starts_over(operation: Operation) -> None:
    async with filled() as cluster:
        gateway = cluster.gateway()
        await teach(cluster, cluster.layout, next_layout(cluster.layout), nodes=[*cluster.nodes])
        await operation(gateway)

        assert gateway.cluster.live.epochs == (1, 2)


@operations
@in_virtual_time
async def test_one_node_that_knows_newer_layouts_is_enough(operation: Operation) -> None:
    async with filled() as cluster:
        newer = next_layout(cluster.layout)
        await teach(cluster, newer, nodes=list(cluster.nodes)[:1])
        gateway = cluster.gateway()
        for _ in range(3):  # whichever nodes a read begins with
            await operation(gateway)

        assert gateway.cluster.live.epochs == (2,)
        for node in cluster.nodes.values():
            if node.service.layouts.live.epochs == (2,):
                assert await node.stored_layouts() == (newer,)


@operations
@in_virtual_time
async def test_nodes_with_older_layouts_are_taught_and_keep_it(operation: Operation) -> None:
    async with filled() as cluster:
        newer = next_layout(cluster.layout)
        gateway = cluster.gateway()
        gateway.cluster.live = LiveLayouts((newer,))
        for _ in range(3):
            await operation(gateway)
        await cluster.calm()

        for node in cluster.nodes.values():
            assert node.service.layouts.live.epochs == (2,)
            await node.end()
            await node.start()
            assert node.service.layouts.live.layouts == (newer,)


@in_virtual_time
async def test_while_two_layouts_live_enough_nodes_of_each_are_read() -> None:
    """One node of each, side by side among the owners, missed a delete that was acknowledged."""
    async with small_cluster(10) as cluster:
        newer = cluster.layout
        for _ in range(5):
            newer = next_layout(newer)
        newer = replace(newer, epoch=2)
        both = LiveLayouts((cluster.layout, newer))
        await teach(cluster, cluster.layout, newer, nodes=[*cluster.nodes])
        for number in count():
            data = b"%d" % number
            digest = Digest.of(data)
            old, new = both.placement(digest).groups
            if old.owners[-1] not in new.eligible and new.owners[0] not in old.eligible:
                break
        unaware = {old.owners[-1], new.owners[0]}
        aware = [node for node in both.placement(digest).eligible if node not in unaware]
        assert both.placement(digest).is_cover(aware)
        await cluster.store(data, on=[cluster.nodes[node] for node in sorted(unaware)])
        for node in aware:
            await cluster.nodes[node].store.bury(RecordKey(digest), 1)
        gateway = cluster.gateway()
        gateway.cluster.live = both
        owners = both.placement(digest).owners
        for _ in range(3 * len(owners)):  # with any of them first, and no news to be heard
            with pytest.raises(NotFound):
                await gateway.get(digest)


def _from(liar: NodeId, error: HoldfastError) -> Refuse:
    def refuse(node: NodeId, request: Request) -> HoldfastError | None:
        return error if node == liar else None

    return refuse


@operations
@in_virtual_time
async def test_a_node_that_claims_newer_layouts_and_has_none_hurts_nobody(
    operation: Operation,
) -> None:
    async with filled() as cluster:
        foreign = replace(next_layout(cluster.layout), cluster_id="ee" * 16)
        errors = [
            WrongEpoch("newer", layouts=pack([pack_layout(foreign)])),
            WrongEpoch("newer", layouts=pack([pack_layout(cluster.layout)])),
            WrongEpoch("newer", layouts=b"junk"),
        ]
        liar = next(iter(cluster.nodes))
        for error in errors:
            cluster.network.faults.refuse = _from(liar, error)
            gateway = cluster.gateway(str(error.facts))
            if operation is not delete or error is errors[0]:
                await operation(gateway)
            assert gateway.cluster.live.epochs == (1,)


@in_virtual_time
async def test_layouts_of_another_cluster_are_taught_to_nobody() -> None:
    async with small_cluster() as cluster:
        foreign = replace(next_layout(cluster.layout), cluster_id="ee" * 16)
        with pytest.raises(NotAdmitted):
            await teach(cluster, foreign, nodes=[*cluster.nodes])


# --- in the middle of an operation ----------------------------------------------------------------


@in_virtual_time
async def test_acks_under_older_and_newer_layouts_do_not_add_up() -> None:
    async with filled(5) as cluster:
        gateway, newer = cluster.gateway(), next_layout(cluster.layout)
        owners = [node.node for node in cluster.owners(DIGEST)]
        held = [cluster.network.hold(node, PutRecord) for node in owners[1:]]
        write = asyncio.ensure_future(gateway.put(DIGEST, BLOB))
        await asyncio.sleep(0.1)  # one ack under the older layout
        await teach(cluster, newer, nodes=owners[1:])
        assert await gateway.contains(Digest.of(b"there"))  # another operation learns of it
        await asyncio.sleep(2)
        for each in held:
            each.release()
        await write

        assert gateway.cluster.live.epochs == (2,)
        placement = Placement((newer.group(DIGEST.partition),))
        holders = [node.node for node in cluster.nodes.values() if node.holds(DIGEST)]
        assert placement.is_ack_set(holders)
        puts = [asked for asked in cluster.network.calls_of(PutRecord) if asked.epochs == (1,)]
        assert len(puts) > 3  # the spares were asked for under the layouts of the beginning


@pytest.mark.parametrize("kind", [GetRecord, StatRecords, ListRecords])
@in_virtual_time
async def test_a_read_begun_under_older_layouts_ends_under_the_newer(kind: type[Request]) -> None:
    async with filled(5) as cluster:
        gateway, newer = cluster.gateway(), next_layout(cluster.layout)
        held = [cluster.network.hold(node, kind, caller="gateway") for node in cluster.nodes]
        there = Digest.of(b"there")
        read = asyncio.ensure_future(gateway.get(there))
        listing = asyncio.ensure_future(gateway.list_page(None, 10))
        await asyncio.sleep(0.005)
        await teach(cluster, newer, nodes=[*cluster.nodes])
        gateway.cluster.live = LiveLayouts((newer,))  # another operation has learnt it meanwhile
        for each in held:
            each.release()

        assert await read == b"there"
        assert len((await listing)[0]) == 2


# --- while two layouts live -----------------------------------------------------------------------


def _one_sided(groups: Placement, test: str) -> tuple[NodeId, ...]:
    """Nodes that are enough in the older layout and not in the newer."""
    older, newer = groups.groups
    for size in range(1, 7):
        for nodes in combinations(groups.eligible, size):
            if getattr(older, test)(nodes) and not getattr(newer, test)(nodes):
                return nodes
    raise AssertionError("no such set")


@asynccontextmanager
async def changing() -> AsyncIterator[tuple[SmallCluster, Coordinator, Placement]]:
    """Seven nodes between two layouts."""
    async with small_cluster(7, 3) as cluster:
        both = (cluster.layout, next_layout(cluster.layout))
        await teach(cluster, *both, nodes=[*cluster.nodes])
        gateway = cluster.gateway()
        gateway.cluster.live = LiveLayouts(both)
        yield cluster, gateway, gateway.cluster.placement(DIGEST)


@in_virtual_time
async def test_a_write_needs_an_ack_set_in_each() -> None:
    async with changing() as (cluster, gateway, placement):
        enough = _one_sided(placement, "is_ack_set")
        cluster.network.faults.down.update(set(cluster.nodes) - set(enough))
        with pytest.raises(Unavailable):
            await gateway.put(DIGEST, BLOB)
        cluster.network.faults.down.clear()
        await gateway.put(DIGEST, BLOB)
        await cluster.calm()

        holders = [node.node for node in cluster.nodes.values() if node.holds(DIGEST)]
        assert placement.is_ack_set(holders)
        assert await gateway.get(DIGEST) == BLOB


@in_virtual_time
async def test_absence_and_deletes_need_a_cover_in_each() -> None:
    async with changing() as (cluster, gateway, placement):
        enough = _one_sided(placement, "is_cover")
        cluster.network.faults.down.update(set(cluster.nodes) - set(enough))
        with pytest.raises(Unavailable):
            await gateway.contains(DIGEST)
        with pytest.raises(Unavailable):
            await gateway.delete(DIGEST)
        with pytest.raises(Unavailable):
            await gateway.list_page(None, 10)
        cluster.network.faults.down.clear()
        assert not await gateway.contains(DIGEST)
        await gateway.delete(DIGEST)
        assert await gateway.list_page(None, 10) == ([], None)


@in_virtual_time
async def test_a_copy_in_either_is_found_and_deleted() -> None:
    async with changing() as (cluster, gateway, placement):
        for group in placement.groups:
            await cluster.store(on=[cluster.nodes[node] for node in group.owners[:2]])
            for _ in range(4):
                assert await gateway.get(DIGEST) == BLOB
                assert (await gateway.list_page(None, 10))[0] == [(DIGEST, len(BLOB))]
            await gateway.delete(DIGEST)
            for _ in range(4):
                assert not await gateway.contains(DIGEST)
            for node in cluster.nodes.values():
                await node.store.drop(KEY)
