"""Nodes that break the protocol: as good as silent, whatever they say and whoever asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from gateway.coordinator import Coordinator
from ring.admission import PutAnswer
from ring.codec import pack, unpack
from ring.control import (
    FloorsReply,
    IntroducedReply,
    LayoutsReply,
    StatusReply,
    pack_layout,
    parse_layouts,
)
from ring.digest import Digest
from ring.errors import (
    BadRequest,
    Fenced,
    HoldfastError,
    Internal,
    LayoutUnknown,
    NotAdmitted,
    NotFound,
    PeerProtocol,
    Unavailable,
    Unsupported,
    WrongEpoch,
)
from ring.layout import Layout
from ring.life import NodeId
from ring.limits import CHUNK_BYTES, GENERATION_MAX, PARTITIONS
from ring.listing import ClaimsReply, PageReply
from ring.messages import (
    Answer,
    CopyVerdict,
    FlagsReply,
    PutReply,
    RecordReply,
    Reply,
    Request,
    StatesReply,
    VerifyReply,
)
from ring.record import ABSENT, RecordEntry, RecordKind, RecordState, Root, dead, live
from tests.fakes.direct_transport import Refuse, Rewrite
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, small_cluster, small_layout
from tests.fakes.virtual_time import in_virtual_time

LARGE = bytes(CHUNK_BYTES) + b"end"
LARGE_DIGEST = Digest.of(LARGE)
THERE = b"there"

REPLIES: list[Reply] = [
    PageReply((), done=False),
    PageReply((RecordEntry(KEY, ABSENT), RecordEntry(KEY, ABSENT)), done=False),
    ClaimsReply((), done=True),
    StatesReply(()),
    StatesReply((ABSENT, ABSENT)),
    FlagsReply(()),
    FlagsReply((True,) * 9),
    VerifyReply(CopyVerdict.GOOD),
    PutReply(PutAnswer(Root(0), 0, had=True)),
    PutReply(PutAnswer(dead(GENERATION_MAX), 0, had=True)),
    PutReply(PutAnswer(live(1), GENERATION_MAX, had=True)),
    RecordReply(RecordState(RecordKind.NONE, 5, live(1), held=True)),
    LayoutsReply((small_layout(3, 3),)),
    FloorsReply(((1, 1),)),
    IntroducedReply(None, ()),
    StatusReply("voter", "", 0, 0, 0, ()),
]
ERRORS: list[HoldfastError] = [
    PeerProtocol("nonsense"),
    NotFound("there is no such thing"),
    Internal("a bug"),
    BadRequest("no"),
    Unsupported("what?"),
    Fenced("you?", incarnation="x"),
    NotAdmitted("starting"),
    WrongEpoch("newer", layouts=b"\x00"),
    WrongEpoch("newer"),
    LayoutUnknown("never heard of it"),
]
OUTCOMES: list[Reply | HoldfastError] = [*REPLIES, *ERRORS]


def replying(reply: Reply) -> Rewrite:
    """A rewrite: the node answers this to everything."""

    def rewrite(request: Request, answer: Answer) -> Answer:
        return replace(answer, reply=reply, payload=None)

    return rewrite


def erring(error: HoldfastError, *nodes: NodeId) -> Refuse:
    def refuse(node: NodeId, request: Request) -> HoldfastError | None:
        return error if node in nodes else None

    return refuse


# --- operations that succeed with one such node, and say 503 with two -----------------------------


async def put(gateway: Coordinator) -> None:
    await gateway.put(DIGEST, BLOB)


async def put_large(gateway: Coordinator) -> None:
    await gateway.put(LARGE_DIGEST, LARGE)


async def get(gateway: Coordinator) -> None:
    for _ in range(3):
        assert await gateway.get(Digest.of(THERE)) == THERE


async def head(gateway: Coordinator) -> None:
    for _ in range(3):
        assert (await gateway.stat(Digest.of(THERE))).size_bytes == len(THERE)


async def miss(gateway: Coordinator) -> None:
    assert not await gateway.contains(Digest.of(b"never put"))


async def delete(gateway: Coordinator) -> None:
    await gateway.delete(Digest.of(THERE))


async def list_all(gateway: Coordinator) -> None:
    assert await gateway.list_page(None, 10) == ([(Digest.of(THERE), len(THERE))], None)


async def look(gateway: Coordinator) -> None:
    await gateway.views.status()
    await gateway.views.where(DIGEST)
    await gateway.views.ready()


Operation = Callable[[Coordinator], Awaitable[None]]
OPERATIONS: list[Operation] = [put, put_large, get, head, miss, delete, list_all, look]
SERVED_WITH_ONE: list[Operation] = [get, head, look]


@pytest.mark.parametrize("operation", OPERATIONS)
@in_virtual_time
async def test_one_node_that_breaks_the_protocol_hurts_nobody(operation: Operation) -> None:
    async with small_cluster() as cluster:
        for number, outcome in enumerate(OUTCOMES):
            await cluster.store(THERE, generation=number + 1)
            gateway = cluster.gateway(f"gateway {number}")
            hostile = list(cluster.nodes)[number % 3]
            if isinstance(outcome, Reply):
                cluster.network.faults.rewrite = {hostile: replying(outcome)}
            else:
                cluster.network.faults.refuse = erring(outcome, hostile)
            await operation(gateway)
            await cluster.calm()
            cluster.network.faults.rewrite = {}
            cluster.network.faults.refuse = None


@pytest.mark.parametrize("operation", OPERATIONS)
@in_virtual_time
async def test_two_such_nodes_are_two_silent_ones(operation: Operation) -> None:
    async with small_cluster() as cluster:
        nodes = list(cluster.nodes)
        await cluster.store(THERE)
        for number, outcome in enumerate(OUTCOMES):
            if isinstance(outcome, RecordReply | StatesReply | PutReply | FlagsReply):
                continue  # sound answers to something, which two nodes may agree upon
            gateway = cluster.gateway(f"gateway {number}")
            hostile = [nodes[number % 3], nodes[(number + 1) % 3]]
            if isinstance(outcome, Reply):
                cluster.network.faults.rewrite = dict.fromkeys(hostile, replying(outcome))
            else:
                cluster.network.faults.refuse = erring(outcome, *hostile)
            if operation in SERVED_WITH_ONE:
                await operation(gateway)
            else:
                with pytest.raises(Unavailable):
                    await operation(gateway)
            await cluster.calm()
            cluster.network.faults.rewrite = {}
            cluster.network.faults.refuse = None


@in_virtual_time
async def test_the_faults_of_a_node_are_counted() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        cluster.network.faults.rewrite = {
            node: replying(ClaimsReply((), done=True)) for node in cluster.nodes
        }
        with pytest.raises(Unavailable):
            await gateway.put(DIGEST, BLOB)

        assert gateway.cluster.protocol_errors_total >= 2


# --- layouts from strangers -----------------------------------------------------------------------

ONE = small_layout(3, 3)


def _packed(layout: Layout, **changes: object) -> list[object]:
    names = ("cluster_id", "epoch", "replicas", "spares", "members", "table", "retired")
    fields = dict(zip(names, pack_layout(layout), strict=True)) | changes
    return [fields[name] for name in names]


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 0},
        {"replicas": 0},
        {"replicas": 4, "table": bytes(PARTITIONS * 4)},
        {"replicas": 9},
        {"spares": 3, "table": bytes(PARTITIONS * 6)},
        {"spares": 1, "table": b"\x00\x01\x02\x00" * PARTITIONS},
        {"table": bytes(PARTITIONS * 3)},
        {"table": b"\x00\x01\x03" * PARTITIONS},
        {"table": b"\x00\x01\x02" * (PARTITIONS - 1)},
        {"table": b""},
        {"members": []},
        {"members": [["n0", "h:1", "z", 1, "active"]] * 3},
        {"members": [["N!", "h:1", "z", 1, "active"]]},
        {"members": [["n0", "h", "z", 1, "active"]]},
        {"members": [["n0", "h:1", "z", 1, "asleep"]]},
        {"members": [["n0", "h:1", "", 1, "active"]]},
        {"members": [["n0", "h:1", "z", 0, "active"]]},
        {"retired": [7]},
        {"cluster_id": b"bytes"},
    ],
    ids=str,
)
def test_a_layout_that_cannot_be_is_the_peers_fault(changes: dict[str, object]) -> None:
    value = unpack(pack([_packed(ONE, **changes)]))
    with pytest.raises(PeerProtocol):
        parse_layouts(value)


def test_a_layout_that_can_be_is_read() -> None:
    assert parse_layouts(unpack(pack([_packed(ONE)]))) == (ONE,)
