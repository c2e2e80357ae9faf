"""Frames and envelopes of the node protocol: bytes on one side, values on the other.

A frame is an 8-byte header (little-endian u32 envelope length, u32 payload length or 0xFFFFFFFF
when there is no payload, which is not the same as an empty one), a msgpack envelope and a raw
payload.  Envelopes:

    request  [id, op, deadline_ms, epochs, fields]     deadline_ms: how long the asker waits
    reply    [id, op, voter, sender, fields]           sender: nil when unchanged on this
                                                       connection, else [life, [[node, life], ...]]
    error    [id, 0, code, detail, facts]

The only use of msgpack on the wire.  Nothing here reads a socket.
"""

from __future__ import annotations

import struct
from typing import Final

import msgpack
from msgspec import Struct

from ring import comparing, control, listing, messages, operating, purging
from ring.errors import HoldfastError, InvalidDigest, PeerProtocol, Unsupported, error_class
from ring.fields import flag, integer, items, row, text
from ring.life import Life
from ring.limits import ENVELOPE_BYTES_MAX, PAYLOAD_BYTES_MAX
from ring.messages import Message, Reply, Request

HEADER: Final = struct.Struct("<II")
PROTOCOL_VERSION: Final = 1
NO_PAYLOAD: Final = 0xFFFF_FFFF
_ERROR_OP: Final = 0

_MESSAGES: Final[tuple[type[Message], ...]] = (
    messages.PutRecord,
    messages.PutReply,
    messages.GetRecord,
    messages.RecordReply,
    messages.StatRecords,
    messages.StatesReply,
    messages.ConfirmChunks,
    messages.FlagsReply,
    messages.BuryRecord,
    messages.VerifyRecord,
    messages.VerifyReply,
    listing.ListRecords,
    listing.PageReply,
    listing.ListClaims,
    listing.ClaimsReply,
    purging.HoldTombstones,
    purging.FetchEarlier,
    purging.EarlierReply,
    purging.CollectGarbage,
    purging.CollectionReply,
    comparing.SumPrefixes,
    comparing.SumsReply,
    comparing.ListFacts,
    comparing.FactsReply,
    comparing.DescribeRecords,
    comparing.DescriptionsReply,
    comparing.HintRecords,
    comparing.HintReply,
    control.Introduce,
    control.IntroducedReply,
    control.FetchLayouts,
    control.TeachLayouts,
    control.LayoutsReply,
    control.GetFloors,
    control.FloorsReply,
    control.GetStatus,
    control.StatusReply,
    operating.GetCare,
    operating.CareReply,
    operating.StartCare,
    operating.StartedReply,
    operating.ExplainRecord,
    operating.RecordStory,
)
_requests: Final = {kind.op: kind for kind in _MESSAGES if issubclass(kind, Request)}
_replies: Final = {kind.op: kind for kind in _MESSAGES if issubclass(kind, Reply)}
assert len({kind.op for kind in _MESSAGES} - {_ERROR_OP}) == len(_requests) + len(_replies)
assert len(_requests) + len(_replies) == len(_MESSAGES)

_packer: Final = msgpack.Packer(use_bin_type=True)


class RequestEnvelope(Struct, frozen=True):
    """A request with what every request carries."""

    request_id: int
    deadline_ms: int
    epochs: tuple[int, ...]
    request: Request


class Sender(Struct, frozen=True):
    """Which life answers, and which lives of others it knows."""

    life: Life
    peers: control.Lives


class ReplyEnvelope(Struct, frozen=True):
    """A reply or an error; `sender` is None when unchanged on this connection."""

    request_id: int
    voter: bool
    sender: Sender | None
    outcome: Reply | HoldfastError


def frame(envelope: bytes, payload_bytes: int | None = None) -> bytes:
    """Header and envelope; a payload of that length, if any, follows on its own."""
    assert len(envelope) <= ENVELOPE_BYTES_MAX, len(envelope)
    if payload_bytes is None:
        return HEADER.pack(len(envelope), NO_PAYLOAD) + envelope
    assert payload_bytes <= PAYLOAD_BYTES_MAX, payload_bytes
    return HEADER.pack(len(envelope), payload_bytes) + envelope


def pack(value: object) -> bytes:
    """Packed with the options of this protocol."""
    packed: bytes = _packer.pack(value)
    return packed


def unpack(data: bytes | bytearray | memoryview) -> object:
    """Read one msgpack value; raises PeerProtocol."""
    try:
        value: object = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise PeerProtocol(f"envelope is not msgpack: {error}") from error
    return value


def encode_request(
    request_id: int, request: Request, *, deadline_ms: int, epochs: tuple[int, ...]
) -> bytes:
    """The envelope of a request."""
    return pack((request_id, request.op, deadline_ms, epochs, request.pack()))


def decode_request(envelope: bytes | bytearray | memoryview) -> RequestEnvelope:
    """Read a request.

    Raises PeerProtocol when the envelope is broken (the connection is of no more use), and
    RejectedRequest when only this request is.
    """
    request_id, op, deadline_ms, epochs, fields = row(unpack(envelope), 5)
    number = integer(request_id)
    kind = _requests.get(integer(op))
    if kind is None:
        raise RejectedRequest(number, Unsupported(f"message {op!r} is not known to this release"))
    try:
        request = kind.parse(items(fields))
    except (PeerProtocol, InvalidDigest) as error:
        raise RejectedRequest(number, error) from error
    known_epochs = tuple(map(integer, items(epochs, 2)))
    return RequestEnvelope(number, integer(deadline_ms), known_epochs, request)


class RejectedRequest(Exception):
    """One request cannot be served; the connection goes on.  Not an error class of the wire."""

    def __init__(self, request_id: int, error: HoldfastError) -> None:
        super().__init__(str(error))
        self.request_id = request_id
        self.error = error


def encode_reply(request_id: int, reply: Reply, *, voter: bool, sender: Sender | None) -> bytes:
    """The envelope of a reply."""
    packed = None
    if sender is not None:
        packed = (control.pack_life(sender.life), control.pack_lives(sender.peers))
    return pack((request_id, reply.op, voter, packed, reply.pack()))


def encode_error(request_id: int, error: HoldfastError) -> bytes:
    """The envelope of an error; what is no Unicode in it (an odd path) is written in escapes."""
    facts = {
        name: _unicode(fact) if isinstance(fact, str) else fact
        for name, fact in error.facts.items()
    }
    return pack((request_id, _ERROR_OP, error.code, _unicode(error.detail[:4096]), facts))


def _unicode(words: str) -> str:
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def decode_reply(envelope: bytes | bytearray | memoryview) -> ReplyEnvelope:
    """Read a reply or an error; raises PeerProtocol."""
    request_id, op, voter, told, fields = row(unpack(envelope), 5)
    number = integer(request_id)
    kind = _replies.get(integer(op))
    if kind is None:
        if op == _ERROR_OP:
            return ReplyEnvelope(number, False, None, _decode_error(voter, told, fields))
        raise PeerProtocol(f"reply {op!r} is not known to this release")
    sender = None
    if told is not None:
        life, peers = row(told, 2)
        sender = Sender(control.parse_life(life), control.parse_lives(peers))
    try:
        reply = kind.parse(items(fields))
    except InvalidDigest as error:
        raise PeerProtocol(f"reply {op!r}: {error}") from error
    return ReplyEnvelope(number, flag(voter), sender, reply)


def _decode_error(code: object, detail: object, facts: object) -> HoldfastError:
    if not isinstance(facts, dict):
        raise PeerProtocol("error without facts")
    values: dict[str, str | int | bytes] = {
        name: value
        for name, value in facts.items()
        if isinstance(name, str) and isinstance(value, str | int | bytes) and name != "detail"
    }
    return error_class(text(code))(text(detail), **values)
