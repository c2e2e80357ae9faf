"""How a receiver becomes a voter: what it takes over, from whom, and what keeps it waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from ring.control import FloorsReply, GetFloors, Introduce
from ring.digest import Digest
from ring.life import Life, NodeId
from ring.limits import LIST_ENTRIES_MAX, PARTITIONS
from ring.listing import ClaimsReply, ListClaims, ListRecords, PageReply
from ring.messages import Answer, GetRecord, PutRecord, Request
from ring.quorum import Placement
from ring.record import RecordKey, RecordKind, dead, live
from tests.fakes.direct_transport import DirectTransport, receivers_answer
from tests.fakes.small_cluster import SmallCluster, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")
BLOB = b"blob"
DIGEST = Digest.of(BLOB)
KEY = RecordKey(DIGEST)
CHUNK = Digest.of(b"chunk")
LARGE = [Digest.of(bytes([number])) for number in range(3)]


@asynccontextmanager
async def wiped(node: NodeId = N1) -> AsyncIterator[tuple[SmallCluster, SmallNode]]:
    """A cluster in which one node's disk is empty and its process not started yet."""
    async with small_cluster() as cluster:
        await cluster.nodes[node].end()
        cluster.nodes[node].wipe()
        yield cluster, cluster.nodes[node]


async def put(node: SmallNode, generation: int = 1) -> None:
    await node.store.put_root(KEY, RecordKind.DATA, len(BLOB), generation, BLOB)


@in_virtual_time
async def test_a_receiver_takes_records_tombstones_claims_and_floors_of_any_peer() -> None:
    async with wiped() as (cluster, node):
        zero, two = cluster.nodes[N0].store, cluster.nodes[N2].store
        gone, empty = Digest.of(b"gone"), Digest.of(b"")
        await put(cluster.nodes[N0])
        await put(cluster.nodes[N2], generation=4)
        await zero.put_root(RecordKey(gone), RecordKind.DATA, 4, 2, b"gone")
        await two.bury(RecordKey(gone), 2)
        await two.put_root(RecordKey(empty), RecordKind.DATA, 0, 1, b"")
        await zero.put_chunk(RecordKey(CHUNK), LARGE[0], b"chunk")
        await two.put_chunk(RecordKey(CHUNK), LARGE[1], b"chunk")
        await two.confirm(LARGE[2], [CHUNK])
        await zero.raise_floor(7, 3)
        await two.raise_floor(7, 5)
        await two.raise_floor(9, 1)
        await node.start()
        await node.until("voter")

        assert node.state_of(DIGEST).root == live(4)
        assert await node.store.get(KEY) == (node.state_of(DIGEST), BLOB)
        assert node.state_of(gone).root == dead(2)
        assert not node.state_of(gone).visible
        assert node.holds(empty)
        assert node.holds(CHUNK)
        claims, done = await node.store.claims(RecordKey(CHUNK), None, 10)
        assert (sorted(claims), done) == (sorted(LARGE), True)
        assert await node.store.floors() == {7: 5, 9: 1}


@in_virtual_time
async def test_a_comparison_goes_over_many_pages() -> None:
    async with wiped() as (cluster, node):
        digests = [Digest.of(b"%d" % number) for number in range(LIST_ENTRIES_MAX + 100)]
        for number, digest in enumerate(digests):
            await cluster.nodes[N2].store.put_root(
                RecordKey(digest), RecordKind.DATA, len(b"%d" % number), 1, b"%d" % number
            )
        await node.start()
        await node.until("voter")

        assert all(map(node.holds, digests))


@in_virtual_time
async def test_a_late_put_does_not_outlive_the_purge_of_its_tombstone() -> None:
    async with wiped() as (cluster, node):
        kept = next(
            value
            for value in (b"%d" % number for number in range(100_000))
            if Digest.of(value).partition == DIGEST.partition
        )
        kept_key = RecordKey(Digest.of(kept))
        for peer in (N0, N2):
            await cluster.nodes[peer].store.raise_floor(DIGEST.partition, 1)
        await cluster.nodes[N2].store.absorb(
            kept_key, replace(cluster.nodes[N2].state_of(DIGEST), root=live(1)), (), None
        )
        held = cluster.network.hold(N0, GetFloors, caller="n1")
        await node.start()
        await node.until("receiver")
        late = DirectTransport(cluster.network, "late gateway")
        for key, value in ((KEY, BLOB), (kept_key, kept)):
            request = PutRecord(key, RecordKind.DATA, len(value), 1, None)
            answer = await late.call(N1, request, value, epochs=(1,), timeout_s=1)
            assert not answer.voter
        assert node.holds(DIGEST)
        held.release()
        await node.until("voter")

        assert not node.state_of(DIGEST).exists  # nobody has it, so it was purged
        assert node.holds(kept_key.digest)  # somebody has it: other digests are purged here
        assert (await node.store.put_root(KEY, RecordKind.DATA, 4, 1, BLOB)).floor == 1


@in_virtual_time
async def test_with_too_few_voters_a_receiver_stays_one_and_says_why() -> None:
    async with wiped() as (cluster, node):
        await put(cluster.nodes[N0])
        await cluster.nodes[N2].end()
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(10)

        assert node.state == "receiver"
        assert node.reason == (
            "votes on 0 of 4096 partitions; the rest waits to be compared with more of the other "
            "nodes, of which these vote: n0"
        )
        assert not cluster.network.count(ListRecords)  # it would win nothing by it
        await cluster.nodes[N2].start()
        await node.until("voter")
        assert node.reason == "votes"


@in_virtual_time
async def test_nothing_is_taken_from_a_receiver() -> None:
    async with wiped() as (cluster, node):
        await put(cluster.nodes[N2])
        cluster.network.faults.rewrite[N2] = receivers_answer
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(5)

        assert node.state == "receiver"
        assert not node.state_of(DIGEST).exists
        del cluster.network.faults.rewrite[N2]
        await node.until("voter")
        assert node.holds(DIGEST)


@in_virtual_time
async def test_a_peer_that_dies_in_the_middle_of_its_list_does_not_count() -> None:
    async with wiped() as (cluster, node):
        held = cluster.network.hold(N0, ListRecords, caller="n1")
        await node.start()
        await node.until("receiver")
        async with asyncio.timeout(10):
            while not held.waiting:
                await asyncio.sleep(0.01)
        cluster.network.faults.down.add(N0)
        held.release()
        await asyncio.sleep(5)

        assert node.state == "receiver"
        cluster.network.faults.down.clear()
        await node.until("voter")


@pytest.mark.parametrize("pass_number", [0, 1])
@in_virtual_time
async def test_a_peer_that_was_started_again_is_compared_with_anew(pass_number: int) -> None:
    async with wiped() as (cluster, node):
        floors = 0

        def restarted(request: Request, answer: Answer) -> Answer:
            nonlocal floors
            floors += isinstance(answer.reply, FloorsReply)
            life = replace(answer.life, boot=answer.life.boot + 1, nonce=9)
            return replace(answer, life=life) if floors > pass_number else answer

        cluster.network.faults.rewrite[N0] = restarted
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(0.5)
        assert node.state == "receiver"

        await node.until("voter")  # from the second comparison on, the peer has one life again
        assert floors > 2


@in_virtual_time
async def test_being_fenced_voids_the_comparison() -> None:
    async with wiped() as (cluster, node):
        held = cluster.network.hold(N0, ListRecords, caller="n1")
        await node.start()
        await node.until("receiver")
        async with asyncio.timeout(10):
            while not held.waiting:
                await asyncio.sleep(0.01)
        clone = Introduce(N1, Life(5, 1, 99), blank=False, receiver=False)
        await cluster.nodes[N2].service.membership.introduced(clone)
        async with asyncio.timeout(10):
            while node.service.membership.life.incarnation < 6:
                await asyncio.sleep(0.01)
        lists = cluster.network.count(ListRecords, N2)
        states = []
        held.release()
        for _ in range(80):
            states.append(node.state)
            await asyncio.sleep(0.01)

        assert set(states) == {"receiver"}
        assert cluster.network.count(ListRecords, N2) > lists  # it was listed, to no avail
        await node.until("voter")
        assert node.service.membership.life.incarnation == 6


@in_virtual_time
async def test_what_a_rolled_back_peer_says_is_not_relied_upon() -> None:
    async with small_cluster() as cluster:
        node, rolled_back = cluster.nodes[N1], cluster.nodes[N2]
        snapshot = await rolled_back.snapshot()
        await rolled_back.end()
        await rolled_back.start()
        await rolled_back.until("voter")
        await put(rolled_back)  # acked by n1 and n2, say
        await put(node)
        for each in (node, rolled_back):
            await each.end()
        node.wipe()
        await rolled_back.roll_back(snapshot)
        cluster.network.faults.cut = {("n2", "n0"), ("n2", "n1")}
        await rolled_back.start()  # nobody tells it that it is fenced
        await rolled_back.until("voter")
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(5)

        assert node.state == "receiver"  # or n0, n1 and n2 would deny what was acked
        assert node.reason.endswith("of which these vote: n0")


@in_virtual_time
async def test_a_bad_copy_at_a_peer_is_left_there_and_another_taken() -> None:
    async with wiped() as (cluster, node):
        await put(cluster.nodes[N0], generation=3)
        await put(cluster.nodes[N2])
        cluster.nodes[N0].rot(DIGEST)
        await node.start()
        await node.until("voter")

        assert await node.store.get(KEY) == (node.state_of(DIGEST), BLOB)
        assert node.state_of(DIGEST).root == live(3)


@in_virtual_time
async def test_the_only_copies_are_bad_and_yet_the_root_is_known() -> None:
    async with wiped() as (cluster, node):
        await put(cluster.nodes[N2])
        cluster.nodes[N2].rot(DIGEST)
        await node.start()
        await node.until("voter")

        assert node.state_of(DIGEST).root == live(1)
        assert not node.holds(DIGEST)


@in_virtual_time
async def test_a_receiver_that_is_started_again_goes_on_as_one() -> None:
    async with wiped() as (cluster, node):
        await cluster.nodes[N2].end()
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(5)
        await node.end()
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(5)
        assert node.state == "receiver"

        await cluster.nodes[N2].start()
        await node.until("voter")
        assert node.service.membership.life.pair == (2, 2)


@in_virtual_time
async def test_partitions_are_won_back_one_by_one_as_covers_of_them_answer() -> None:
    async with small_cluster(5, 3) as cluster:
        node, away = cluster.nodes[N1], cluster.nodes[NodeId("n3")]
        await node.end()
        node.wipe()
        await away.end()
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(5)
        voters = [peer for peer in cluster.nodes if peer not in {N1, away.node}]
        votes = [node.service.membership.votes(partition) for partition in range(PARTITIONS)]

        for partition, vote in enumerate(votes):
            placement = Placement((cluster.layout.group(partition),))
            expected = N1 not in placement.eligible or placement.is_cover(voters)
            assert vote is expected, partition
        assert 0 < sum(votes) < PARTITIONS
        assert f"votes on {sum(votes)} of 4096 partitions" in node.reason
        marker = node.service.membership.marker
        await node.end()
        await node.start()  # what was won stays won
        await node.until("receiver")
        assert marker is not None
        assert node.service.membership.marker == replace(marker, boot=2)

        await away.start()
        await node.until("voter")


@pytest.mark.parametrize("broken", ["page", "claims", "floors"])
@in_virtual_time
async def test_a_peer_whose_lists_lead_nowhere_is_left_out(broken: str) -> None:
    async with wiped() as (cluster, node):
        await cluster.nodes[N0].store.put_chunk(RecordKey(CHUNK), LARGE[0], b"chunk")

        def endless(request: Request, answer: Answer) -> Answer:
            match request, answer.reply:
                case ListRecords(), PageReply(entries) if broken == "page":
                    return replace(answer, reply=PageReply(entries[:1], done=False))
                case ListClaims(), ClaimsReply() if broken == "claims":
                    return replace(answer, reply=ClaimsReply((LARGE[0],), done=False))
                case GetFloors(), _ if broken == "floors":
                    return replace(answer, reply=PageReply((), done=True))
            return answer

        cluster.network.faults.rewrite[N0] = endless
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(5)
        assert node.state == "receiver"

        cluster.network.faults.rewrite.clear()
        await node.until("voter")


@in_virtual_time
async def test_a_peer_that_sends_no_value_for_what_it_holds_is_left_out() -> None:
    async with wiped() as (cluster, node):
        await put(cluster.nodes[N0])

        def withholds(request: Request, answer: Answer) -> Answer:
            return replace(answer, payload=None) if isinstance(request, GetRecord) else answer

        cluster.network.faults.rewrite[N0] = withholds
        await node.start()
        await node.until("receiver")
        await asyncio.sleep(5)
        assert node.state == "receiver"

        cluster.network.faults.rewrite.clear()
        await node.until("voter")
        assert node.holds(DIGEST)
