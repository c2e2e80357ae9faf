"""Messages that were damaged on purpose: refused in words, whatever the damage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ring.codec import (
    RejectedRequest,
    Sender,
    decode_reply,
    decode_request,
    encode_error,
    encode_reply,
    encode_request,
    pack,
)
from ring.control import (
    FetchLayouts,
    GetStatus,
    Introduce,
    LayoutsReply,
    StatusReply,
    TeachLayouts,
)
from ring.digest import Algorithm, Digest
from ring.errors import PeerProtocol, WrongEpoch
from ring.layout import Member
from ring.life import Life, NodeId
from ring.listing import ListClaims, ListRecords, PageReply
from ring.messages import (
    BuryRecord,
    ConfirmChunks,
    FlagsReply,
    GetRecord,
    PutRecord,
    RecordReply,
    Reply,
    Request,
    StatesReply,
    StatRecords,
)
from ring.placement import first_layout
from ring.record import ABSENT, RecordEntry, RecordKey, RecordKind, RecordState, live

KEY = RecordKey(Digest.of(b"x"))
LONG = RecordKey(Digest.of(b"y", Algorithm.SHA512))
STATE = RecordState(RecordKind.DATA, 5, live(2), held=True, claimed=True, verified_at_s=1 << 31)
LIFE = Life(1, 2, 3)
LAYOUT = first_layout([Member(NodeId(f"n{i}"), f"h{i}:1") for i in range(3)], 3, "seed")
SENDER = Sender(LIFE, ((NodeId("n2"), LIFE),))

REQUESTS: list[Request] = [
    PutRecord(KEY, RecordKind.DATA, 5, 1, LONG.digest),
    GetRecord(LONG),
    StatRecords((KEY, LONG)),
    ConfirmChunks(LONG.digest, (KEY.digest,)),
    BuryRecord(KEY, 3),
    ListRecords(KEY, 10, roots_only=True),
    ListClaims(KEY, LONG.digest, 10),
    Introduce(NodeId("n1"), LIFE, blank=False, receiver=True),
    TeachLayouts((LAYOUT,)),
    FetchLayouts(),
    GetStatus(),
]
REPLIES: list[Reply] = [
    RecordReply(STATE),
    StatesReply((STATE, None, ABSENT)),
    FlagsReply((True, False)),
    PageReply((RecordEntry(KEY, STATE),), done=False),
    LayoutsReply((LAYOUT,)),
    StatusReply("voter", "", 1, 2, 3, (("put_total", 4),)),
]
ASKED = [encode_request(7, request, deadline_ms=100, epochs=(1, 2)) for request in REQUESTS]
TOLD = [
    *(encode_reply(7, reply, voter=True, sender=SENDER) for reply in REPLIES),
    encode_error(7, WrongEpoch("older", layouts=b"\x00")),
]

_bytes = st.tuples(st.integers(0, 400), st.integers(0, 255))
_anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.floats(),
        st.binary(max_size=70),
        st.text(max_size=20),
        st.sampled_from([KEY.raw, LONG.raw, LONG.digest.key, 1, 2, 7]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=7), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=25,
)


def damaged(envelope: bytes, damage: list[tuple[int, int]], cut: int) -> bytes:
    data = bytearray(envelope)
    for position, value in damage:
        data[position % len(data)] = value
    return bytes(data[: len(data) - cut % len(data)])


def request_is_read_or_refused(envelope: bytes) -> None:
    try:
        asked = decode_request(envelope)
    except (PeerProtocol, RejectedRequest):
        return
    assert isinstance(asked.request, Request)
    again = encode_request(
        asked.request_id, asked.request, deadline_ms=asked.deadline_ms, epochs=asked.epochs
    )
    assert decode_request(again) == asked


def reply_is_read_or_refused(envelope: bytes) -> None:
    try:
        decode_reply(envelope)
    except PeerProtocol:
        return


@given(st.sampled_from(ASKED), st.lists(_bytes, max_size=4), st.integers(0, 3))
def test_a_damaged_request_is_read_or_refused(
    envelope: bytes, damage: list[tuple[int, int]], cut: int
) -> None:
    request_is_read_or_refused(damaged(envelope, damage, cut))


@given(st.sampled_from(TOLD), st.lists(_bytes, max_size=4), st.integers(0, 3))
def test_a_damaged_reply_is_read_or_refused(
    envelope: bytes, damage: list[tuple[int, int]], cut: int
) -> None:
    reply_is_read_or_refused(damaged(envelope, damage, cut))


@given(st.integers(0, 45), st.lists(_anything, max_size=8))
def test_any_fields_of_any_message_are_read_or_refused(op: int, fields: list[object]) -> None:
    request_is_read_or_refused(pack([7, op, 100, [1], fields]))
    reply_is_read_or_refused(pack([7, op, True, None, fields]))


@given(_anything)
def test_any_envelope_is_read_or_refused(value: object) -> None:
    request_is_read_or_refused(pack(value))
    reply_is_read_or_refused(pack(value))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    request_is_read_or_refused(data)
    reply_is_read_or_refused(data)
