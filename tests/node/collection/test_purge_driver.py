"""How nodes of a small cluster purge tombstones, and what keeps them from it."""

from __future__ import annotations

import asyncio
from collections import Counter

from node.collection.collection import nobody
from node.collection.collection_settings import DAY_S
from node.collection.purge import Purge
from ring.digest import Digest
from ring.errors import HoldfastError, Unavailable
from ring.messages import Answer, Request
from ring.purging import (
    CollectGarbage,
    CollectionReply,
    EarlierReply,
    FetchEarlier,
    HoldTombstones,
)
from ring.record import ABSENT, RecordEntry, RecordKind, dead, live
from tests.fakes.direct_transport import DirectTransport, receivers_answer
from tests.fakes.small_cluster import (
    BLOB,
    DIGEST,
    KEY,
    SmallCluster,
    next_layout,
    small_cluster,
)
from tests.fakes.virtual_time import in_virtual_time
from tests.node.collection.gone import Collected, bury, collected, every_collection

ROUNDS = 3


async def purge_all(everybody: list[Collected]) -> None:
    for _ in range(ROUNDS):
        for one in everybody:
            await one.collection.round()


def roots(cluster: SmallCluster) -> list[int]:
    return [int(node.state_of(DIGEST).root) for node in cluster.nodes.values()]


async def waits_for(one: Collected) -> list[str]:
    response = await one.collection.handle(CollectGarbage(begin=False))
    assert response is not None
    assert isinstance(response.reply, CollectionReply)
    words = "in the last round they waited for "
    whys = [tally.why for tally in response.reply.tallies]
    return [why.removeprefix(words) for why in whys if why.startswith(words)]


@in_virtual_time
async def test_a_tombstone_that_everybody_holds_goes_and_leaves_a_floor() -> None:
    async with small_cluster(5) as cluster:
        await cluster.store()
        await bury(list(cluster.nodes.values()), DIGEST)
        everybody = every_collection(cluster)
        await purge_all(everybody)

        for node in cluster.nodes.values():
            assert node.state_of(DIGEST) == ABSENT
            assert await node.store.floors() == {DIGEST.partition: 1}
        assert sum(one.counters["tombstones_purged_total"] for one in everybody) == 5
        await cluster.gateway().put(DIGEST, BLOB)
        states = [node.state_of(DIGEST) for node in cluster.owners(DIGEST)]
        assert [state.root for state in states if state.visible] == [live(2)] * 3


@in_virtual_time
async def test_settling_takes_one_round_and_going_another() -> None:
    async with small_cluster() as cluster:
        await bury(list(cluster.nodes.values()), DIGEST)
        one, *_ = every_collection(cluster)
        node = next(iter(cluster.nodes.values()))
        await one.collection.round()

        assert node.state_of(DIGEST).settled
        await one.collection.round()
        assert node.state_of(DIGEST).settled, "the others have not said so yet"


@in_virtual_time
async def test_every_node_that_may_lack_the_delete_is_made_to_hold_it() -> None:
    async with small_cluster(5) as cluster:
        first, second, *_ = nodes = list(cluster.nodes.values())
        await cluster.store(on=[first])
        await bury([second], DIGEST)
        await collected_later(cluster, 1).collection.round()

        for node in nodes:
            assert node.state_of(DIGEST).root == dead(1), node.node
        assert second.state_of(DIGEST).root == dead(1)
        assert not second.state_of(DIGEST).settled, "bytes are in the trash of another"


def collected_later(cluster: SmallCluster, number: int) -> Collected:
    one = collected(cluster, list(cluster.nodes.values())[number])
    one.later()
    return one


@in_virtual_time
async def test_one_node_that_is_away_keeps_a_tombstone_for_ever() -> None:
    for away in range(5):
        async with small_cluster(5) as cluster:
            nodes = list(cluster.nodes.values())
            await bury(nodes, DIGEST)
            cluster.network.faults.down.add(nodes[away].node)
            everybody = every_collection(cluster)
            for one in everybody:
                one.later(1_000 * DAY_S)
            await purge_all([one for number, one in enumerate(everybody) if number != away])

            assert roots(cluster) == [dead(1)] * 5
            assert not any(node.state_of(DIGEST).settled for node in nodes)
            assert nodes[away].node in await waits_for(everybody[(away + 1) % 5])
            cluster.network.faults.down.clear()
            await purge_all(everybody)
            assert roots(cluster) == [0] * 5


@in_virtual_time
async def test_a_node_that_may_not_vote_confirms_nothing() -> None:
    async with small_cluster() as cluster:
        nodes = list(cluster.nodes.values())
        await bury(nodes, DIGEST)
        cluster.network.faults.rewrite[nodes[1].node] = receivers_answer
        one = collected_later(cluster, 0)
        await one.collection.round()

        assert not nodes[0].state_of(DIGEST).settled


@in_virtual_time
async def test_a_node_that_does_not_vote_purges_nothing() -> None:
    async with small_cluster() as cluster:
        node, *_ = nodes = list(cluster.nodes.values())
        await bury(nodes, DIGEST)
        await node.service.membership.forgot()
        one = collected_later(cluster, 0)
        await one.collection.round()

        assert not node.state_of(DIGEST).settled


@in_virtual_time
async def test_becoming_a_receiver_meanwhile_voids_what_was_confirmed() -> None:
    async with small_cluster() as cluster:
        node, other, _ = nodes = list(cluster.nodes.values())
        await bury(nodes, DIGEST)

        def fence(request: Request, answer: Answer) -> Answer:
            if isinstance(request, HoldTombstones):
                node.service.membership.receiver_since += 1
            return answer

        cluster.network.faults.rewrite[other.node] = fence
        await collected_later(cluster, 0).collection.round()

        assert not node.state_of(DIGEST).settled


@in_virtual_time
async def test_a_later_life_heard_of_meanwhile_voids_what_was_confirmed() -> None:
    async with small_cluster() as cluster:
        node, other, _ = nodes = list(cluster.nodes.values())
        await bury(nodes, DIGEST)
        membership = node.service.membership

        def started_again(request: Request, answer: Answer) -> Answer:
            life = answer.life
            later = type(life)(life.incarnation + 1, life.boot, life.nonce + 1)
            told = type(answer)(other.node, later, True, answer.reply)
            if isinstance(request, HoldTombstones):
                membership.hear(told)
            return answer

        cluster.network.faults.rewrite[other.node] = started_again
        await collected_later(cluster, 0).collection.round()

        assert not node.state_of(DIGEST).settled


@in_virtual_time
async def test_a_record_that_changes_meanwhile_is_not_settled() -> None:
    async with small_cluster() as cluster:
        node, other, _ = nodes = list(cluster.nodes.values())
        await bury(nodes, DIGEST)
        held = cluster.network.hold(other.node, HoldTombstones, answers=True)
        one = collected_later(cluster, 0)
        rounds = asyncio.ensure_future(one.collection.round())
        while not held.waiting:
            await asyncio.sleep(0.01)
        await node.store.put_root(KEY, RecordKind.DATA, len(BLOB), 2, BLOB)
        held.release()
        await rounds

        assert node.state_of(DIGEST).root == live(2)
        assert not node.state_of(DIGEST).settled


@in_virtual_time
async def test_who_was_eligible_under_an_earlier_layout_is_asked_as_well() -> None:
    async with small_cluster(7) as cluster:
        everybody = list(cluster.nodes.values())
        two = next_layout(cluster.layout)
        for node in everybody:
            await node.service.layouts.learn((two,), None)
        await bury(everybody[:1], DIGEST)
        one = collected(cluster, everybody[0])
        one.later()
        await one.collection.round()
        asked = {call.node for call in cluster.network.calls_of(HoldTombstones)}

        needed = {*cluster.layout.group(DIGEST.partition).eligible}
        needed |= {*two.group(DIGEST.partition).eligible}
        assert asked == needed - {everybody[0].node}


@in_virtual_time
async def test_a_node_that_missed_a_layout_learns_it_before_it_purges() -> None:
    async with small_cluster() as cluster:
        first, *others = list(cluster.nodes.values())
        two = next_layout(cluster.layout)
        three = next_layout(two)
        await bury([first], DIGEST)
        for node in others:
            await node.service.layouts.learn((two,), None)
            await node.service.layouts.learn((three,), None)
        await first.service.layouts.learn((three,), None)
        one = collected(cluster, first)
        one.later()

        def refuse(node: str, request: Request) -> HoldfastError | None:
            return Unavailable("not now") if isinstance(request, FetchEarlier) else None

        cluster.network.faults.refuse = refuse
        await one.collection.round()
        assert cluster.network.count(HoldTombstones) == 0
        assert await waits_for(one) == ["anybody who knows layout 2"]

        cluster.network.faults.refuse = None
        await one.collection.round()
        assert cluster.network.count(HoldTombstones) == 2
        assert first.service.layouts.earlier[2] == two
        answer = await one.collection.handle(FetchEarlier(9))
        assert answer is not None
        assert answer.reply == EarlierReply(None)


@in_virtual_time
async def test_a_late_put_at_a_purged_generation_is_refused_everywhere() -> None:
    async with small_cluster() as cluster:
        nodes = list(cluster.nodes.values())
        await bury(nodes, DIGEST)
        await purge_all(every_collection(cluster))
        for node in nodes:
            answer = await node.store.put_root(KEY, RecordKind.DATA, len(BLOB), 1, BLOB)

            assert (answer.root, answer.floor) == (0, 1)


@in_virtual_time
async def test_a_tombstone_below_something_newer_elsewhere_goes_and_the_newer_stays() -> None:
    async with small_cluster() as cluster:
        first, *others = list(cluster.nodes.values())
        await cluster.store(generation=2, on=others)
        await bury([first], DIGEST)
        one = collected_later(cluster, 0)
        await one.collection.round()
        await one.collection.round()

        assert first.state_of(DIGEST) == ABSENT
        assert [node.state_of(DIGEST).root for node in others] == [live(2)] * 2
        assert await first.store.floors() == {DIGEST.partition: 1}


@in_virtual_time
async def test_a_tombstone_is_not_settled_while_another_node_has_the_record_as_a_chunk() -> None:
    async with small_cluster() as cluster:
        first, *others = list(cluster.nodes.values())
        for node in others:
            await node.store.put_chunk(KEY, Digest.of(b"large"), BLOB)
        await bury([first], DIGEST)
        await collected_later(cluster, 0).collection.round()

        assert [node.state_of(DIGEST).root for node in others] == [dead(1)] * 2
        assert all(node.holds(DIGEST) for node in others)
        assert not first.state_of(DIGEST).settled


@in_virtual_time
async def test_a_young_tombstone_rests_while_its_blob_may_be_in_somebodys_trash() -> None:
    async with small_cluster() as cluster:
        nodes = list(cluster.nodes.values())
        for node in nodes:
            await node.store.bury(KEY, 1, keep_value=True)
        one = collected(cluster, nodes[0])
        await one.collection.round()
        assert cluster.network.count(HoldTombstones) == 0

        one.later()
        await one.collection.round()
        assert cluster.network.count(HoldTombstones) == 2


@in_virtual_time
async def test_a_round_asks_nobody_once_a_layout_was_passed_over_in_its_middle() -> None:
    async with small_cluster(5) as cluster:
        everybody = list(cluster.nodes.values())
        await bury(everybody, DIGEST)
        node = everybody[0]
        membership = node.service.membership
        purge = Purge(
            membership,
            node.store,
            DirectTransport(cluster.network, node.node, is_peer=True),
            Counter[str](),
            timeout_s=1.0,
            on_purged=nobody,
        )
        assert await purge.begin_round()
        second = next_layout(cluster.layout)
        for one in everybody:
            await one.service.layouts.learn((next_layout(second),), None)
        assert membership.layouts.missing_epochs == [2]
        assert await purge.advance([RecordEntry(KEY, node.state_of(DIGEST))]) == 0
        assert not node.state_of(DIGEST).settled
        assert not cluster.network.count(HoldTombstones)
