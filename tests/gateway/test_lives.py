"""Answers of a life that is over count for nothing, however the news of it comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from gateway.coordinator import Coordinator
from ring.control import GetStatus
from ring.digest import Digest
from ring.errors import NotFound, Unavailable
from ring.life import NO_PROCESS, Knowledge, Life, NodeId
from ring.limits import CHUNK_BYTES
from ring.messages import Answer, ConfirmChunks, GetRecord, PutRecord, Request, StatRecords
from ring.record import RecordKind
from tests.fakes.direct_transport import Rewrite, receivers_answer
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, SmallCluster, small_cluster
from tests.fakes.virtual_time import in_virtual_time

A, B = NodeId("a"), NodeId("b")
OLD = Life(1, 5, 77)
LARGE = bytes(CHUNK_BYTES + 1)


# --- knowledge ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "counts"),
    [
        ([], True),
        ([Life(1, 5, 77)], True),
        ([Life(1, 4, 1)], True),
        ([Life(1, 6, 1)], False),
        ([Life(2, 1, 1)], False),
        ([Life(1, 5, 78)], False),
    ],
)
def test_a_life_counts_until_another_one_supersedes_it(heard: list[Life], counts: bool) -> None:
    knowledge = Knowledge()
    knowledge.learn_all((A, life) for life in heard)

    assert knowledge.counts(A, OLD) is counts


@pytest.mark.parametrize("order", [(77, 78), (78, 77)])
def test_of_two_processes_with_one_life_neither_counts(order: tuple[int, int]) -> None:
    knowledge = Knowledge()
    for nonce in order:
        knowledge.learn(A, Life(1, 5, nonce))
    for nonce in order:  # whatever is heard again
        knowledge.learn(A, Life(1, 5, nonce))
        assert not knowledge.counts(A, Life(1, 5, 77))
        assert not knowledge.counts(A, Life(1, 5, 78))

    assert knowledge.latest(A) == Life(1, 5, NO_PROCESS)
    assert knowledge.learn(A, Life(1, 6, 78))
    assert knowledge.counts(A, Life(1, 6, 78))


def test_what_one_node_is_says_nothing_of_another() -> None:
    knowledge = Knowledge({A: Life(9, 9, 9)})

    assert knowledge.counts(B, OLD)
    assert knowledge.items() == [(A, Life(9, 9, 9))]


# --- operations -----------------------------------------------------------------------------------


def in_life(life: Life) -> Rewrite:
    """A rewrite: the node answers in this life."""

    def rewrite(request: Request, answer: Answer) -> Answer:
        return replace(answer, life=life)

    return rewrite


def telling(node: NodeId, life: Life, kind: type[Request] = Request) -> Rewrite:
    """A rewrite: the node tells of another's life, in answers to requests of one kind."""

    def rewrite(request: Request, answer: Answer) -> Answer:
        news = ((node, life),) if isinstance(request, kind) else None
        return replace(answer, peers=news)

    return rewrite


async def put(gateway: Coordinator) -> None:
    await gateway.put(DIGEST, BLOB)


async def put_large(gateway: Coordinator) -> None:
    await gateway.put(Digest.of(LARGE), LARGE)


async def delete(gateway: Coordinator) -> None:
    await gateway.delete(DIGEST)


async def miss(gateway: Coordinator) -> None:
    await gateway.contains(Digest.of(b"never put"))


async def list_page(gateway: Coordinator) -> None:
    await gateway.list_page(None, 10)


OPERATIONS = [put, put_large, delete, miss, list_page]
Operation = Callable[[Coordinator], Awaitable[None]]


async def without(cluster: SmallCluster, gateway: Coordinator) -> NodeId:
    """Everything is there; afterwards two nodes answer, and the first of them in an old life."""
    await put(gateway)
    await put_large(gateway)
    await cluster.calm()
    old, _, away = cluster.nodes
    cluster.network.faults.rewrite[old] = in_life(OLD)
    cluster.network.faults.down |= {away}
    return old


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("later", [Life(1, 6, 1), Life(2, 1, 1), Life(1, 5, 78)])
@in_virtual_time
async def test_an_answer_that_another_answer_supersedes_does_not_count(
    operation: Operation, later: Life
) -> None:
    async with small_cluster() as cluster:
        old = await without(cluster, cluster.gateway("first"))
        second = list(cluster.nodes)[1]
        await operation(cluster.gateway("control"))
        cluster.network.faults.rewrite[second] = telling(old, later)
        for early, late in ((old, second), (second, old)):
            cluster.network.faults.delay_s = {early: 0.0, late: 0.2}
            with pytest.raises(Unavailable):
                await operation(cluster.gateway(f"{early} first"))


@pytest.mark.parametrize("operation", OPERATIONS)
@in_virtual_time
async def test_news_that_another_operation_heard_counts_as_well(operation: Operation) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        old = await without(cluster, cluster.gateway("first"))
        second = list(cluster.nodes)[1]
        cluster.network.faults.rewrite[second] = telling(old, Life(1, 6, 1), GetStatus)
        await operation(gateway)
        await gateway.views.status()
        with pytest.raises(Unavailable):
            await operation(gateway)


@in_virtual_time
async def test_news_that_comes_between_two_acks_voids_the_first() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        old = await without(cluster, cluster.gateway("first"))
        second = list(cluster.nodes)[1]
        held = cluster.network.hold(second, PutRecord)

        def news(request: Request, answer: Answer) -> Answer:
            gateway.cluster.knowledge.learn(old, Life(1, 6, 1))
            return replace(answer, peers=None)

        cluster.network.faults.rewrite[second] = news
        held.release()
        cluster.network.faults.delay_s[second] = 0.1
        with pytest.raises(Unavailable):
            await gateway.put(DIGEST, BLOB)


@in_virtual_time
async def test_a_spare_takes_the_place_of_an_ack_that_was_superseded() -> None:
    async with small_cluster(5, 3) as cluster:
        first, second, third = (node.node for node in cluster.owners(DIGEST))
        cluster.network.faults.rewrite[first] = in_life(OLD)
        cluster.network.faults.rewrite[second] = telling(first, Life(1, 6, 1))
        cluster.network.faults.delay_s[second] = 0.1
        cluster.network.faults.frozen |= {third}
        await cluster.gateway().put(DIGEST, BLOB)

        assert any(spare.holds(DIGEST) for spare in cluster.spares(DIGEST))


@in_virtual_time
async def test_a_copy_is_served_all_the_same_and_said_to_be_unconfirmed() -> None:
    async with small_cluster() as cluster:
        old = await without(cluster, cluster.gateway("first"))
        second = list(cluster.nodes)[1]
        cluster.network.faults.rewrite[second] = telling(old, Life(1, 6, 1))
        gateway = cluster.gateway()

        assert await gateway.get(DIGEST) == BLOB
        assert not (await gateway.stat(DIGEST)).confirmed


@in_virtual_time
async def test_a_tombstone_of_a_node_that_lives_wins_over_a_copy_of_one_that_does_not() -> None:
    async with small_cluster() as cluster:
        first, second, third = cluster.owners(DIGEST)
        await first.store.put_root(KEY, RecordKind.DATA, len(BLOB), 1, BLOB)
        for node in (second, third):
            await node.store.bury(KEY, 1)
        cluster.network.faults.rewrite[first.node] = in_life(OLD)
        cluster.network.faults.rewrite[second.node] = telling(first.node, Life(1, 6, 1))

        assert not await cluster.gateway().contains(DIGEST)


@pytest.mark.parametrize("told_by", ["state", "bytes", "another operation"])
@pytest.mark.parametrize("delivers", ["the life that is over", "the other one"])
@in_virtual_time
async def test_the_short_way_of_a_get_does_not_count_a_life_that_is_over(
    told_by: str, delivers: str
) -> None:
    async with small_cluster() as cluster:
        over, second, third = cluster.owners(DIGEST)  # asked in this order, whoever comes first
        if delivers == "the other one":
            over, second = second, over
        await cluster.store(on=[over, second])
        await third.store.bury(KEY, 1)  # acked by the third and by what `over` was later
        for turn in range(3):
            gateway = cluster.gateway(f"{told_by} {turn}")
            for _ in range(turn):
                gateway.cluster.ranked(cluster.placement(DIGEST).owners)
            news = News(over.node, StatRecords if told_by == "state" else GetRecord)
            cluster.network.faults.rewrite = {over.node: _old_and_silent, second.node: news}
            if told_by == "another operation":
                gateway.cluster.knowledge.learn(over.node, LATER)
                news.was_told = True
            try:
                await gateway.get(DIGEST)
            except NotFound:
                continue
            assert not news.was_told  # without it, which only `second` has, nobody could know


LATER = Life(1, 6, 1)


def _old_and_silent(request: Request, answer: Answer) -> Answer:
    return replace(answer, life=OLD, peers=None)


class News:
    """A rewrite: the node tells once of a later life, in the first answer of that kind."""

    def __init__(self, node: NodeId, kind: type[Request]) -> None:
        self.was_told = False
        self._node = node
        self._kind = kind

    def __call__(self, request: Request, answer: Answer) -> Answer:
        if self.was_told or not isinstance(request, self._kind):
            return replace(answer, peers=None)
        self.was_told = True
        return replace(answer, peers=((self._node, LATER),))


@in_virtual_time
async def test_a_confirmation_by_a_receiver_does_not_count() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await put_large(gateway)
        for node in list(cluster.nodes)[:2]:
            def refuse(request: Request, answer: Answer) -> Answer:
                if not isinstance(request, ConfirmChunks):
                    return answer
                return replace(answer, life=OLD, peers=((answer.node, Life(9, 9, 9)),))

            cluster.network.faults.rewrite[node] = refuse
        with pytest.raises(Unavailable):
            await gateway.confirm(Digest.of(LARGE))


@pytest.mark.parametrize("operation", OPERATIONS)
@in_virtual_time
async def test_what_receivers_say_never_counts(operation: Operation) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await put(gateway)
        await cluster.calm()
        for node in list(cluster.nodes)[:2]:
            cluster.network.faults.rewrite[node] = receivers_answer
        with pytest.raises(Unavailable):
            await operation(gateway)
