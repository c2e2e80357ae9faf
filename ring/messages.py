"""Everything that is said between processes, as values.

A message packs itself into a tuple of msgpack primitives and parses itself back; bytes of a record
travel beside it as the frame's payload and are no field.  Parsing checks types and bounds, since
the peer may be another release or no Holdfast at all: what does not fit is `PeerProtocol`.

Rules:
1.  Numbers in `op` never change their meaning; an unknown one is answered with `Unsupported`.
2.  Fields are only ever appended; a parser ignores more fields than it knows.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import ClassVar, Final, Self, TypeVar

from msgspec import Struct

from ring.admission import PutAnswer
from ring.digest import Digest
from ring.errors import PeerProtocol
from ring.fields import Packed, flag, integer, items, octets, optional_digest, row
from ring.life import Life, NodeId
from ring.limits import GENERATION_MAX, KEYS_PER_REQUEST_MAX, PAYLOAD_BYTES_MAX
from ring.record import RecordKey, RecordKind, RecordState, Root


class Message(Struct, frozen=True):
    """Base of requests and replies."""

    op: ClassVar[int]

    def pack(self) -> Packed:
        """The fields as msgpack primitives."""
        raise NotImplementedError

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        """Read what `pack` wrote; raises PeerProtocol or InvalidDigest."""
        raise NotImplementedError


class Request(Message, frozen=True):
    """What is asked of a node."""


class Reply(Message, frozen=True):
    """What a node answers when it is no error."""


ReplyT = TypeVar("ReplyT", bound=Reply)


_KINDS: Final = tuple(RecordKind)  # by number: looking one up is cheaper than calling the enum
assert [int(kind) for kind in _KINDS] == list(range(len(_KINDS)))


def _parse_kind(value: object) -> RecordKind:
    return _KINDS[integer(value, len(_KINDS) - 1)]


def pack_state(state: RecordState) -> Packed:
    """kind, size in bytes, root, flags (1 held, 2 claimed, 4 settled), verified-at second."""
    flags = state.held | state.claimed << 1 | state.settled << 2
    return (int(state.kind), state.size_bytes, state.root, flags, state.verified_at_s)


def parse_state(value: object) -> RecordState:
    """Read `pack_state`."""
    kind, size_bytes, root, flags, verified_at_s = row(value, 5)
    bits = integer(flags, 7)
    return RecordState(
        _parse_kind(kind),
        integer(size_bytes),
        Root(integer(root, 2 * GENERATION_MAX + 1)),
        bool(bits & 1),
        bool(bits & 2),
        integer(verified_at_s),
        bool(bits & 4),
    )


class PutRecord(Request, frozen=True):
    """Keep the payload.

    generation: of the live root to make; 0 for a chunk, which gets no root.
    claimant: the large blob whose recipe names this chunk; None when it is not known yet.
    size_bytes: of the blob; for kind DATA the payload's length.
    """

    op = 1
    key: RecordKey
    kind: RecordKind
    size_bytes: int
    generation: int
    claimant: Digest | None

    def pack(self) -> Packed:
        claimant = None if self.claimant is None else self.claimant.key
        return (self.key.raw, int(self.kind), self.size_bytes, self.generation, claimant)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        key, kind, size_bytes, generation, claimant = row(fields, 5)
        return cls(
            RecordKey.from_raw(octets(key)),
            _parse_kind(kind),
            integer(size_bytes),
            integer(generation, GENERATION_MAX),
            optional_digest(claimant),
        )


class PutReply(Reply, frozen=True):
    """See PutAnswer: root afterwards, floor of the partition, whether a good copy was here."""

    op = 2
    answer: PutAnswer

    def pack(self) -> Packed:
        return (self.answer.root, self.answer.floor, self.answer.had)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        root, floor, had = row(fields, 3)
        return cls(
            PutAnswer(
                Root(integer(root, 2 * GENERATION_MAX + 1)),
                integer(floor, GENERATION_MAX),
                flag(had),
            )
        )


class GetRecord(Request, frozen=True):
    """The state, and the value as payload when a copy is held and not known to be bad.

    bytes_max: a longer value is not sent; the asker then asks again where large values travel, so
    that no small question waits behind it.  The node does not hash what the asker will verify.
    """

    op = 3
    key: RecordKey
    bytes_max: int = PAYLOAD_BYTES_MAX

    def pack(self) -> Packed:
        return (self.key.raw, self.bytes_max)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        key, bytes_max = row(fields, 2)
        return cls(RecordKey.from_raw(octets(key)), integer(bytes_max, PAYLOAD_BYTES_MAX))


class RecordReply(Reply, frozen=True):
    """A record's state; to GetRecord the value is the payload unless it is longer than wanted."""

    op = 4
    state: RecordState

    def pack(self) -> Packed:
        return pack_state(self.state)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        return cls(parse_state(fields))


class StatRecords(Request, frozen=True):
    """The states of several records, in order."""

    op = 5
    keys: tuple[RecordKey, ...]

    def pack(self) -> Packed:
        return ([key.raw for key in self.keys],)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (keys,) = row(fields, 1)
        raws = items(keys, KEYS_PER_REQUEST_MAX)
        return cls(tuple(RecordKey.from_raw(octets(raw)) for raw in raws))


class StatesReply(Reply, frozen=True):
    """One state for each key asked about; None where this node may not vote."""

    op = 6
    states: tuple[RecordState | None, ...]

    def pack(self) -> Packed:
        return ([None if state is None else pack_state(state) for state in self.states],)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (states,) = row(fields, 1)
        values = items(states, KEYS_PER_REQUEST_MAX)
        return cls(tuple(None if value is None else parse_state(value) for value in values))


class ConfirmChunks(Request, frozen=True):
    """Make sure that each chunk is here, not condemned, and claimed by `claimant`, durably."""

    op = 7
    claimant: Digest
    chunks: tuple[Digest, ...]

    def pack(self) -> Packed:
        return (self.claimant.key, [chunk.key for chunk in self.chunks])

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        claimant, chunks = row(fields, 2)
        keys = items(chunks, KEYS_PER_REQUEST_MAX)
        return cls(
            Digest.from_key(octets(claimant)),
            tuple(Digest.from_key(octets(key)) for key in keys),
        )


class FlagsReply(Reply, frozen=True):
    """One yes or no for each item asked about; a node that may not vote says no."""

    op = 8
    flags: tuple[bool, ...]

    def pack(self) -> Packed:
        return (list(self.flags),)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (flags,) = row(fields, 1)
        return cls(tuple(flag(value) for value in items(flags, KEYS_PER_REQUEST_MAX)))


class BuryRecord(Request, frozen=True):
    """Hold a tombstone at `generation`, whether or not there is a record; answers RecordReply.

    skips_trash: bytes shall not wait in the trash.
    """

    op = 9
    key: RecordKey
    generation: int
    skips_trash: bool = False

    def pack(self) -> Packed:
        return (self.key.raw, self.generation, self.skips_trash)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        key, generation, skips_trash = row(fields, 3)
        return cls(
            RecordKey.from_raw(octets(key)),
            integer(generation, GENERATION_MAX),
            flag(skips_trash),
        )


class CopyVerdict(enum.IntEnum):
    """What a node found when it hashed its own copy."""

    ABSENT = 0
    GOOD = 1
    QUARANTINED = 2


class VerifyRecord(Request, frozen=True):
    """Hash your copy now and quarantine a bad one: how a gateway reports what it was sent."""

    op = 10
    key: RecordKey

    def pack(self) -> Packed:
        return (self.key.raw,)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (key,) = row(fields, 1)
        return cls(RecordKey.from_raw(octets(key)))


class VerifyReply(Reply, frozen=True):
    """What was found."""

    op = 11
    verdict: CopyVerdict

    def pack(self) -> Packed:
        return (int(self.verdict),)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (verdict,) = row(fields, 1)
        return cls(CopyVerdict(integer(verdict, max(CopyVerdict))))


class Answer(Struct, frozen=True):
    """A reply as it reaches the asker.

    payload: a record's value, or None.
    voter: whether the sender may vote on what was asked; otherwise it counts as silent.
    peers: lives of others that the sender knows; None when nothing is new since its last answer.
    """

    node: NodeId
    life: Life
    voter: bool
    reply: Reply
    payload: bytes | bytearray | memoryview | None = None
    peers: tuple[tuple[NodeId, Life], ...] | None = None


def expect(answer: Answer, kind: type[ReplyT]) -> ReplyT:
    """The reply, which must be of the kind that the request promises."""
    if not isinstance(answer.reply, kind):
        raise PeerProtocol(f"{answer.node} answered {type(answer.reply).__name__}")
    return answer.reply
