"""The life of a node among its peers: first start, restarts, fencing, and a disk that goes away."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from msgspec import structs

from node.marker import MARKER_PATH
from ring.control import Introduce, IntroducedReply
from ring.digest import Buffer
from ring.errors import (
    Corrupt,
    DiskFull,
    Fenced,
    HoldfastError,
    NotAdmitted,
    StorageFault,
    Unreachable,
)
from ring.life import Life, NodeId
from ring.messages import Answer, GetRecord, PutRecord, Request
from ring.record import RecordKind
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.fakes.small_cluster import BLOB, KEY, SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")
PUT = PutRecord(KEY, RecordKind.DATA, len(BLOB), 1, None)


async def marker_of(node: SmallNode) -> tuple[int, int, bool]:
    """Incarnation and boot on disk, and whether it votes everywhere."""
    marker = await node.marker()
    assert marker is not None
    return marker.incarnation, marker.boot, not marker.receiver


# --- first start ----------------------------------------------------------------------------------


@in_virtual_time
async def test_a_new_cluster_begins_once_every_member_is_there() -> None:
    cluster = SmallCluster(3, 3)
    first, second, last = cluster.nodes.values()
    await first.start(accept_blank=False)
    await second.start(accept_blank=False)
    await asyncio.sleep(60)

    assert (first.state, second.state) == ("blank", "blank")
    assert first.reason == "first start: waiting for n2 to say that this node is new"
    assert await first.disk.list_directory("") == []

    await last.start(accept_blank=False)
    for node in cluster.nodes.values():
        await node.until("voter")
        assert await marker_of(node) == (1, 2, True)
    await cluster.end()


@in_virtual_time
async def test_a_new_node_votes_only_once_every_other_member_remembers_it() -> None:
    cluster = SmallCluster(3, 3)

    def refuse(node: NodeId, request: Request) -> HoldfastError | None:
        told = isinstance(request, Introduce) and request.node == N0 and not request.blank
        return Unreachable("not now") if told and node == N2 else None

    cluster.network.faults.refuse = refuse
    for node in cluster.nodes.values():
        await node.start(accept_blank=False)
    await cluster.nodes[N1].until("voter")
    await asyncio.sleep(10)

    assert cluster.nodes[N0].state == "starting"
    assert cluster.nodes[N0].reason == "new: waiting for n2 to remember this node"
    assert not (await cluster.ask(cluster.nodes[N0], GetRecord(KEY))).voter

    await cluster.nodes[N0].end()  # the next boot has not been introduced either
    await cluster.nodes[N0].start(accept_blank=False)
    await asyncio.sleep(10)
    assert cluster.nodes[N0].state == "starting"

    cluster.network.faults.refuse = None
    await cluster.nodes[N0].until("voter")
    assert await marker_of(cluster.nodes[N0]) == (1, 3, True)
    assert await cluster.nodes[N2].remembers(N0) == cluster.nodes[N0].service.membership.life
    await cluster.end()


@in_virtual_time
async def test_a_new_node_whose_disk_is_lost_before_anybody_remembers_it_votes_in_a_later_life(
) -> None:
    cluster = SmallCluster(2, 2)
    first, other = cluster.nodes.values()
    cluster.network.faults.refuse = lambda node, request: (
        Unreachable("not now") if isinstance(request, Introduce) and not request.blank else None
    )
    await first.start(accept_blank=False)
    await other.start(accept_blank=False)
    await first.until("starting")
    lost = first.service.membership.life  # a gateway may have heard of it
    await first.end()
    first.wipe()
    cluster.network.faults.refuse = None
    await first.start(accept_blank=False)
    await first.until("voter")
    life = first.service.membership.life
    assert lost.superseded_by(life)
    assert not life.superseded_by(lost)
    assert await other.remembers(first.node) == life
    await cluster.end()


@in_virtual_time
async def test_the_only_member_of_a_cluster_needs_nobody() -> None:
    async with small_cluster(1, 1) as cluster:
        assert await marker_of(cluster.nodes[N0]) == (1, 2, True)


# --- restarts -------------------------------------------------------------------------------------


@in_virtual_time
async def test_each_start_is_a_later_life_and_peers_remember_it_durably() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        before = node.service.membership.life
        await node.end()
        await node.start()
        await node.until("voter")

        life = node.service.membership.life
        assert (life.incarnation, life.boot) == (before.incarnation, before.boot + 1)
        assert life.nonce != before.nonce
        for peer in (N0, N2):
            assert await cluster.nodes[peer].remembers(N1) == life


@in_virtual_time
async def test_nothing_is_said_before_the_boot_counter_is_on_disk() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        await node.end()
        asked = len(cluster.network.asked)
        whole, node.disk = node.disk, FaultyDisk(node.disk, Trouble(fails=range(5, 1000)))
        with pytest.raises(StorageFault):
            await node.start()

        assert [call.caller for call in cluster.network.asked[asked:]].count("n1") == 0
        assert N1 not in cluster.network.handlers
        node.disk = whole
        await node.start()
        await node.until("voter")


@in_virtual_time
async def test_a_lone_survivor_votes_although_nobody_answers_its_introduction() -> None:
    async with small_cluster() as cluster:
        for node in cluster.nodes.values():
            await node.end()
        await cluster.nodes[N2].start()
        await cluster.nodes[N2].until("voter")

        assert (await cluster.ask(cluster.nodes[N2], GetRecord(KEY))).voter


@in_virtual_time
async def test_a_restarted_node_does_not_vote_before_its_introductions_are_over() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        await node.end()
        held = cluster.network.hold(N0, Introduce, caller="n1")
        await node.start()
        await asyncio.sleep(0.5)

        assert node.state == "starting"
        assert not (await cluster.ask(node, PUT, BLOB)).voter
        held.release()
        await node.until("voter")


@in_virtual_time
async def test_a_directory_of_another_node_or_cluster_is_not_started_on() -> None:
    async with small_cluster() as cluster:
        for node in (cluster.nodes[N0], cluster.nodes[N1]):
            await node.end()
        cluster.nodes[N0].disk, other = cluster.nodes[N1].disk, cluster.nodes[N0].disk
        with pytest.raises(NotAdmitted, match="belongs to node n1"):
            await cluster.nodes[N0].start()
        cluster.nodes[N0].disk = other
        cluster.nodes[N0].layout = replace(cluster.layout, cluster_id="ab" * 16)
        with pytest.raises(NotAdmitted, match="not to n0 of abab"):
            await cluster.nodes[N0].start()


@in_virtual_time
async def test_a_rotten_marker_stops_the_start() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N0]
        await node.end()
        await node.disk.publish("x", MARKER_PATH, b"rot")
        with pytest.raises(Corrupt):
            await node.start()


# --- what is remembered of others -----------------------------------------------------------------


@in_virtual_time
async def test_a_later_life_is_on_disk_before_it_is_admitted_to() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N0]
        await node.end()
        inner, trouble = node.disk, Trouble()
        node.disk = FaultyDisk(inner, trouble)
        await node.start()
        await node.until("voter")
        membership = node.service.membership
        life, calls = Life(3, 1, 5), len(trouble.calls)
        trouble.dies = calls + 2  # the directory is never synced
        request = Introduce(N1, life, blank=False, receiver=False)
        answer = asyncio.ensure_future(membership.introduced(request))
        await trouble.died.wait()
        await asyncio.sleep(60)

        assert trouble.calls[calls:][:3] == ["make directories", "publish", "sync directory"]
        assert not answer.done()
        assert (N1, life) not in membership.sender().peers


@in_virtual_time
async def test_a_life_that_could_not_be_stored_is_not_admitted_to() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N0]
        await node.end()
        trouble = Trouble()
        node.disk = FaultyDisk(node.disk, trouble)
        await node.start()
        await node.until("voter")
        await node.disk.unlink(".holdfast/reserve")
        trouble.room_bytes = 0
        membership, sender = node.service.membership, node.service.sender()
        with pytest.raises(DiskFull):
            await membership.introduced(Introduce(N1, Life(3, 1, 5), blank=False, receiver=False))

        assert membership.sender() is sender
        trouble.room_bytes = None


@pytest.mark.parametrize("rival", [Life(3, 1, 6), Life(3, 2, 6)])
@in_virtual_time
async def test_of_two_lives_that_introduce_themselves_at_once_one_is_fenced(rival: Life) -> None:
    class SlowDisk(FaultyDisk):
        """Others get their turn while something is being stored."""

        async def publish(self, temporary: str, path: str, data: Buffer) -> None:
            await asyncio.sleep(0.01)
            await super().publish(temporary, path, data)

    async with small_cluster() as cluster:
        node = cluster.nodes[N0]
        await node.end()
        node.disk = SlowDisk(node.disk)
        await node.start()
        await node.until("voter")
        membership = node.service.membership
        outcomes = await asyncio.gather(
            *(
                membership.introduced(Introduce(N1, life, blank=False, receiver=False))
                for life in (rival, Life(3, 1, 5))
            ),
            return_exceptions=True,
        )

        assert [type(outcome) for outcome in outcomes] == [IntroducedReply, Fenced]
        assert await cluster.nodes[N0].remembers(N1) == rival


@in_virtual_time
async def test_an_earlier_life_is_told_which_one_is_remembered() -> None:
    async with small_cluster() as cluster:
        membership = cluster.nodes[N0].service.membership
        await membership.introduced(Introduce(N1, Life(3, 4, 5), blank=False, receiver=False))
        with pytest.raises(Fenced) as caught:
            await membership.introduced(Introduce(N1, Life(3, 3, 5), blank=False, receiver=False))

        assert caught.value.facts == {"incarnation": 3, "boot": 4}


@in_virtual_time
async def test_a_question_of_a_blank_node_changes_nothing() -> None:
    async with small_cluster() as cluster:
        membership = cluster.nodes[N0].service.membership
        known = await cluster.nodes[N0].remembers(N1)
        answer = await membership.introduced(
            Introduce(N1, Life(9, 9, 9), blank=True, receiver=True)
        )

        assert answer.remembered == known == await cluster.nodes[N0].remembers(N1)


@in_virtual_time
async def test_strangers_are_neither_introduced_nor_remembered_from_hearsay() -> None:
    async with small_cluster() as cluster:
        stranger = NodeId("stranger")
        with pytest.raises(NotAdmitted, match="no member"):
            await cluster.nodes[N0].service.membership.introduced(
                Introduce(stranger, Life(1, 1, 1), blank=False, receiver=False)
            )

        def gossip(request: Request, answer: Answer) -> Answer:
            reply = answer.reply
            if not isinstance(reply, IntroducedReply):
                return answer
            lives = (*reply.lives, (stranger, Life(1, 1, 1)))
            return structs.replace(answer, reply=structs.replace(reply, lives=lives))

        cluster.network.faults.rewrite[N1] = gossip
        await asyncio.sleep(10)
        assert stranger not in dict(cluster.nodes[N0].service.sender().peers)
        assert await cluster.nodes[N0].remembers(stranger) is None


@in_virtual_time
async def test_lives_spread_by_heartbeat_to_nodes_that_cannot_hear_each_other() -> None:
    async with small_cluster() as cluster:
        cluster.network.faults.cut = {("n1", "n2"), ("n2", "n1")}
        await cluster.nodes[N2].end()
        await cluster.nodes[N2].start()
        await cluster.nodes[N2].until("voter")
        await asyncio.sleep(5)

        life = cluster.nodes[N2].service.membership.life
        assert dict(cluster.nodes[N1].service.sender().peers)[N2] == life
        assert await cluster.nodes[N1].remembers(N2) == life
