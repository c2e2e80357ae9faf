"""Every message that can be said: a strategy for each kind, and an example for golden files."""

import sys
from typing import Final

from hypothesis import strategies as st

from ring.admission import PutAnswer
from ring.comparing import (
    DescribeRecords,
    Description,
    DescriptionsReply,
    FactsReply,
    HintReason,
    HintRecords,
    HintReply,
    ListFacts,
    PrefixSum,
    SumPrefixes,
    SumsReply,
)
from ring.control import (
    FetchLayouts,
    FloorsReply,
    GetFloors,
    GetStatus,
    Introduce,
    IntroducedReply,
    LayoutsReply,
    StatusReply,
    TeachLayouts,
)
from ring.digest import Algorithm, Digest
from ring.layout import Layout, Member, MemberState
from ring.life import Life, NodeId
from ring.limits import (
    GENERATION_MAX,
    LIST_ENTRIES_MAX,
    PARTITIONS,
    PAYLOAD_BYTES_MAX,
    PAYLOAD_SMALL_BYTES_MAX,
)
from ring.listing import ClaimsReply, ListClaims, ListRecords, PageReply
from ring.messages import (
    BuryRecord,
    ConfirmChunks,
    CopyVerdict,
    FlagsReply,
    GetRecord,
    Message,
    PutRecord,
    PutReply,
    RecordReply,
    Reply,
    Request,
    StatesReply,
    StatRecords,
    VerifyRecord,
    VerifyReply,
)
from ring.operating import (
    COPIES_TOLD,
    PARTITION_BITMAP_BYTES,
    CareOrder,
    CareReply,
    ExplainRecord,
    GetCare,
    Incident,
    IncidentKind,
    LedgerCount,
    RecordStory,
    StartCare,
    StartedReply,
)
from ring.purge import Tombstone
from ring.purging import (
    CollectGarbage,
    CollectionReply,
    EarlierReply,
    FetchEarlier,
    GarbageTally,
    HoldTombstones,
)
from ring.record import ABSENT, RecordEntry, RecordKey, RecordKind, RecordState, dead, live
from tests.ring import values as v

# A dataclass with slots is made twice; the module has the one that counts.
KINDS: Final[list[type[Message]]] = [
    kind
    for kind in [*Request.__subclasses__(), *Reply.__subclasses__()]
    if getattr(sys.modules[kind.__module__], kind.__name__) is kind
]


def some(of: st.SearchStrategy[v.T]) -> st.SearchStrategy[tuple[v.T, ...]]:
    """A few, as a tuple."""
    return st.lists(of, max_size=4).map(tuple)


_limits = st.integers(0, LIST_ENTRIES_MAX)
_people = some(st.tuples(v.nodes, v.lives))
_floors = some(st.tuples(st.integers(0, PARTITIONS - 1), v.generations))
_fingerprints = st.binary(min_size=16, max_size=16)
_prefixes = some(st.text("0123456789abcdef", max_size=64))
_words = st.text(st.characters(codec="utf-8"), max_size=40)

STRATEGIES: Final[dict[type[Message], st.SearchStrategy[Message]]] = {
    PutRecord: st.builds(
        PutRecord, v.keys, v.kinds, v.sizes, v.generations, st.none() | v.digests()
    ),
    PutReply: st.builds(
        PutReply, st.builds(PutAnswer, v.roots, v.generations, st.booleans())
    ),
    GetRecord: st.builds(GetRecord, v.keys, st.integers(0, PAYLOAD_BYTES_MAX)),
    RecordReply: st.builds(RecordReply, v.states),
    StatRecords: st.builds(StatRecords, some(v.keys)),
    StatesReply: st.builds(StatesReply, some(st.none() | v.states)),
    ConfirmChunks: st.builds(ConfirmChunks, v.digests(), some(v.digests())),
    FlagsReply: st.builds(FlagsReply, some(st.booleans())),
    BuryRecord: st.builds(BuryRecord, v.keys, v.generations, st.booleans()),
    VerifyRecord: st.builds(VerifyRecord, v.keys),
    VerifyReply: st.builds(VerifyReply, st.sampled_from(CopyVerdict)),
    ListRecords: st.builds(ListRecords, st.none() | v.keys, _limits, st.booleans()),
    PageReply: st.builds(PageReply, some(v.entries), st.booleans()),
    ListClaims: st.builds(ListClaims, v.keys, st.none() | v.digests(), _limits),
    ClaimsReply: st.builds(ClaimsReply, some(v.digests()), st.booleans()),
    Introduce: st.builds(Introduce, v.nodes, v.lives, st.booleans(), st.booleans()),
    IntroducedReply: st.builds(IntroducedReply, st.none() | v.lives, _people),
    FetchLayouts: st.builds(FetchLayouts),
    TeachLayouts: st.builds(TeachLayouts, v.live_layouts()),
    LayoutsReply: st.builds(LayoutsReply, v.live_layouts()),
    GetFloors: st.builds(GetFloors),
    FloorsReply: st.builds(FloorsReply, _floors),
    SumPrefixes: st.builds(SumPrefixes, _prefixes, some(v.nodes)),
    SumsReply: st.builds(SumsReply, some(st.builds(PrefixSum, _fingerprints, v.sizes))),
    ListFacts: st.builds(ListFacts, _prefixes, some(v.nodes)),
    FactsReply: st.builds(FactsReply, st.none() | some(st.tuples(v.keys, v.sizes))),
    DescribeRecords: st.builds(DescribeRecords, some(v.keys)),
    DescriptionsReply: st.builds(
        DescriptionsReply, some(st.none() | st.builds(Description, v.states, _fingerprints))
    ),
    HintRecords: st.builds(HintRecords, st.sampled_from(HintReason), some(v.keys)),
    HintReply: st.builds(HintReply, v.sizes),
    HoldTombstones: st.builds(
        HoldTombstones, some(st.builds(Tombstone, v.keys, v.generations.map(dead)))
    ),
    FetchEarlier: st.builds(FetchEarlier, v.sizes),
    EarlierReply: st.builds(
        EarlierReply, st.none() | v.live_layouts().map(lambda layouts: layouts[0])
    ),
    CollectGarbage: st.builds(CollectGarbage, st.booleans()),
    CollectionReply: st.builds(
        CollectionReply,
        some(st.builds(GarbageTally, _words, _words, _words, v.sizes, v.sizes)),
        st.booleans(),
    ),
    GetCare: st.builds(GetCare),
    CareReply: st.builds(
        CareReply,
        st.none()
        | st.builds(
            LedgerCount,
            st.binary(min_size=PARTITION_BITMAP_BYTES, max_size=PARTITION_BITMAP_BYTES),
            st.tuples(*[v.sizes] * COPIES_TOLD),
            v.sizes,
            v.sizes,
            v.sizes,
            v.sizes,
            v.sizes,
            v.sizes,
            some(v.nodes),
        ),
        _words,
        some(st.tuples(_words, v.sizes)),
        some(_words),
    ),
    StartCare: st.builds(StartCare, st.sampled_from(CareOrder)),
    StartedReply: st.builds(StartedReply, v.sizes),
    ExplainRecord: st.builds(ExplainRecord, v.keys),
    RecordStory: st.builds(
        RecordStory,
        v.states,
        v.sizes,
        st.booleans(),
        some(st.builds(Incident, v.sizes, st.sampled_from(IncidentKind), _words, v.sizes)),
        st.booleans(),
        st.booleans(),
        _words,
        some(_words),
        v.sizes,
    ),
    GetStatus: st.builds(GetStatus),
    StatusReply: st.builds(
        StatusReply,
        st.sampled_from(["voter", "receiver", "fenced"]),
        _words,
        v.sizes,
        v.sizes,
        v.sizes,
        some(st.tuples(_words, v.sizes)),
    ),
}

BLOB: Final = Digest(Algorithm.SHA256, bytes(range(32)))
CHUNK: Final = Digest(Algorithm.BLAKE3, b"\xaa" * 32)
OTHER: Final = Digest(Algorithm.SHA512, b"\x55" * 64)
LIFE: Final = Life(3, 300, 0x0123456789ABCDEF)
STATE: Final = RecordState(RecordKind.RECIPE, 1 << 40, live(2), True, False, 1_700_000_000)
CLAIMED: Final = RecordState(RecordKind.DATA, 4 << 20, dead(7), True, True, 0)
LAYOUT: Final = Layout(
    cluster_id="00112233445566778899aabbccddeeff",
    epoch=5,
    replicas=1,
    spares=1,
    members=(
        Member(NodeId("a"), "[::1]:7071", "east", 3),
        Member(NodeId("b"), "b.example:65535", "west", 70_000, MemberState.DRAINING),
    ),
    table=b"\x00\x01" * (PARTITIONS // 2) + b"\x01\x00" * (PARTITIONS // 2),
    retired=(NodeId("gone"),),
)

EXAMPLES: Final[list[Message]] = [
    PutRecord(RecordKey(BLOB), RecordKind.RECIPE, 1 << 33, 2, None),
    PutReply(PutAnswer(dead(GENERATION_MAX), 300, had=True)),
    GetRecord(RecordKey(OTHER), PAYLOAD_SMALL_BYTES_MAX),
    RecordReply(STATE),
    StatRecords((RecordKey(BLOB), RecordKey(CHUNK))),
    StatesReply((None, ABSENT, STATE, CLAIMED)),
    ConfirmChunks(BLOB, (CHUNK, CHUNK)),
    FlagsReply((True, False)),
    BuryRecord(RecordKey(CHUNK), 255, skips_trash=True),
    VerifyRecord(RecordKey(CHUNK)),
    VerifyReply(CopyVerdict.QUARANTINED),
    ListRecords(RecordKey(CHUNK), LIST_ENTRIES_MAX, True),
    PageReply((RecordEntry(RecordKey(CHUNK), CLAIMED), RecordEntry(RecordKey(BLOB), STATE)), False),
    ListClaims(RecordKey(CHUNK), BLOB, 17),
    ClaimsReply((BLOB, OTHER), True),
    Introduce(NodeId("node-1"), LIFE, True, False),
    IntroducedReply(LIFE, ((NodeId("a"), LIFE), (NodeId("b"), Life(1, 1, 1)))),
    FetchLayouts(),
    TeachLayouts((LAYOUT,)),
    LayoutsReply((LAYOUT,)),
    GetFloors(),
    FloorsReply(((0, 1), (4_095, GENERATION_MAX))),
    SumPrefixes(("", "a3f", "0123456789abcdef"), (NodeId("away"),)),
    SumsReply((PrefixSum(b"\x11" * 16, 300), PrefixSum(bytes(16), 0))),
    ListFacts(("a3f0",), ()),
    FactsReply(((RecordKey(CHUNK), (1 << 63) - 1),)),
    DescribeRecords((RecordKey(BLOB), RecordKey(OTHER))),
    DescriptionsReply((None, Description(CLAIMED, b"\x22" * 16))),
    HintRecords(HintReason.HANDOFF, (RecordKey(CHUNK),)),
    HintReply(1),
    HoldTombstones((Tombstone(RecordKey(CHUNK), dead(3)), Tombstone(RecordKey(BLOB), dead(0)))),
    FetchEarlier(4),
    EarlierReply(LAYOUT),
    CollectGarbage(True),
    CollectionReply((GarbageTally("trash", "stays", "its time is not over", 3, 1 << 33),), True),
    GetCare(),
    CareReply(
        LedgerCount(
            b"\x81" + bytes(511), (0, 1, 2, 300, 4), 3, 1, 2, 1 << 33, 1_700_000_000, 70, ()
        ),
        "",
        (("repair_rounds", 7),),
        ("nothing to say",),
    ),
    StartCare(CareOrder.SCRUB),
    StartedReply(8),
    ExplainRecord(RecordKey(OTHER)),
    RecordStory(
        CLAIMED,
        2,
        True,
        (Incident(1_700_000_001, IncidentKind.PUT_ASIDE, "its bytes do not match", 2),),
        True,
        False,
        "no room here",
        ("quarantine/one",),
        1_700_000_002,
    ),
    GetStatus(),
    StatusReply("voter", "", 10, 1 << 31, 1 << 40, (("put_total", 9),)),
]
