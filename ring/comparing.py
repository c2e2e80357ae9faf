"""Messages by which nodes compare what they keep, and tell each other what to look at.

A *prefix* is a text of hexadecimal digits: the leading digits of a digest's raw bytes, whatever its
algorithm.  The empty one stands for everything, three digits for a partition.

Rules:
1.  Both sides leave out the partitions that they do not both keep (ring/keepers.py) while the nodes
    in `absent` are away: they live by the same layouts, so they agree on which these are.
2.  Sums and lists count only from a node that votes everywhere.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, Self

from msgspec import Struct

from ring.errors import PeerProtocol
from ring.facts import FINGERPRINT_BYTES
from ring.fields import Packed, integer, items, octets, row, text
from ring.life import NodeId
from ring.limits import KEYS_PER_REQUEST_MAX, MEMBERS_MAX
from ring.messages import Reply, Request, pack_state, parse_state
from ring.record import RecordKey, RecordState

PREFIXES_MAX: Final = 1_024
PREFIX_DIGITS_MAX: Final = 64
FACTS_MAX: Final = 8_192
_DIGITS: Final = frozenset("0123456789abcdef")


def _prefixes(value: object) -> tuple[str, ...]:
    prefixes = tuple(text(prefix, PREFIX_DIGITS_MAX) for prefix in items(value, PREFIXES_MAX))
    for prefix in prefixes:
        if not _DIGITS.issuperset(prefix):
            raise PeerProtocol(f"{prefix[:16]!r} is no prefix")
    return prefixes


def _nodes(value: object) -> tuple[NodeId, ...]:
    return tuple(NodeId(text(node, 64)) for node in items(value, MEMBERS_MAX))


class SumPrefixes(Request, frozen=True):
    """What the facts below each prefix add up to, in partitions that asker and answerer keep.

    absent: nodes that the asker makes up for, in order.
    """

    op = 48
    prefixes: tuple[str, ...]
    absent: tuple[NodeId, ...] = ()

    def pack(self) -> Packed:
        return (self.prefixes, self.absent)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        prefixes, absent = row(fields, 2)
        return cls(_prefixes(prefixes), _nodes(absent))


class PrefixSum(Struct, frozen=True):
    """fingerprint: see FactSum; count: facts below the prefix."""

    fingerprint: bytes
    count: int


class SumsReply(Reply, frozen=True):
    """A sum for each prefix, in order."""

    op = 49
    sums: tuple[PrefixSum, ...]

    def pack(self) -> Packed:
        return ([(found.fingerprint, found.count) for found in self.sums],)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (sums,) = row(fields, 1)
        pairs = (row(pair, 2) for pair in items(sums, PREFIXES_MAX))
        return cls(
            tuple(PrefixSum(octets(mark, FINGERPRINT_BYTES), integer(n)) for mark, n in pairs)
        )


class ListFacts(Request, frozen=True):
    """The records below each prefix, with all that there is to agree on of each as one number."""

    op = 50
    prefixes: tuple[str, ...]
    absent: tuple[NodeId, ...] = ()

    def pack(self) -> Packed:
        return (self.prefixes, self.absent)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        prefixes, absent = row(fields, 2)
        return cls(_prefixes(prefixes), _nodes(absent))


class FactsReply(Reply, frozen=True):
    """Keys in order below each prefix; `None` when they are too many to be listed."""

    op = 51
    facts: tuple[tuple[RecordKey, int], ...] | None

    def pack(self) -> Packed:
        if self.facts is None:
            return (None,)
        return ([(key.raw, fact) for key, fact in self.facts],)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (facts,) = row(fields, 1)
        if facts is None:
            return cls(None)
        pairs = (row(pair, 2) for pair in items(facts, FACTS_MAX))
        return cls(tuple((RecordKey.from_raw(octets(key)), integer(fact)) for key, fact in pairs))


class Description(Struct, frozen=True):
    """All that a node knows of a record.  claims: fingerprint of the set of claims on it."""

    state: RecordState
    claims: bytes


class DescribeRecords(Request, frozen=True):
    """has_object for many: whether each is here, when that was verified, and who claims it."""

    op = 52
    keys: tuple[RecordKey, ...]

    def pack(self) -> Packed:
        return ([key.raw for key in self.keys],)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (keys,) = row(fields, 1)
        raw = items(keys, KEYS_PER_REQUEST_MAX)
        return cls(tuple(RecordKey.from_raw(octets(key)) for key in raw))


class DescriptionsReply(Reply, frozen=True):
    """In order; None for records that the node may not vote on."""

    op = 53
    descriptions: tuple[Description | None, ...]

    def pack(self) -> Packed:
        rows = [
            None if found is None else (pack_state(found.state), found.claims)
            for found in self.descriptions
        ]
        return (rows,)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (rows,) = row(fields, 1)
        return cls(tuple(map(_description, items(rows, KEYS_PER_REQUEST_MAX))))


def _description(value: object) -> Description | None:
    if value is None:
        return None
    state, claims = row(value, 2)
    return Description(parse_state(state), octets(claims, FINGERPRINT_BYTES))


class HintReason(enum.IntEnum):
    """Why a node should look at a record; the numbers are on the wire."""

    MISSED_WRITE = 1  # a gateway wrote it and this node did not answer, or read it elsewhere
    HANDOFF = 3  # a node keeps it for this one
    COMPARISON = 4  # another keeper has what this node has not
    COLLECTED = 5  # another keeper found that nobody claims it any more


_REASONS: Final = {int(reason): reason for reason in HintReason}


class HintRecords(Request, frozen=True):
    """Please look at these records: some keeper has more of them than you."""

    op = 54
    reason: HintReason
    keys: tuple[RecordKey, ...]

    def pack(self) -> Packed:
        return (int(self.reason), [key.raw for key in self.keys])

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        reason, keys = row(fields, 2)
        known = _REASONS.get(integer(reason))
        if known is None:
            raise PeerProtocol(f"hint for reason {reason!r}")
        raw = items(keys, KEYS_PER_REQUEST_MAX)
        return cls(known, tuple(RecordKey.from_raw(octets(key)) for key in raw))


class HintReply(Reply, frozen=True):
    """accepted: how many of them it will look at; the others find no room at the moment."""

    op = 55
    accepted: int

    def pack(self) -> Packed:
        return (self.accepted,)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (accepted,) = row(fields, 1)
        return cls(integer(accepted))
