"""Reads of small blobs: the short way, and everything that leads off it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ring.digest import Digest
from ring.errors import Busy, HoldfastError, Internal, NotFound, StorageFault, Unavailable
from ring.life import Life, NodeId
from ring.listing import PageReply
from ring.messages import (
    Answer,
    GetRecord,
    RecordReply,
    Request,
    StatesReply,
    StatRecords,
    VerifyRecord,
)
from ring.record import RecordKind, live
from tests.fakes.direct_transport import receivers_answer
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

ABSENT = Digest.of(b"never put")
TURNS = range(4)  # a node is asked first, second or not at all, in turn


@in_virtual_time
async def test_the_usual_get_asks_one_node_for_the_bytes_and_one_for_the_state() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        for _ in TURNS:  # news of lives is heard once from everybody
            await gateway.get(DIGEST)
        before = len(cluster.network.asked)
        for _ in TURNS:
            assert await gateway.get(DIGEST) == BLOB

        asked = [type(call.request) for call in cluster.network.asked[before:]]
        assert sorted(asked, key=str) == [GetRecord] * 4 + [StatRecords] * 4


@in_virtual_time
async def test_questions_of_many_reads_travel_together() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        blobs = [b"%d" % number for number in range(50)]
        digests = [await cluster.store(blob) for blob in blobs]
        assert await asyncio.gather(*map(gateway.get, digests)) == blobs
        before = cluster.network.count(StatRecords)
        assert await asyncio.gather(*map(gateway.get, digests)) == blobs

        assert cluster.network.count(StatRecords) - before <= 3


# --- one node is not as it should be --------------------------------------------------------------

Trouble = Callable[[SmallCluster, SmallNode], None]


def _down(cluster: SmallCluster, node: SmallNode) -> None:
    cluster.network.faults.down.add(node.node)


def _frozen(cluster: SmallCluster, node: SmallNode) -> None:
    cluster.network.faults.frozen.add(node.node)


def _slow(cluster: SmallCluster, node: SmallNode) -> None:
    cluster.network.faults.delay_s[node.node] = 1.0


def _refusing(error: HoldfastError) -> Trouble:
    def trouble(cluster: SmallCluster, node: SmallNode) -> None:
        cluster.network.faults.refuse = lambda asked, _: error if asked == node.node else None

    trouble.__name__ = error.code
    return trouble


def _receiver(cluster: SmallCluster, node: SmallNode) -> None:
    cluster.network.faults.rewrite[node.node] = receivers_answer


def _rotten(cluster: SmallCluster, node: SmallNode) -> None:
    node.rot(DIGEST)


def _without_copy(cluster: SmallCluster, node: SmallNode) -> None:
    del node.store.values.values[KEY, RecordKind.DATA]


def _bearing_news(cluster: SmallCluster, node: SmallNode) -> None:
    def news(request: Request, answer: Answer) -> Answer:
        return replace(answer, peers=((NodeId("n9"), Life(1, 1, 1)),))

    cluster.network.faults.rewrite[node.node] = news


def _withholding(cluster: SmallCluster, node: SmallNode) -> None:
    cluster.network.faults.rewrite[node.node] = lambda _, answer: replace(answer, payload=None)


def _nonsense(cluster: SmallCluster, node: SmallNode) -> None:
    reply = PageReply((), done=True)
    cluster.network.faults.rewrite[node.node] = lambda _, answer: replace(answer, reply=reply)


def _kindless(cluster: SmallCluster, node: SmallNode) -> None:
    def rewrite(request: Request, answer: Answer) -> Answer:
        if not isinstance(answer.reply, RecordReply):
            return answer
        state = replace(answer.reply.state, kind=RecordKind.NONE)
        return replace(answer, reply=RecordReply(state))

    cluster.network.faults.rewrite[node.node] = rewrite


def _without_states(cluster: SmallCluster, node: SmallNode) -> None:
    def rewrite(request: Request, answer: Answer) -> Answer:
        is_states = isinstance(answer.reply, StatesReply)
        return replace(answer, reply=StatesReply(())) if is_states else answer

    cluster.network.faults.rewrite[node.node] = rewrite


TROUBLES: list[Trouble] = [
    _down,
    _frozen,
    _slow,
    _refusing(Busy("later")),
    _refusing(StorageFault("broken")),
    _refusing(Internal("a bug")),
    _receiver,
    _rotten,
    _without_copy,
    _bearing_news,
    _withholding,
    _nonsense,
    _kindless,
    _without_states,
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
@in_virtual_time
async def test_one_bad_node_costs_nobody_an_answer(trouble: Trouble) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        trouble(cluster, cluster.owners(DIGEST)[1])
        for _ in TURNS:
            assert await gateway.get(DIGEST) == BLOB
            assert (await gateway.stat(DIGEST)).confirmed
            assert not await gateway.contains(ABSENT)
        await cluster.calm()

        assert gateway.records.stragglers.under_way == 0


@pytest.mark.parametrize("missing", [0, 1, 2])
@in_virtual_time
async def test_an_owner_that_missed_the_put_hides_nothing(missing: int) -> None:
    async with small_cluster() as cluster:
        gateway, owners = cluster.gateway(), cluster.owners(DIGEST)
        await cluster.store(on=[node for node in owners if node is not owners[missing]])
        for _ in TURNS:
            assert await gateway.get(DIGEST) == BLOB
            assert await gateway.contains(DIGEST)


@in_virtual_time
async def test_generations_may_differ_and_the_newest_is_told() -> None:
    async with small_cluster() as cluster:
        gateway, owners = cluster.gateway(), cluster.owners(DIGEST)
        await cluster.store(on=owners[:1])
        await cluster.store(on=owners[1:], generation=3)
        for _ in TURNS:
            reader = await gateway.open(DIGEST)
            assert [bytes(piece) async for piece in reader] == [BLOB]
            assert reader.stat.generation == 3


@pytest.mark.parametrize("live_at", [0, 1, 2])
@in_virtual_time
async def test_a_newer_tombstone_wins_wherever_the_copy_is(live_at: int) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        for number, node in enumerate(cluster.owners(DIGEST)):
            if number != live_at:
                await node.store.bury(KEY, 1)
        for _ in TURNS:
            with pytest.raises(NotFound):
                await gateway.get(DIGEST)
            with pytest.raises(NotFound):
                await gateway.stat(DIGEST)


# --- bad copies -----------------------------------------------------------------------------------


@in_virtual_time
async def test_a_bad_copy_is_reported_and_put_aside() -> None:
    async with small_cluster() as cluster:
        gateway, bad = cluster.gateway(), cluster.owners(DIGEST)[0]
        await cluster.store()
        bad.rot(DIGEST)
        for _ in TURNS:
            assert await gateway.get(DIGEST) == BLOB
        await cluster.calm()

        assert cluster.network.count(VerifyRecord, bad.node) == 1
        assert gateway.records.reader.bad_copies_total == 1
        assert not bad.holds(DIGEST)
        assert bad.state_of(DIGEST).root == live(1)


@in_virtual_time
async def test_when_every_copy_is_bad_the_blob_is_unavailable_and_not_absent() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        for node in cluster.owners(DIGEST):
            node.rot(DIGEST)
        for _ in TURNS:
            with pytest.raises(Unavailable, match="no good copy"):
                await gateway.get(DIGEST)
            await cluster.calm()
        with pytest.raises(Unavailable):
            await gateway.stat(DIGEST)

        assert (await gateway.put(DIGEST, BLOB)).created  # and heals by it
        assert await gateway.get(DIGEST) == BLOB


# --- too few answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [_down, _frozen], ids=["down", "frozen"])
@in_virtual_time
async def test_one_good_copy_is_served_unconfirmed_and_absence_not_told(trouble: Trouble) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        for node in cluster.owners(DIGEST)[1:]:
            trouble(cluster, node)
        for _ in TURNS:
            reader = await gateway.open(DIGEST)
            assert [bytes(piece) async for piece in reader] == [BLOB]
            assert not reader.stat.confirmed
            assert not (await gateway.stat(DIGEST)).confirmed
            with pytest.raises(Unavailable, match="too few nodes"):
                await gateway.contains(ABSENT)
            with pytest.raises(Unavailable):
                await gateway.get(ABSENT)


@in_virtual_time
async def test_nobody_answers() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        cluster.network.faults.down |= set(cluster.nodes)
        with pytest.raises(Unavailable):
            await gateway.get(DIGEST)


@in_virtual_time
async def test_a_copy_on_a_spare_is_found_when_its_owner_is_away() -> None:
    async with small_cluster(5, 3) as cluster:
        gateway, owners, spares = cluster.gateway(), cluster.owners(DIGEST), cluster.spares(DIGEST)
        await cluster.store(on=[owners[2], spares[1]])  # an ack set
        for away in ((owners[2],), (owners[2], spares[0])):
            cluster.network.faults.down = {node.node for node in away}
            if len(away) == 1:
                assert await gateway.get(DIGEST) == BLOB
                assert (await gateway.stat(DIGEST)).confirmed
            else:
                reader = await gateway.open(DIGEST)
                assert [bytes(piece) async for piece in reader] == [BLOB]
        cluster.network.faults.down = {owners[2].node, spares[1].node}
        with pytest.raises(Unavailable):
            await gateway.get(DIGEST)


@in_virtual_time
async def test_a_head_is_answered_by_whoever_has_a_copy() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await cluster.store()
        first, second, third = cluster.owners(DIGEST)
        for node in (first, second):
            node.rot(DIGEST)
            await node.store.verify(KEY)
        assert (await gateway.stat(DIGEST)).size_bytes == len(BLOB)
        third.rot(DIGEST)
        await third.store.verify(KEY)
        with pytest.raises(Unavailable):
            await gateway.stat(DIGEST)


@pytest.mark.parametrize("answers_first", range(3))
@in_virtual_time
async def test_the_size_is_that_of_a_node_that_has_one(answers_first: int) -> None:
    """Seed 11213: a HEAD raced a delete whose tombstone was on a node that never had the blob.

    A spare's no voided the tombstone, its node fell silent, and its size - none - was told.
    """
    async with small_cluster(4) as cluster:
        gateway = cluster.gateway()
        for _ in range(answers_first):  # another node is asked first in each turn
            with pytest.raises(NotFound):
                await gateway.stat(DIGEST)
        holder, buried, silent = cluster.owners(DIGEST)
        (spare,) = cluster.spares(DIGEST)
        await cluster.store(on=[holder])
        await buried.store.bury(KEY, 1)
        faults = cluster.network.faults
        faults.frozen.add(silent.node)

        def then_silence(_: Request, answer: Answer) -> Answer:
            faults.frozen.add(buried.node)
            return answer

        faults.rewrite[spare.node] = then_silence

        assert (await gateway.stat(DIGEST)).size_bytes == len(BLOB)
