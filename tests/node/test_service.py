"""A node without sockets: who is answered, what counts, and what a receiver keeps to itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from node.handler import Asker, Response
from node.marker import NO_PARTITIONS, NodeFiles
from node.memory_store import MemoryRecordStore
from ring.admission import PutAnswer
from ring.control import (
    FetchLayouts,
    GetFloors,
    GetStatus,
    Introduce,
    LayoutsReply,
    StatusReply,
    TeachLayouts,
)
from ring.digest import Algorithm, Buffer, Digest
from ring.errors import (
    BadRequest,
    Corrupt,
    DigestMismatch,
    HoldfastError,
    LayoutUnknown,
    NotAdmitted,
    TooLarge,
    WrongEpoch,
)
from ring.life import Life, NodeId
from ring.limits import CHUNK_BYTES, KIB
from ring.listing import ListClaims, ListRecords, PageReply
from ring.messages import (
    BuryRecord,
    ConfirmChunks,
    CopyVerdict,
    FlagsReply,
    GetRecord,
    PutRecord,
    PutReply,
    RecordReply,
    Request,
    StatesReply,
    StatRecords,
    VerifyRecord,
    VerifyReply,
)
from ring.recipe import Recipe
from ring.record import NO_ROOT, RecordEntry, RecordKey, RecordKind, dead, live
from tests.fakes.manual_clock import ManualClock
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.fakes.small_cluster import SmallCluster, SmallNode, next_layout, small_cluster
from tests.fakes.virtual_time import in_virtual_time

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")
BLOB = b"blob"
DIGEST = Digest.of(BLOB)
KEY = RecordKey(DIGEST)
LARGE = Digest.of(b"large")

PUT = PutRecord(KEY, RecordKind.DATA, len(BLOB), 1, None)
PUT_CHUNK = PutRecord(KEY, RecordKind.DATA, len(BLOB), 0, LARGE)
ABOUT_RECORDS: list[Request] = [
    PUT,
    PUT_CHUNK,
    GetRecord(KEY),
    GetRecord(KEY, 0),
    StatRecords((KEY,)),
    ConfirmChunks(LARGE, (DIGEST,)),
    BuryRecord(KEY, 1),
    VerifyRecord(KEY),
    ListRecords(None, 10, roots_only=True),
    ListClaims(KEY, None, 10),
    GetFloors(),
]
by_name = pytest.mark.parametrize("request_", ABOUT_RECORDS, ids=lambda r: type(r).__name__)


async def ask(
    node: SmallNode, request: Request, *epochs: int, payload: Buffer | None = None
) -> Response:
    asker = Asker("gateway", is_peer=False, epochs=epochs or (1,))
    if payload is None and isinstance(request, PutRecord):
        payload = BLOB
    response = node.service.handle_now(request, asker)
    if response is None:
        response = await node.service.handle(request, payload, asker)
    return response


@asynccontextmanager
async def receiver() -> AsyncIterator[SmallNode]:
    """A node that lost its disk and finds nobody to compare with."""
    async with small_cluster() as cluster:
        await cluster.nodes[N2].end()
        await cluster.nodes[N1].end()
        cluster.nodes[N1].wipe()
        await cluster.nodes[N1].start()
        await cluster.nodes[N1].until("receiver")
        yield cluster.nodes[N1]


# --- admission ------------------------------------------------------------------------------------


@by_name
@in_virtual_time
async def test_a_blank_node_says_nothing_of_records(request_: Request) -> None:
    cluster = SmallCluster(3, 3)
    node = cluster.nodes[N0]
    await node.start()
    await asyncio.sleep(1)
    with pytest.raises(NotAdmitted, match="waiting for n1, n2"):
        await ask(node, request_)

    assert isinstance((await ask(node, FetchLayouts())).reply, LayoutsReply)
    status = (await ask(node, GetStatus())).reply
    assert isinstance(status, StatusReply)
    assert status.state == "blank"
    await cluster.end()


@by_name
@in_virtual_time
async def test_requests_about_records_come_from_the_same_layouts(request_: Request) -> None:
    async with small_cluster(5, 3) as cluster:
        node = cluster.nodes[N0]
        with pytest.raises(LayoutUnknown):
            await ask(node, request_, 1, 2)
        await ask(node, TeachLayouts((node.layout, next_layout(node.layout))))
        with pytest.raises(WrongEpoch):
            await ask(node, request_, 1)


class SlowStore(MemoryRecordStore):
    """A write takes its effect and is then waited for."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.gate = asyncio.Event()
        self.is_waiting = asyncio.Event()

    async def put_root(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> PutAnswer:
        answer = await super().put_root(key, kind, size_bytes, generation, value)
        await self._wait()
        return answer

    async def page(
        self, after: RecordKey | None, limit: int, *, roots_only: bool
    ) -> tuple[list[RecordEntry], bool]:
        page = await super().page(after, limit, roots_only=roots_only)
        await self._wait()
        return page

    async def _wait(self) -> None:
        self.is_waiting.set()
        await self.gate.wait()


@asynccontextmanager
async def slow_node() -> AsyncIterator[tuple[SmallCluster, SmallNode, SlowStore]]:
    async with small_cluster(5, 3) as cluster:
        node, store = cluster.nodes[N0], SlowStore()
        await node.end()
        node.store = store
        await node.start()
        await node.until("voter")
        yield cluster, node, store


@in_virtual_time
async def test_a_put_that_newer_layouts_overtook_is_no_ack() -> None:
    async with slow_node() as (_, node, store):
        put = asyncio.ensure_future(ask(node, PUT))
        await store.is_waiting.wait()
        await ask(node, TeachLayouts((node.layout, next_layout(node.layout))))
        store.gate.set()
        with pytest.raises(WrongEpoch):
            await put


@in_virtual_time
async def test_a_listing_in_whose_middle_the_node_was_fenced_does_not_count() -> None:
    async with slow_node() as (cluster, node, store):
        page = asyncio.ensure_future(ask(node, ListRecords(None, 10, roots_only=True)))
        await store.is_waiting.wait()
        clone = Introduce(N0, Life(3, 1, 1), blank=False, receiver=False)
        await cluster.nodes[N1].service.membership.introduced(clone)
        cluster.network.faults.down |= {N2}  # so that it cannot become a voter again
        cluster.network.hold(N1, GetFloors, caller="n0")
        await node.until("receiver")
        store.gate.set()
        assert not (await page).voter


# --- what a receiver does -------------------------------------------------------------------------


@in_virtual_time
async def test_a_receiver_stores_and_never_counts() -> None:
    async with receiver() as node:
        put = await ask(node, PUT)
        assert (put.voter, put.reply) == (False, PutReply(PutAnswer(live(1), 0, had=False)))
        assert node.holds(DIGEST)
        assert not (await ask(node, PUT_CHUNK)).voter
        assert node.state_of(DIGEST).claimed
        confirmed = await ask(node, ConfirmChunks(Digest.of(b"other"), (DIGEST,)))
        assert (confirmed.voter, confirmed.reply) == (False, FlagsReply((False,)))
        assert len((await node.store.claims(KEY, None, 10))[0]) == 2
        buried = await ask(node, BuryRecord(KEY, 1))
        assert isinstance(buried.reply, RecordReply)
        assert (buried.voter, buried.reply.state.root) == (False, dead(1))


@in_virtual_time
async def test_nothing_is_read_from_a_receiver() -> None:
    async with receiver() as node:
        await ask(node, PUT)
        for bytes_max in (0, 64 * KIB, CHUNK_BYTES):
            got = await ask(node, GetRecord(KEY, bytes_max))
            assert (got.voter, got.payload) == (False, None)
        stat = await ask(node, StatRecords((KEY, RecordKey(LARGE))))
        assert (stat.voter, stat.reply) == (False, StatesReply((None, None)))
        for request in (ListRecords(None, 9, roots_only=False), ListClaims(KEY, None, 9)):
            assert not (await ask(node, request)).voter
        assert not (await ask(node, GetFloors())).voter


@in_virtual_time
async def test_a_node_votes_on_the_partitions_that_it_compared_and_on_no_other() -> None:
    async with small_cluster() as cluster:
        node = cluster.nodes[N1]
        for each in cluster.nodes.values():
            await each.end()
        files = NodeFiles(node.disk, NumberedRandomness())
        marker = await node.marker()
        assert marker is not None
        own, other = DIGEST, LARGE
        assert own.partition != other.partition
        voting = bytearray(NO_PARTITIONS)
        voting[own.partition >> 3] |= 1 << (own.partition & 7)
        await files.write_marker(replace(marker, incarnation=2, voting=bytes(voting)))
        await node.start()
        await node.until("receiver")

        assert (await ask(node, PUT)).voter
        put = PutRecord(RecordKey(other), RecordKind.DATA, 5, 1, None)
        assert not (await ask(node, put, payload=b"large")).voter
        stat = await ask(node, StatRecords((KEY, RecordKey(other))))
        assert stat.reply == StatesReply((node.state_of(own), None))
        flags = await ask(node, ConfirmChunks(Digest.of(b"x"), (own, other, own)))
        assert flags.reply == FlagsReply((True, False, True))
        assert not (await ask(node, ListRecords(None, 10, roots_only=True))).voter


# --- requests that no client of ours makes --------------------------------------------------------

SIZE = CHUNK_BYTES + 1
RECIPE = Recipe(SIZE, (Digest.of(b"one"), Digest.of(b"two"))).encode(LARGE)


@pytest.mark.parametrize(
    ("request_", "payload", "error"),
    [
        (PutRecord(KEY, RecordKind.NONE, 4, 1, None), BLOB, BadRequest),
        (PutRecord(KEY, RecordKind.DATA, 5, 1, None), BLOB, BadRequest),
        (PutRecord(KEY, RecordKind.DATA, 4, 1, None), b"bl0b", DigestMismatch),
        (PutRecord(KEY, RecordKind.DATA, 4, 1, None), b"", HoldfastError),
        (PutRecord(KEY, RecordKind.RECIPE, SIZE, 0, None), RECIPE, BadRequest),
        (PutRecord(KEY, RecordKind.RECIPE, SIZE, 1, None), RECIPE, Corrupt),
        (PutRecord(RecordKey(LARGE), RecordKind.RECIPE, SIZE + 1, 1, None), RECIPE, Corrupt),
        (PutRecord(KEY, RecordKind.DATA, SIZE, 0, None), bytes(SIZE), TooLarge),
        (ListRecords(None, 0, roots_only=True), None, BadRequest),
    ],
)
@in_virtual_time
async def test_what_cannot_be_is_refused_and_changes_nothing(
    request_: Request, payload: bytes | None, error: type[HoldfastError]
) -> None:
    async with small_cluster(1, 1) as cluster:
        node = cluster.nodes[N0]
        with pytest.raises(error):
            await ask(node, request_, payload=payload)

        assert node.store.usage().records == 0


@in_virtual_time
async def test_an_empty_question_has_an_empty_answer() -> None:
    async with small_cluster(1, 1) as cluster:
        assert (await ask(cluster.nodes[N0], StatRecords(()))).reply == StatesReply(())
        assert (await ask(cluster.nodes[N0], ConfirmChunks(LARGE, ()))).reply == FlagsReply(())


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(Algorithm))
@in_virtual_time
async def test_a_value_that_is_longer_than_wanted_is_not_sent(algorithm: Algorithm) -> None:
    async with small_cluster(1, 1) as cluster:
        node = cluster.nodes[N0]
        value = bytes(100)
        key = RecordKey(Digest.of(value, algorithm))
        await ask(node, PutRecord(key, RecordKind.DATA, 100, 1, None), payload=value)

        for bytes_max, payload in ((0, None), (99, None), (100, value), (101, value)):
            got = await ask(node, GetRecord(key, bytes_max))
            assert got.payload == payload
            assert got.reply == RecordReply(node.state_of(key.digest))


@in_virtual_time
async def test_a_recipes_length_is_its_own_and_not_its_blobs() -> None:
    async with small_cluster(1, 1) as cluster:
        put = PutRecord(RecordKey(LARGE), RecordKind.RECIPE, SIZE, 1, None)
        await ask(cluster.nodes[N0], put, payload=RECIPE)

        got = await ask(cluster.nodes[N0], GetRecord(RecordKey(LARGE), len(RECIPE)))
        assert got.payload == RECIPE
        got = await ask(cluster.nodes[N0], GetRecord(RecordKey(LARGE), len(RECIPE) - 1))
        assert got.payload is None


@in_virtual_time
async def test_a_reported_copy_is_looked_at_and_put_aside_if_it_is_bad() -> None:
    async with small_cluster(1, 1) as cluster:
        node = cluster.nodes[N0]
        await ask(node, PUT)
        assert (await ask(node, VerifyRecord(KEY))).reply == VerifyReply(CopyVerdict.GOOD)
        node.rot(DIGEST)
        assert (await ask(node, VerifyRecord(KEY))).reply == VerifyReply(CopyVerdict.QUARANTINED)
        assert (await ask(node, VerifyRecord(KEY))).reply == VerifyReply(CopyVerdict.ABSENT)

        got = await ask(node, GetRecord(KEY))
        assert isinstance(got.reply, RecordReply)
        assert (got.payload, got.reply.state.held, got.reply.state.root) == (None, False, live(1))
        status = (await ask(node, GetStatus())).reply
        assert isinstance(status, StatusReply)
        assert dict(status.counters)["quarantined_total"] == 1
        assert dict(status.counters)["reported_copies_quarantined_total"] == 1


@in_virtual_time
async def test_pages_lead_from_one_to_the_next() -> None:
    async with small_cluster(1, 1) as cluster:
        node = cluster.nodes[N0]
        for number in range(5):
            value = bytes([number])
            key = RecordKey(Digest.of(value))
            await ask(node, PutRecord(key, RecordKind.DATA, 1, 1, None), payload=value)
        await ask(node, PUT_CHUNK)
        found: list[RecordEntry] = []
        done = False
        while not done:
            after = found[-1].key if found else None
            page = (await ask(node, ListRecords(after, 2, roots_only=True))).reply
            assert isinstance(page, PageReply)
            found += page.entries
            done = page.done

        assert [entry.state.root for entry in found] == [live(1)] * 5
        everything = (await ask(node, ListRecords(None, 10, roots_only=False))).reply
        assert isinstance(everything, PageReply)
        assert [entry.state.root for entry in everything.entries].count(NO_ROOT) == 1
