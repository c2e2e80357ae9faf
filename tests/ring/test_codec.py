"""Envelopes: what is said is read, and whatever else arrives is refused by the right error."""

import struct
from collections.abc import Iterator
from random import Random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring.codec import (
    HEADER,
    NO_PAYLOAD,
    RejectedRequest,
    ReplyEnvelope,
    RequestEnvelope,
    Sender,
    decode_reply,
    decode_request,
    encode_error,
    encode_reply,
    encode_request,
    frame,
    pack,
    unpack,
)
from ring.errors import (
    BadLength,
    HoldfastError,
    InvalidDigest,
    NotFound,
    PeerProtocol,
    Unsupported,
    WrongEpoch,
    every_error,
)
from ring.life import Life, NodeId
from ring.limits import ENVELOPE_BYTES_MAX, MEMBERS_MAX, PAYLOAD_BYTES_MAX
from ring.messages import FlagsReply, GetRecord, Message, Reply, Request
from tests.golden.golden_file import Golden
from tests.ring.every_message import EXAMPLES, LIFE, STRATEGIES
from tests.ring.values import INTEGER_MAX, lives, nodes

REQUESTS = [message for message in EXAMPLES if isinstance(message, Request)]
REPLIES = [message for message in EXAMPLES if isinstance(message, Reply)]
SENDER = Sender(LIFE, ((NodeId("a"), LIFE), (NodeId("b"), Life(1, 2, 3))))

# What msgpack can say and a field may not be, or only some fields.
ODD: list[object] = [
    None, True, False, -1, 0, 1, 5, INTEGER_MAX, INTEGER_MAX + 1, (1 << 64) - 1, -(1 << 63), 0.5,
    float("nan"), "", "x" * 70, "\0", "\U0001f600", b"", b"\0" * 9, b"\1" * 33, b"\xff" * 70, [],
    [[]], [None] * 8, [0] * 8, [b""], {}, {"": 0}, msgpack.Timestamp(0), msgpack.ExtType(5, b"x"),
]


def said(message: Message) -> bytes:
    if isinstance(message, Request):
        return encode_request(7, message, deadline_ms=1_500, epochs=(5, 6))
    assert isinstance(message, Reply)
    return encode_reply(7, message, voter=False, sender=SENDER)


def assert_it_may_reject(error: HoldfastError) -> None:
    assert isinstance(error, PeerProtocol | InvalidDigest | Unsupported)


def read(envelope: bytes, *, is_request: bool) -> None:
    """Read what may be garbage: nothing but the errors promised, and only sense gets through."""
    if not is_request:
        try:
            answer = decode_reply(envelope)
        except PeerProtocol:
            return
        if isinstance(answer.outcome, Reply):
            encode_reply(answer.request_id, answer.outcome, voter=True, sender=answer.sender)
        else:
            encode_error(answer.request_id, answer.outcome)
        return
    try:
        asked = decode_request(envelope)
    except PeerProtocol:
        return
    except RejectedRequest as rejected:
        assert_it_may_reject(rejected.error)
        encode_error(rejected.request_id, rejected.error)
        return
    encode_request(
        asked.request_id, asked.request, deadline_ms=asked.deadline_ms, epochs=asked.epochs
    )


@given(st.data(), st.integers(0, INTEGER_MAX), st.integers(0, INTEGER_MAX))
@settings(max_examples=50)
def test_a_request_reads_back_with_all_that_it_carries(
    data: st.DataObject, number: int, deadline_ms: int
) -> None:
    kind = data.draw(st.sampled_from([type(message) for message in REQUESTS]))
    request = data.draw(STRATEGIES[kind])
    epochs = tuple(data.draw(st.lists(st.integers(0, INTEGER_MAX), max_size=2)))
    assert isinstance(request, Request)
    envelope = encode_request(number, request, deadline_ms=deadline_ms, epochs=epochs)

    assert RequestEnvelope(number, deadline_ms, epochs, request) == decode_request(envelope)
    assert decode_request(bytearray(envelope)) == decode_request(memoryview(envelope))


@given(
    st.data(),
    st.integers(0, INTEGER_MAX),
    st.booleans(),
    st.none() | st.builds(Sender, lives, st.lists(st.tuples(nodes, lives), max_size=3).map(tuple)),
)
@settings(max_examples=50)
def test_a_reply_reads_back_with_all_that_it_carries(
    data: st.DataObject, number: int, voter: bool, sender: Sender | None
) -> None:
    kind = data.draw(st.sampled_from([type(message) for message in REPLIES]))
    reply = data.draw(STRATEGIES[kind])
    assert isinstance(reply, Reply)
    envelope = encode_reply(number, reply, voter=voter, sender=sender)

    assert ReplyEnvelope(number, voter, sender, reply) == decode_reply(envelope)


def test_a_reply_with_its_sender_is_the_same_bytes_for_ever(golden: Golden) -> None:
    envelope = encode_reply(1 << 40, FlagsReply((True,)), voter=True, sender=SENDER)

    golden.check("wire/ReplyWithSender.hex", envelope.hex("\n", -32) + "\n")


def test_an_error_is_the_same_bytes_for_ever(golden: Golden) -> None:
    error = BadLength("sha256 needs 64", algorithm="sha256", expected=64, actual=-1, raw=b"\0")

    golden.check("wire/Error.hex", encode_error(300, error).hex("\n", -32) + "\n")


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.code)
def test_every_error_arrives_as_what_it_was(kind: type[HoldfastError]) -> None:
    error = kind("what was wrong", text="tëxt", number=1 << 40, negative=-1, raw=b"\xff\0")
    answer = decode_reply(encode_error(7, error))

    assert (7, False, None) == (answer.request_id, answer.voter, answer.sender)
    assert isinstance(answer.outcome, HoldfastError)
    assert kind is type(answer.outcome)
    assert "what was wrong" == answer.outcome.detail == str(answer.outcome)
    assert error.facts == answer.outcome.facts


def test_an_error_of_a_later_release_is_the_peers_fault() -> None:
    answer = decode_reply(pack((7, 0, "too_hot", "the node melts", {"degrees": 90})))

    assert PeerProtocol is type(answer.outcome)
    assert isinstance(answer.outcome, PeerProtocol)
    assert "the node melts" == answer.outcome.detail
    assert {"degrees": 90} == answer.outcome.facts


@pytest.mark.parametrize("name", ["self", "detail", "cls", "code", "args", "", "a b", "ë"])
def test_a_fact_may_have_any_name(name: str) -> None:
    answer = decode_reply(pack((7, 0, "busy", "later", {name: 1, "other": 2})))

    assert isinstance(answer.outcome, HoldfastError)
    assert "later" == answer.outcome.detail
    assert 2 == answer.outcome.facts["other"]


def test_facts_that_are_none_are_left_out() -> None:
    odd: dict[str | bytes, object] = {"list": [1], "nil": None, "half": 0.5, "map": {}}
    facts = {**odd, b"raw name": 1, "good": "yes"}
    answer = decode_reply(pack((7, 0, "busy", "later", facts)))

    assert isinstance(answer.outcome, HoldfastError)
    assert {"good": "yes"} == answer.outcome.facts


def test_a_long_detail_is_cut() -> None:
    answer = decode_reply(encode_error(7, NotFound("x" * 5_000)))

    assert isinstance(answer.outcome, NotFound)
    assert "x" * 4_096 == answer.outcome.detail


def test_a_detail_that_is_no_unicode_arrives_all_the_same() -> None:
    """As a path of a strange file system would make one."""
    error = WrongEpoch("file \udcff", path="a\udcff")
    answer = decode_reply(encode_error(7, error))

    assert isinstance(answer.outcome, WrongEpoch)
    assert "file \\udcff" == answer.outcome.detail
    assert {"path": "a\\udcff"} == answer.outcome.facts


@pytest.mark.parametrize("op", [0, 2, 31, 1_000, INTEGER_MAX])
def test_an_unknown_request_is_refused_and_the_next_one_is_served(op: int) -> None:
    with pytest.raises(RejectedRequest) as caught:
        decode_request(pack((7, op, 0, (), ())))

    assert 7 == caught.value.request_id
    assert Unsupported is type(caught.value.error)


@pytest.mark.parametrize("op", [1, 31, 1_000, INTEGER_MAX])
def test_an_unknown_reply_is_the_peers_fault(op: int) -> None:
    with pytest.raises(PeerProtocol, match="not known"):
        decode_reply(pack((7, op, True, None, ())))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_more_parts_than_are_known_are_ignored(message: Message) -> None:
    parts = unpack(said(message))
    assert isinstance(parts, list)
    longer = pack([*parts, "new", {}])

    if isinstance(message, Request):
        assert decode_request(said(message)) == decode_request(longer)
    else:
        assert decode_reply(said(message)) == decode_reply(longer)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_every_truncation_is_refused(message: Message) -> None:
    whole = said(message)
    for length in range(0, len(whole), 1 + len(whole) // 500):
        with pytest.raises(PeerProtocol):
            if isinstance(message, Request):
                decode_request(whole[:length])
            else:
                decode_reply(whole[:length])


@pytest.mark.parametrize("tail", [b"\0", b"\xc0", b"\xc1", b"\x95"])
def test_bytes_after_the_envelope_are_refused(tail: bytes) -> None:
    with pytest.raises(PeerProtocol):
        decode_request(said(REQUESTS[0]) + tail)
    with pytest.raises(PeerProtocol):
        decode_reply(said(REPLIES[0]) + tail)


def twisted(value: object) -> Iterator[object]:
    """The value with one part of it, at any depth, replaced by each odd thing, doubled or gone."""
    yield from ODD
    if isinstance(value, list):
        for at, part in enumerate(value):
            yield [*value[:at], *value[at + 1 :]]
            yield [*value[:at], part, *value[at:]]
            for other in twisted(part):
                yield [*value[:at], other, *value[at + 1 :]]
    if isinstance(value, bytes) and value:
        yield value[:-1]
        yield value + b"\0"
        yield bytes((value[0] ^ 1,)) + value[1:]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_one_odd_part_anywhere_is_refused_or_makes_sense(message: Message) -> None:
    for value in twisted(unpack(said(message))):
        read(pack(value), is_request=isinstance(message, Request))


def test_an_odd_part_of_an_error_is_refused_or_makes_sense() -> None:
    error = BadLength("sha256 needs 64", algorithm="sha256", expected=64)
    for value in twisted(unpack(encode_error(7, error))):
        read(pack(value), is_request=False)


@pytest.mark.parametrize("seed", range(8))
def test_garbled_envelopes_are_refused_or_make_sense(seed: int) -> None:
    random = Random(seed)
    for _ in range(400):
        message = random.choice(EXAMPLES)
        envelope = bytearray(said(message))
        for _ in range(random.randint(1, 4)):
            at = random.randrange(min(len(envelope), 300))
            match random.randrange(4):
                case 0:
                    envelope[at] ^= 1 << random.randrange(8)
                case 1:
                    envelope[at] = random.randrange(256)
                case 2:
                    del envelope[at : at + random.randint(1, 8)]
                case _:
                    envelope[at:at] = random.randbytes(random.randint(1, 8))
            if not envelope:
                break
        read(bytes(envelope), is_request=random.random() < 0.5)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_refused_or_make_sense(data: bytes, is_request: bool) -> None:
    read(data, is_request=is_request)


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"\xc1",  # never used by msgpack
        b"\x91" * 2_000 + b"\xc0",  # deeper than the stack
        b"\xdd\xff\xff\xff\xff",  # four billion items
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xa1\xff",  # no UTF-8
        b"\x81\x01\x02",  # a number for a name
        b"\x81\x90\x02",  # a list for a name
        b"\xd6\xff\xff\xff\xff\xff",  # a time
        b"\xd7\xff" + b"\xff" * 8,  # a time with too many nanoseconds
        b"\xc7\x0c\xff" + b"\xff" * 12,
    ],
)
def test_broken_msgpack_is_the_peers_fault(envelope: bytes) -> None:
    with pytest.raises(PeerProtocol):
        decode_request(envelope)
    with pytest.raises(PeerProtocol):
        decode_reply(envelope)


def test_a_request_of_which_only_the_fields_are_broken_is_rejected_by_its_number() -> None:
    with pytest.raises(RejectedRequest) as caught:
        decode_request(pack((9, GetRecord.op, 0, (1,), (b"\0\2short", 0))))

    assert 9 == caught.value.request_id
    assert BadLength is type(caught.value.error)
    assert str(caught.value.error) == str(caught.value)


@pytest.mark.parametrize("epochs", [(1, 2, 3), (-1,), ("1",), None, 1, (True,)])
def test_epochs_that_make_no_sense_are_the_peers_fault(epochs: object) -> None:
    with pytest.raises(PeerProtocol):
        decode_request(pack((7, 34, 0, epochs, ())))


def test_a_sender_knows_of_no_more_than_all_members_that_ever_were() -> None:
    crowd = [[f"n{at}", [1, 1, b"12345678"]] for at in range(4 * MEMBERS_MAX)]
    told = [[1, 1, b"12345678"], crowd]

    answer = decode_reply(pack((7, FlagsReply.op, True, told, [[]])))
    assert answer.sender is not None
    assert 4 * MEMBERS_MAX == len(answer.sender.peers)
    crowd.append(crowd[0])
    with pytest.raises(PeerProtocol):
        decode_reply(pack((7, FlagsReply.op, True, told, [[]])))


def test_packing_that_failed_leaves_nothing_behind() -> None:
    with pytest.raises(TypeError):
        pack([1, 2, object()])

    assert [3] == unpack(pack([3]))


@pytest.mark.parametrize(
    ("payload_bytes", "number"), [(None, NO_PAYLOAD), (0, 0), (PAYLOAD_BYTES_MAX,) * 2]
)
def test_a_frame_is_both_lengths_and_the_envelope(payload_bytes: int | None, number: int) -> None:
    framed = frame(b"envelope", payload_bytes)

    assert struct.pack("<II", 8, number) + b"envelope" == framed
    assert (8, number) == HEADER.unpack_from(framed)


def test_no_frame_goes_beyond_the_limits() -> None:
    assert frame(bytes(ENVELOPE_BYTES_MAX))
    with pytest.raises(AssertionError):
        frame(bytes(ENVELOPE_BYTES_MAX + 1))
    with pytest.raises(AssertionError):
        frame(b"envelope", PAYLOAD_BYTES_MAX + 1)
