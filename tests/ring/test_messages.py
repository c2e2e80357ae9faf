"""Every message reads back as it was packed, says the same bytes for ever, and knows its bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring.codec import decode_reply, decode_request, encode_reply, encode_request, pack, unpack
from ring.digest import Algorithm, Digest
from ring.errors import HoldfastError, InvalidDigest, PeerProtocol
from ring.life import NodeId
from ring.limits import (
    ENVELOPE_BYTES_MAX,
    GENERATION_MAX,
    KEYS_PER_REQUEST_MAX,
    LIST_ENTRIES_MAX,
    PAYLOAD_BYTES_MAX,
)
from ring.listing import ClaimsReply, PageReply
from ring.messages import (
    Answer,
    BuryRecord,
    ConfirmChunks,
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
    VerifyReply,
    expect,
    pack_state,
    parse_state,
)
from ring.record import RecordEntry, RecordKey, RecordKind, RecordState, Root
from tests.golden.golden_file import FOLDER, Golden
from tests.ring.every_message import BLOB, EXAMPLES, KINDS, LIFE, STATE, STRATEGIES
from tests.ring.values import INTEGER_MAX, states

KEY = RecordKey(BLOB).raw


def envelope_of(message: Message) -> bytes:
    if isinstance(message, Request):
        return encode_request(7, message, deadline_ms=1_500, epochs=(5, 6))
    assert isinstance(message, Reply)
    return encode_reply(7, message, voter=True, sender=None)


def read_back(message: Message, envelope: bytes) -> object:
    if isinstance(message, Request):
        return decode_request(envelope).request
    return decode_reply(envelope).outcome


def fields_of(message: Message) -> list[object]:
    """As they arrive: msgpack makes lists of tuples."""
    fields = unpack(pack(message.pack()))
    assert isinstance(fields, list)
    return fields


def name_of(thing: Message | type[Message]) -> str:
    return thing.__name__ if isinstance(thing, type) else type(thing).__name__


def test_every_kind_of_message_is_tested_here() -> None:
    assert set(KINDS) == set(STRATEGIES)
    assert sorted(map(name_of, KINDS)) == sorted(map(name_of, EXAMPLES))
    assert len({kind.op for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@given(data=st.data())
@settings(max_examples=40)
def test_a_message_reads_back_as_it_was_said(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(STRATEGIES[kind])

    assert message == kind.parse(fields_of(message))
    assert message == read_back(message, envelope_of(message))


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_a_message_is_the_same_bytes_for_ever(message: Message, golden: Golden) -> None:
    """A change breaks clusters in the middle of an upgrade: new fields go to the end."""
    envelope = envelope_of(message)

    golden.check(f"wire/{name_of(message)}.hex", envelope.hex("\n", -32) + "\n")
    assert message == read_back(message, envelope)


def test_there_are_no_golden_files_of_messages_that_are_gone() -> None:
    names = {path.stem for path in (FOLDER / "wire").glob("*.hex")}

    assert names == {name_of(kind) for kind in KINDS} | {"Error", "ReplyWithSender"}


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_more_fields_than_are_known_are_ignored(message: Message) -> None:
    """So that a later release can append some; a record's state in the middle of others too."""
    more = [*fields_of(message), None, "new", 17]

    assert message == type(message).parse(more)
    if isinstance(message, StatesReply):
        (rows,) = fields_of(message)
        assert isinstance(rows, list)
        longer = [row if row is None else [*row, "new"] for row in rows]
        assert message == type(message).parse([longer])


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_fewer_fields_than_are_known_are_refused(message: Message) -> None:
    fields = fields_of(message)
    for count in range(len(fields)):
        with pytest.raises(PeerProtocol, match="fields"):
            type(message).parse(fields[:count])


@given(states)
def test_a_state_reads_back(state: RecordState) -> None:
    assert state == parse_state(pack_state(state))


@pytest.mark.parametrize(
    "packed",
    [
        (3, 0, 0, 0, 0),  # a kind that is none
        (1, -1, 0, 0, 0),
        (1, 0, 2 * GENERATION_MAX + 2, 0, 0),
        (1, 0, 0, 8, 0),  # a flag that is none
        (1, 0, 0, 0, -1),
        (1, 0, 0, 0, INTEGER_MAX + 1),
        (1, 0, 0, 0, 0.5),
        (1, 0, 0, True, 0),
        (1, 0, 0, 0),
        {},
        None,
        b"\1\0\0\0\0",
    ],
)
def test_a_state_that_makes_no_sense_is_refused(packed: object) -> None:
    with pytest.raises(PeerProtocol):
        parse_state(packed)


@pytest.mark.parametrize(
    ("kind", "fields", "error"),
    [
        (PutRecord, [KEY, 3, 0, 1, None], PeerProtocol),
        (PutRecord, [KEY, 1, 0, GENERATION_MAX + 1, None], PeerProtocol),
        (PutRecord, [KEY, 1, 0, 1, b""], InvalidDigest),
        (PutRecord, [KEY, 1, 0, 1, KEY], InvalidDigest),  # a key is no digest
        (PutRecord, [BLOB.key, 1, 0, 1, None], PeerProtocol),  # nor is a digest a key
        (PutRecord, [str(BLOB), 1, 0, 1, None], PeerProtocol),
        (PutReply, [2 * GENERATION_MAX + 2, 0, True], PeerProtocol),
        (PutReply, [0, GENERATION_MAX + 1, True], PeerProtocol),
        (PutReply, [0, 0, 1], PeerProtocol),
        (GetRecord, [KEY[:-1], 0], InvalidDigest),
        (GetRecord, [b"", 0], PeerProtocol),
        (GetRecord, [KEY, PAYLOAD_BYTES_MAX + 1], PeerProtocol),
        (StatRecords, [KEY], PeerProtocol),
        (StatRecords, [[KEY] * (KEYS_PER_REQUEST_MAX + 1)], PeerProtocol),
        (StatesReply, [[None] * (KEYS_PER_REQUEST_MAX + 1)], PeerProtocol),
        (ConfirmChunks, [BLOB.key, [BLOB.key] * (KEYS_PER_REQUEST_MAX + 1)], PeerProtocol),
        (FlagsReply, [[True] * (KEYS_PER_REQUEST_MAX + 1)], PeerProtocol),
        (FlagsReply, [[1]], PeerProtocol),
        (BuryRecord, [KEY, GENERATION_MAX + 1], PeerProtocol),
        (BuryRecord, [KEY, -1], PeerProtocol),
        (VerifyReply, [3], PeerProtocol),
        (VerifyReply, [True], PeerProtocol),
    ],
)
def test_what_is_out_of_bounds_is_refused(
    kind: type[Message], fields: list[object], error: type[HoldfastError]
) -> None:
    with pytest.raises(error):
        kind.parse(fields)


LONGEST = Digest(Algorithm.SHA512, b"\xff" * 64)
FULLEST = RecordState(
    RecordKind.RECIPE, INTEGER_MAX, Root(2 * GENERATION_MAX + 1), True, True, INTEGER_MAX
)


@pytest.mark.parametrize(
    "message",
    [
        StatRecords((RecordKey(LONGEST),) * KEYS_PER_REQUEST_MAX),
        StatesReply((FULLEST,) * KEYS_PER_REQUEST_MAX),
        ConfirmChunks(LONGEST, (LONGEST,) * KEYS_PER_REQUEST_MAX),
        FlagsReply((True,) * KEYS_PER_REQUEST_MAX),
        PageReply((RecordEntry(RecordKey(LONGEST), FULLEST),) * LIST_ENTRIES_MAX, False),
        ClaimsReply((LONGEST,) * LIST_ENTRIES_MAX, False),
    ],
    ids=name_of,
)
def test_the_longest_message_fits_into_an_envelope(message: Message) -> None:
    envelope = envelope_of(message)

    assert len(envelope) <= ENVELOPE_BYTES_MAX
    assert message == read_back(message, envelope)


def test_an_answer_of_another_kind_is_the_peers_fault() -> None:
    answer = Answer(NodeId("a"), LIFE, True, RecordReply(STATE))

    assert RecordReply(STATE) == expect(answer, RecordReply)
    with pytest.raises(PeerProtocol, match="a answered RecordReply"):
        expect(answer, PutReply)


def test_what_is_no_message_has_no_fields() -> None:
    with pytest.raises(NotImplementedError):
        Message().pack()
    with pytest.raises(NotImplementedError):
        Message.parse([])
