"""The life of a node among its peers: first start, restarts, fencing, and a disk that goes away."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from node.marker import DIRECTORY, MARKER_PATH, NodeFiles
from node.memory_disk import MemoryDisk
from ring.control import GetFloors, Introduce, IntroducedReply, TeachLayouts
from ring.digest import Digest
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
from ring.limits import GIB
from ring.messages import Answer, GetRecord, PutRecord, Request
from ring.record import RecordKey, RecordKind
from tests.fakes.direct_transport import DirectTransport
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.fakes.small_cluster import SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")
DIGEST = Digest.of(b"blob")


async def marker_of(node: SmallNode) -> tuple[int, int, bool]:
    """Incarnation and boot on disk, and whether it votes everywhere."""
    files = NodeFiles(node.disk, NumberedRandomness())
    marker = await files.marker(node.layout.cluster_id, node.node)
    assert marker is not None
    return marker.incarnation, marker.boot, not marker.receiver


async def remembered_by(node: SmallNode, other: NodeId) -> Life | None:
    """What `node` has on disk of `other`."""
    return dict(await NodeFiles(node.disk, NumberedRandomness()).peers()).get(other)


async def ask(cluster: SmallCluster, node: SmallNode, request: Request, name: str = "x") -> Answer:
    transport = DirectTransport(cluster.network, name)
    payload = b"blob" if isinstance(request, PutRecord) else None
    return await transport.call(node.node, request, payload, epochs=(1,), timeout_s=5)


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
        assert await marker_of(node) == (1, 1, True)
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
    assert not (await ask(cluster, cluster.nodes[N0], GetRecord(RecordKey(DIGEST)))).voter

    await cluster.nodes[N0].end()  # the next boot has not been introduced either
    await cluster.nodes[N0].start(accept_blank=False)
    await asyncio.sleep(10)
    assert cluster.nodes[N0].state == "starting"

    cluster.network.faults.refuse = None
    await cluster.nodes[N0].until("voter")
    assert await marker_of(cluster.nodes[N0]) == (1, 2, True)
    assert await remembered_by(cluster.nodes[N2], N0) == cluster.nodes[N0].service.membership.life
    await cluster.end()


@in_virtual_time
async def test_the_only_member_of_a_cluster_needs_nobody() -> None:
    async with small_cluster(1, 1) as cluster:
        assert await marker_of(cluster.nodes[N0]) == (1, 1, True)


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
            assert await remembered_by(cluster.nodes[peer], N1) == life


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

        assert (await ask(cluster, cluster.nodes[N2], GetRecord(RecordKey(DIGEST)))).voter


@in_virtual_time
async def test_a_restarted_node_does_not_vote_before_its_introductions_are_over() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        await node.end()
        held = cluster.network.hold(N0, Introduce, caller="n1")
        await node.start()
        await asyncio.sleep(0.5)

        assert node.state == "starting"
        put = PutRecord(RecordKey(DIGEST), RecordKind.DATA, 4, 1, None)
        assert not (await ask(cluster, node, put)).voter
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
            await ask(cluster, node, GetRecord(RecordKey(DIGEST)))
        with pytest.raises(NotAdmitted):
            await ask(cluster, node, PutRecord(RecordKey(DIGEST), RecordKind.DATA, 4, 1, None))


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
        put = PutRecord(RecordKey(DIGEST), RecordKind.DATA, 4, 1, None)
        assert not (await ask(cluster, node, put)).voter
        assert node.holds(DIGEST)
        answer = await ask(cluster, node, GetRecord(RecordKey(DIGEST)))
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
async def test_a_node_that_is_fenced_in_mid_life_stops_voting_at_once() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        clone = Introduce(N1, Life(1, 2, 77), blank=False, receiver=False)
        await cluster.nodes[N0].service.membership.introduced(clone)
        cluster.network.hold(N0, GetFloors, caller="n1")
        await node.until("receiver")

        assert not (await ask(cluster, node, GetRecord(RecordKey(DIGEST)))).voter
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
        trouble.room_bytes = 0
        clone = Introduce(N1, Life(1, 9, 77), blank=False, receiver=False)
        await cluster.nodes[N0].service.membership.introduced(clone)
        await node.until("receiver")
        life = node.service.membership.life

        assert life.incarnation == 1  # it says nothing of a life that is not on disk
        assert not (await ask(cluster, node, GetRecord(RecordKey(DIGEST)))).voter
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
        trouble.room_bytes = 0
        membership, sender = node.service.membership, node.service.sender()
        with pytest.raises(DiskFull):
            await membership.introduced(Introduce(N1, Life(3, 1, 5), blank=False, receiver=False))

        assert membership.sender() is sender
        trouble.room_bytes = None


@pytest.mark.parametrize("rival", [Life(3, 1, 6), Life(3, 2, 6)])
@in_virtual_time
async def test_of_two_lives_that_introduce_themselves_at_once_one_is_fenced(rival: Life) -> None:
    async with small_cluster() as cluster:
        membership = cluster.nodes[N0].service.membership
        outcomes = await asyncio.gather(
            *(
                membership.introduced(Introduce(N1, life, blank=False, receiver=False))
                for life in (rival, Life(3, 1, 5))
            ),
            return_exceptions=True,
        )

        assert [type(outcome) for outcome in outcomes] == [IntroducedReply, Fenced]
        assert await remembered_by(cluster.nodes[N0], N1) == rival


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
        known = await remembered_by(cluster.nodes[N0], N1)
        answer = await membership.introduced(
            Introduce(N1, Life(9, 9, 9), blank=True, receiver=True)
        )

        assert answer.remembered == known == await remembered_by(cluster.nodes[N0], N1)


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
            return replace(
                answer, reply=replace(reply, lives=(*reply.lives, (stranger, Life(1, 1, 1))))
            )

        cluster.network.faults.rewrite[N1] = gossip
        await asyncio.sleep(10)
        assert stranger not in dict(cluster.nodes[N0].service.sender().peers)
        assert await remembered_by(cluster.nodes[N0], stranger) is None


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
        assert await remembered_by(cluster.nodes[N1], N2) == life


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
            await ask(cluster, node, PutRecord(RecordKey(DIGEST), RecordKind.DATA, 4, 1, None))
        with pytest.raises(NotAdmitted):
            await ask(cluster, node, GetRecord(RecordKey(DIGEST)))
        newer = (replace(cluster.layout, epoch=2),)
        await ask(cluster, node, TeachLayouts(newer))
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
    await ask(cluster, first, TeachLayouts((newer,)))

    assert await first.disk.list_directory("") == []
    assert first.service.layouts.live.epochs == (2,)
    for node in others:
        await node.start()
    await first.until("voter")
    files = NodeFiles(first.disk, NumberedRandomness())
    assert await files.layouts() == (newer,)
    assert DIRECTORY in await first.disk.list_directory("")
    await cluster.end()
