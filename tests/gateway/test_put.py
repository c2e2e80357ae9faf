"""Puts of small blobs: which acks count, who takes over, and at which generation."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from gateway.calls import CallSettings
from gateway.record_writer import GENERATION_ATTEMPTS
from ring.admission import PutAnswer
from ring.digest import Algorithm, Digest
from ring.errors import (
    Busy,
    Corrupt,
    DigestMismatch,
    DiskFull,
    HoldfastError,
    StorageFault,
    Unavailable,
    Unreachable,
)
from ring.life import NodeId
from ring.limits import CHUNK_BYTES, KIB
from ring.messages import Answer, PutRecord, PutReply, Request
from ring.record import RecordKind, Root, dead, live
from ring.suspicion import Lane
from tests.fakes.direct_transport import Refuse, receivers_answer
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time


def generations(cluster: SmallCluster) -> list[int]:
    """Generations at which records were put so far, each once."""
    puts = [asked.request for asked in cluster.network.calls_of(PutRecord)]
    return list(dict.fromkeys(put.generation for put in puts if isinstance(put, PutRecord)))


def refusing(error: HoldfastError, *nodes: NodeId) -> Refuse:
    def refuse(node: NodeId, request: Request) -> HoldfastError | None:
        return error if node in nodes and isinstance(request, PutRecord) else None

    return refuse


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("size", [0, 1, 64 * KIB, 64 * KIB + 1, CHUNK_BYTES])
@in_virtual_time
async def test_a_put_is_created_once_and_there_afterwards(algorithm: Algorithm, size: int) -> None:
    async with small_cluster() as cluster:
        gateway, data = cluster.gateway(), bytes(size)
        digest = Digest.of(data, algorithm)
        first = await gateway.put(digest, data)
        await cluster.calm()
        second = await gateway.put(digest, data)

        assert (first.created, second.created) == (True, False)
        assert (first.digest, first.size_bytes) == (digest, size)
        assert await gateway.get(digest) == data
        assert all(node.holds(digest) for node in cluster.nodes.values())


@in_virtual_time
async def test_a_body_that_is_something_else_reaches_no_node() -> None:
    async with small_cluster() as cluster:
        with pytest.raises(DigestMismatch) as caught:
            await cluster.gateway().put(DIGEST, b"bl0b")

        assert caught.value.facts == {
            "expected": str(DIGEST), "computed": str(Digest.of(b"bl0b")),
        }
        assert not cluster.network.count(PutRecord)


@in_virtual_time
async def test_it_is_not_there_already_when_too_few_nodes_had_it() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await gateway.put(DIGEST, BLOB)
        await cluster.calm()
        first, second, _ = cluster.owners(DIGEST)
        await first.store.drop(KEY)
        second.rot(DIGEST)

        assert (await gateway.put(DIGEST, BLOB)).created
        await cluster.calm()
        assert not (await gateway.put(DIGEST, BLOB)).created


# --- who takes over -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("down"),
        DiskFull("full"),
        StorageFault("broken"),
        Busy("later"),
        Corrupt("recipes differ"),
        DigestMismatch("bits flipped on the way"),
    ],
    ids=lambda error: error.code,
)
@in_virtual_time
async def test_a_spare_takes_over_from_an_owner_that_fails(error: HoldfastError) -> None:
    async with small_cluster(5, 3) as cluster:
        gateway = cluster.gateway()
        one, two, three = (node.node for node in cluster.owners(DIGEST))
        cluster.network.faults.refuse = refusing(error, one, two)
        held = cluster.network.hold(three, PutRecord)
        put = asyncio.ensure_future(gateway.put(DIGEST, BLOB))
        await asyncio.sleep(0.5)
        assert not put.done()  # two spares are no ack set without an owner
        held.release()

        assert (await put).created
        assert all(spare.holds(DIGEST) for spare in cluster.spares(DIGEST))


@in_virtual_time
async def test_a_spare_joins_for_a_late_owner_which_may_still_answer() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway, loop = cluster.gateway(), asyncio.get_running_loop()
        one, two, three = (node.node for node in cluster.owners(DIGEST))
        cluster.network.faults.frozen |= {one}
        held = cluster.network.hold(two, PutRecord)
        before = loop.time()
        await gateway.put(DIGEST, BLOB)

        assert loop.time() - before < 2 * CallSettings().write_patience_s
        assert cluster.nodes[three].holds(DIGEST)
        assert any(spare.holds(DIGEST) for spare in cluster.spares(DIGEST))
        assert not cluster.nodes[two].holds(DIGEST)
        held.release()
        await cluster.calm()
        assert cluster.nodes[two].holds(DIGEST)


@in_virtual_time
async def test_one_durable_copy_is_no_ack() -> None:
    async with small_cluster() as cluster:
        one, two, three = (node.node for node in cluster.owners(DIGEST))
        cluster.network.faults.down |= {one}
        cluster.network.faults.frozen |= {two}
        with pytest.raises(Unavailable, match="1 durable copies so far"):
            await cluster.gateway().put(DIGEST, BLOB)

        assert cluster.nodes[three].holds(DIGEST)


@in_virtual_time
async def test_what_receivers_stored_does_not_count() -> None:
    async with small_cluster() as cluster:
        for node in cluster.owners(DIGEST)[:2]:
            cluster.network.faults.rewrite[node.node] = receivers_answer
        with pytest.raises(Unavailable, match="receivers do not count"):
            await cluster.gateway().put(DIGEST, BLOB)

        assert all(node.holds(DIGEST) for node in cluster.owners(DIGEST))


@in_virtual_time
async def test_the_cluster_is_full_only_when_nowhere_is_left() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway = cluster.gateway()
        nodes = [node.node for node in (*cluster.owners(DIGEST), *cluster.spares(DIGEST))]
        cluster.network.faults.refuse = refusing(DiskFull("full"), *nodes[:2], nodes[3])
        assert (await gateway.put(DIGEST, BLOB)).created

        cluster.network.faults.refuse = refusing(DiskFull("full"), *nodes[:3])
        with pytest.raises(DiskFull):  # two spares have it; without an owner that is no ack set
            await gateway.put(DIGEST, BLOB)
        cluster.network.faults.refuse = refusing(Busy("busy"), *nodes[:3])
        with pytest.raises(Unavailable):
            await gateway.put(DIGEST, BLOB)


@in_virtual_time
async def test_a_full_node_beside_one_that_is_down_is_no_full_cluster() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        full, down, _ = (node.node for node in cluster.owners(DIGEST))
        errors: dict[NodeId, HoldfastError] = {full: DiskFull("full"), down: Unreachable("down")}
        cluster.network.faults.refuse = lambda node, request: (
            errors.get(node) if isinstance(request, PutRecord) else None
        )
        with pytest.raises(Unavailable, match="full; down"):
            await gateway.put(DIGEST, BLOB)
        errors[down] = DiskFull("full too")
        with pytest.raises(DiskFull):
            await gateway.put(DIGEST, BLOB)


# --- generations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1, 2])
@in_virtual_time
async def test_a_tombstone_on_any_owner_lifts_the_put_above_it(where: int) -> None:
    async with small_cluster() as cluster:
        gateway, owners = cluster.gateway(), cluster.owners(DIGEST)
        await owners[where].store.bury(KEY, 3)
        held = [cluster.network.hold(node.node, PutRecord) for node in owners]
        put = asyncio.ensure_future(gateway.put(DIGEST, BLOB))
        await asyncio.sleep(0.1)
        for each in (held[where], *held):  # the refusal comes before anybody has acked
            each.release()
            await asyncio.sleep(0.1)

        assert (await put).created
        assert generations(cluster) == [1, 4]
        await cluster.calm()
        assert {node.state_of(DIGEST).root for node in owners} == {live(4)}
        assert await gateway.get(DIGEST) == BLOB


@in_virtual_time
async def test_copies_of_the_first_try_do_not_make_the_second_find_the_blob_there() -> None:
    async with small_cluster() as cluster:
        owners = cluster.owners(DIGEST)
        await owners[0].store.bury(KEY, 1)
        held = cluster.network.hold(owners[0].node, PutRecord, answers=True)
        down = cluster.network.hold(owners[1].node, PutRecord, answers=True)
        put = asyncio.ensure_future(cluster.gateway().put(DIGEST, BLOB))
        await asyncio.sleep(0.1)  # both others hold it at the first generation by now
        cluster.network.faults.delay_s[owners[0].node] = 0.5
        held.release()
        await asyncio.sleep(0.1)
        down.release()

        assert (await put).created


@in_virtual_time
async def test_a_higher_live_generation_is_joined() -> None:
    async with small_cluster() as cluster:
        owners = cluster.owners(DIGEST)
        await owners[0].store.put_root(KEY, RecordKind.DATA, len(BLOB), 6, BLOB)
        for node in owners[1:]:
            cluster.network.faults.delay_s[node.node] = 0.1
        await cluster.gateway().put(DIGEST, BLOB)

        assert generations(cluster) == [1, 6]
        await cluster.calm()
        assert {node.state_of(DIGEST).root for node in owners} == {live(6)}


@in_virtual_time
async def test_a_floor_is_exceeded_and_remembered() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        for node in cluster.nodes.values():
            await node.store.raise_floor(DIGEST.partition, 7)
        assert (await gateway.put(DIGEST, BLOB)).created
        assert generations(cluster) == [1, 8]
        assert not (await gateway.put(DIGEST, BLOB)).created
        assert generations(cluster) == [1, 8]  # not refused a second time


@in_virtual_time
async def test_acks_at_two_generations_do_not_add_up() -> None:
    async with small_cluster() as cluster:
        owners = cluster.owners(DIGEST)
        await owners[1].store.bury(KEY, 1)
        cluster.network.faults.down |= {owners[2].node}
        refusal = Unreachable("down at the second try")

        def refuse(node: NodeId, request: Request) -> HoldfastError | None:
            again = isinstance(request, PutRecord) and request.generation == 2
            return refusal if again and node == owners[0].node else None

        cluster.network.faults.refuse = refuse
        cluster.network.faults.delay_s[owners[1].node] = 0.1
        with pytest.raises(Unavailable):  # live(1) on one node, live(2) on another
            await cluster.gateway().put(DIGEST, BLOB)

        await cluster.calm()
        assert owners[0].state_of(DIGEST).root == live(1)
        assert owners[1].state_of(DIGEST).root == live(2)


@in_virtual_time
async def test_even_a_receivers_tombstone_is_exceeded() -> None:
    async with small_cluster() as cluster:
        owners = cluster.owners(DIGEST)
        await owners[0].store.bury(KEY, 5)
        cluster.network.faults.rewrite[owners[0].node] = receivers_answer
        for node in owners[1:]:
            cluster.network.faults.delay_s[node.node] = 0.1
        await cluster.gateway().put(DIGEST, BLOB)

        assert generations(cluster) == [1, 6]


@in_virtual_time
async def test_a_put_that_is_refused_again_and_again_gives_up() -> None:
    async with small_cluster() as cluster:
        def always_dead(request: Request, answer: Answer) -> Answer:
            if not isinstance(request, PutRecord):
                return answer
            refusal = PutAnswer(dead(request.generation), 0, had=False)
            return replace(answer, reply=PutReply(refusal))

        for node in cluster.nodes:
            cluster.network.faults.rewrite[node] = always_dead
        with pytest.raises(Unavailable, match="overtaking"):
            await cluster.gateway().put(DIGEST, BLOB)

        assert len(generations(cluster)) == GENERATION_ATTEMPTS


@pytest.mark.parametrize("root", [Root(0), dead(0), live(1), dead(6)])
@in_virtual_time
async def test_a_refusal_without_a_reason_is_no_refusal(root: Root) -> None:
    async with small_cluster() as cluster:
        for node in cluster.nodes.values():
            await node.store.bury(KEY, 6)

        def unreasonable(request: Request, answer: Answer) -> Answer:
            if not isinstance(request, PutRecord):
                return answer
            return replace(answer, reply=PutReply(PutAnswer(root, 0, had=True)))

        cluster.network.faults.rewrite[cluster.owners(DIGEST)[0].node] = unreasonable
        gateway = cluster.gateway()
        gateway.cluster.learn_floor(DIGEST.partition, 6)
        assert (await gateway.put(DIGEST, BLOB)).created
        assert generations(cluster) == [7]
        assert gateway.cluster.protocol_errors_total == 1


# --- what goes on after the answer ----------------------------------------------------------------


@in_virtual_time
async def test_a_put_does_not_wait_for_the_slowest_and_ends_it_at_its_deadline() -> None:
    async with small_cluster() as cluster:
        gateway, loop = cluster.gateway(), asyncio.get_running_loop()
        cluster.network.faults.frozen |= {cluster.owners(DIGEST)[0].node}
        before = loop.time()
        await gateway.put(DIGEST, BLOB)
        assert loop.time() - before < 0.1
        assert gateway.records.stragglers.under_way == 1
        await cluster.calm()

        assert loop.time() - before <= CallSettings().write_timeout_s + 1
        assert gateway.records.stragglers.under_way == 0


@in_virtual_time
async def test_a_put_whose_client_goes_away_leaves_nothing_behind() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        cluster.network.faults.frozen |= set(cluster.nodes)
        put = asyncio.ensure_future(gateway.put(DIGEST, BLOB))
        await asyncio.sleep(0.5)
        put.cancel()
        await asyncio.gather(put, return_exceptions=True)
        assert put.cancelled()
        await cluster.calm()

        assert gateway.records.stragglers.under_way == 0
        cluster.network.faults.frozen.clear()
        assert (await gateway.put(DIGEST, BLOB)).created


@in_virtual_time
async def test_writes_that_go_on_are_bounded() -> None:
    async with small_cluster() as cluster:
        settings = CallSettings(stragglers_max=5)
        gateway = cluster.gateway(settings=settings)
        missed: list[NodeId] = []
        gateway.cluster.missed.on_missed = lambda node, _: missed.append(node)
        frozen = cluster.owners(DIGEST)[0].node
        cluster.network.faults.frozen |= {frozen}
        for number in range(20):
            data = b"%d" % number
            await gateway.put(Digest.of(data), data)

        assert gateway.cluster.suspicion.suspects() == {frozen: [Lane.WRITES]}
        assert gateway.records.stragglers.under_way <= 5 + 16
        assert {*missed} == {frozen}
        gateway.close()
        await asyncio.sleep(0.1)
        assert gateway.records.stragglers.under_way == 0
