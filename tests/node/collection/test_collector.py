"""Which chunks of a small cluster's nodes go, and what keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from node.collection.collection_settings import DAY_S
from ring.digest import Digest
from ring.messages import Answer, Request, StatesReply, StatRecords
from ring.record import ABSENT, RecordKey, RecordKind, RecordState, dead, live
from tests.fakes.direct_transport import receivers_answer
from tests.fakes.small_cluster import SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time
from tests.node.collection.gone import (
    SETTINGS,
    Collected,
    bury,
    collected,
    every_collection,
    holders,
    large_blob,
    nodes_of,
)

CHUNK, SHARED, LONE = b"chunk", b"shared", b"lone"
GRACE_S = 60.0
NAME = Digest.of(CHUNK)
KEY = RecordKey(NAME)


async def round_of_all(cluster: SmallCluster) -> list[Collected]:
    everybody = every_collection(cluster)
    for one in everybody:
        await one.collection.round()
    return everybody


def after_condemning(
    node: SmallNode, key: RecordKey, then: Callable[[RecordState | None], RecordState | None]
) -> Callable[[Request, Answer], Answer]:
    """A rewrite of states that are answered while `node` has condemned the chunk."""

    def rewrite(request: Request, answer: Answer) -> Answer:
        if not (isinstance(request, StatRecords) and isinstance(answer.reply, StatesReply)):
            return answer
        if not node.store.disposal.condemned.has(key.raw):
            return answer
        states = tuple(then(state) for state in answer.reply.states)
        return Answer(answer.node, answer.life, answer.voter, StatesReply(states))

    return rewrite


@in_virtual_time
async def test_chunks_of_a_deleted_blob_go_everywhere() -> None:
    async with small_cluster(5) as cluster:
        blob = await large_blob(cluster, CHUNK, SHARED)
        await bury(nodes_of(cluster), blob)
        everybody = await round_of_all(cluster)

        assert holders(cluster, CHUNK) == holders(cluster, SHARED) == 0
        for node in nodes_of(cluster):
            assert node.state_of(NAME) == ABSENT
            assert await node.store.claims(KEY, None, 9) == ([], True)
        owners = cluster.placement(NAME).owners
        for one, node in zip(everybody, nodes_of(cluster), strict=True):
            assert one.collection.was_collected(KEY) is (node.node in owners)
        assert sum(one.counters["chunks_collected_total"] for one in everybody) == 6


@in_virtual_time
async def test_chunks_of_a_blob_that_is_there_stay() -> None:
    async with small_cluster(5) as cluster:
        await large_blob(cluster, CHUNK, SHARED)
        everybody = await round_of_all(cluster)

        assert holders(cluster, CHUNK) == holders(cluster, SHARED) == 3
        assert not any(one.collection.was_collected(KEY) for one in everybody)
        for node in nodes_of(cluster):
            assert len(node.store.disposal.condemned) == 0


@in_virtual_time
async def test_a_chunk_that_another_blob_needs_stays_with_all_its_claims() -> None:
    async with small_cluster(5) as cluster:
        gone = await large_blob(cluster, CHUNK, SHARED)
        kept = await large_blob(cluster, SHARED, LONE)
        await bury(nodes_of(cluster), gone)
        await round_of_all(cluster)

        assert holders(cluster, CHUNK) == 0
        assert holders(cluster, SHARED) == holders(cluster, LONE) == 3
        shared = RecordKey(Digest.of(SHARED))
        for node in cluster.owners(shared.digest):
            claims, _ = await node.store.claims(shared, None, 9)
            assert claims == sorted([gone, kept])


@in_virtual_time
async def test_a_chunk_is_left_alone_for_its_grace() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        one = collected(cluster, nodes_of(cluster)[0])
        one.later(DAY_S - 1)
        await one.collection.round()
        assert holders(cluster, CHUNK) == 3

        one.later(1)
        await one.collection.round()
        assert holders(cluster, CHUNK) == 2


@in_virtual_time
async def test_what_an_upload_left_goes_after_its_grace() -> None:
    async with small_cluster() as cluster:
        for node in nodes_of(cluster):
            await node.store.put_chunk(KEY, None, CHUNK)
        young = collected(cluster, nodes_of(cluster)[0])
        await young.collection.round()
        assert holders(cluster, CHUNK) == 3
        await round_of_all(cluster)

        assert holders(cluster, CHUNK) == 0


@in_virtual_time
async def test_the_chunks_of_a_blob_in_somebodys_trash_stay() -> None:
    async with small_cluster(5) as cluster:
        blob = await large_blob(cluster, CHUNK)
        first, *others = cluster.owners(blob)
        await bury(others, blob)
        await first.store.bury(RecordKey(blob), 1, keep_value=True)
        for node in cluster.owners(NAME):
            one = collected(cluster, node)
            one.later()
            found = await node.store.disposal.leaving(None, 99)
            collector = one.collection._collector  # noqa: SLF001 - a whole round would end the trash
            await collector.look_at(found.entries)
        assert first.state_of(blob).in_trash
        assert holders(cluster, CHUNK) == 3

        await first.store.disposal.discard([RecordKey(blob)])
        await round_of_all(cluster)
        assert holders(cluster, CHUNK) == 0


@in_virtual_time
async def test_nothing_is_collected_while_a_cover_cannot_be_had() -> None:
    async with small_cluster(3) as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        first, second, third = nodes_of(cluster)
        cluster.network.faults.down |= {second.node}
        cluster.network.faults.rewrite[third.node] = receivers_answer
        one = collected(cluster, first)
        one.later(1_000 * DAY_S)
        await one.collection.round()

        assert first.holds(NAME)
        assert not first.store.disposal.condemned.has(KEY.raw)
        cluster.network.faults.rewrite.clear()
        await one.collection.round()
        assert not first.holds(NAME)


@in_virtual_time
async def test_noes_from_before_the_condemnation_count_for_nothing() -> None:
    async with small_cluster(3) as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        first, *others = nodes_of(cluster)
        alive = RecordState(RecordKind.RECIPE, 5_000_000, live(2), held=True)
        for node in others:
            rewrite = after_condemning(first, KEY, lambda _: alive)
            cluster.network.faults.rewrite[node.node] = rewrite
        one = collected(cluster, first)
        one.later()
        await one.collection.round()

        assert first.holds(NAME)
        assert await first.store.confirm(blob, [NAME]) == [True]


@in_virtual_time
async def test_silence_after_the_condemnation_pardons() -> None:
    async with small_cluster(3) as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        first, *others = nodes_of(cluster)
        for node in others:
            cluster.network.faults.rewrite[node.node] = after_condemning(
                first, KEY, lambda _: None
            )
        one = collected(cluster, first)
        one.later()
        await one.collection.round()

        assert first.holds(NAME)
        assert not first.store.disposal.condemned.has(KEY.raw)


@in_virtual_time
async def test_while_everybody_is_asked_a_commit_is_told_no_and_a_put_keeps_the_chunk() -> None:
    async with small_cluster(3) as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        first, *others = nodes_of(cluster)
        cluster.network.faults.delay_s |= {node.node: 1 for node in others}
        one = collected(cluster, first, replace(SETTINGS, call_timeout_s=5))
        one.later()
        condemned = first.store.disposal.condemned
        rounds = asyncio.ensure_future(one.collection.round())
        await asyncio.sleep(0.5)
        assert not condemned.has(KEY.raw), "they are asked once before"
        await asyncio.sleep(1)

        assert condemned.has(KEY.raw)
        assert await first.store.confirm(blob, [NAME]) == [False]
        assert (await first.store.get(KEY))[1] == CHUNK
        await first.store.put_chunk(KEY, blob, CHUNK)
        assert await first.store.confirm(blob, [NAME]) == [True]
        await rounds
        assert first.holds(NAME)
        assert not one.collection.was_collected(KEY)


@in_virtual_time
async def test_a_chunk_that_a_client_put_as_a_blob_stays() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        await cluster.store(CHUNK)
        await round_of_all(cluster)
        assert holders(cluster, CHUNK) == 3

        await bury(nodes_of(cluster), NAME)
        assert holders(cluster, CHUNK) == 3
        await round_of_all(cluster)
        assert holders(cluster, CHUNK) == 0
        for node in nodes_of(cluster):
            assert node.state_of(NAME).root == dead(1)
            assert node.state_of(NAME).is_tombstone


@in_virtual_time
async def test_a_chunk_is_kept_for_any_of_many_claimants() -> None:
    async with small_cluster() as cluster:
        first = nodes_of(cluster)[0]
        claimants = sorted(Digest.of(b"%d" % number) for number in range(1_200))
        for claimant in claimants:
            await first.store.put_chunk(KEY, claimant, CHUNK)
        last = claimants[-1]
        for node in nodes_of(cluster)[1:]:
            await node.store.absorb(
                RecordKey(last), RecordState(RecordKind.RECIPE, 5_000_000, live(1)), [], None
            )
        one = collected(cluster, first)
        one.later()
        await one.collection.round()
        assert first.holds(NAME)

        await bury(nodes_of(cluster), last)
        other = collected(cluster, first)
        other.later()
        await other.collection.round()
        assert not first.holds(NAME)


@in_virtual_time
async def test_a_chunk_that_is_verified_again_and_again_goes_all_the_same() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        first = nodes_of(cluster)[0]
        # Its clock stands, as if a scrub had just been there.
        one = collected(cluster, first, replace(SETTINGS, grace_s=GRACE_S))
        await one.collection.round()
        await asyncio.sleep(GRACE_S - 1)
        await one.collection.round()
        assert holders(cluster, CHUNK) == 3

        await asyncio.sleep(1)
        await one.collection.round()
        assert holders(cluster, CHUNK) == 2


@in_virtual_time
async def test_a_put_begins_the_grace_anew() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        first = nodes_of(cluster)[0]
        one = collected(cluster, first, replace(SETTINGS, grace_s=GRACE_S))
        await one.collection.round()
        await asyncio.sleep(GRACE_S / 2)
        await first.store.put_chunk(KEY, blob, CHUNK)
        await asyncio.sleep(GRACE_S / 2)
        await one.collection.round()

        assert holders(cluster, CHUNK) == 3


@in_virtual_time
async def test_a_chunk_that_was_needed_meanwhile_waits_anew() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        recipe = RecordState(RecordKind.RECIPE, 5_000_000, live(2))
        await bury(nodes_of(cluster), blob)
        settings = replace(SETTINGS, grace_s=GRACE_S, alive_memory_s=0)
        one = collected(cluster, nodes_of(cluster)[0], settings)
        await one.collection.round()
        for node in nodes_of(cluster):
            await node.store.absorb(RecordKey(blob), recipe, [], None)
        await one.collection.round()
        await bury(nodes_of(cluster), blob, 2)
        await asyncio.sleep(GRACE_S)
        await one.collection.round()

        assert holders(cluster, CHUNK) == 3


@in_virtual_time
async def test_a_node_that_does_not_vote_collects_no_chunk() -> None:
    async with small_cluster() as cluster:
        blob = await large_blob(cluster, CHUNK)
        await bury(nodes_of(cluster), blob)
        first = nodes_of(cluster)[0]
        await first.service.membership.forgot()
        one = collected(cluster, first)
        one.later()
        await one.collection.round()

        assert first.holds(NAME)


@in_virtual_time
async def test_lost_bytes_do_not_keep_claims_that_nobody_needs() -> None:
    async with small_cluster() as cluster:
        first = nodes_of(cluster)[0]
        await first.store.put_chunk(KEY, Digest.of(b"large"), CHUNK)
        first.rot(NAME)
        await first.store.verify(KEY)
        assert first.state_of(NAME).claimed
        assert not first.holds(NAME)
        one = collected(cluster, first)
        one.later()
        await one.collection.round()

        assert first.state_of(NAME) == ABSENT
        assert await first.store.claims(KEY, None, 9) == ([], True)
