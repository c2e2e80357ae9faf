"""Messages by which operators look into nodes: the ledger of copies, background work, orders, and
the story of one record.

Rules:
1.  Nothing here is part of a quorum: what a node says of itself is shown, never counted as an ack.
2.  Every list is bounded by the node that answers.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, Self

from msgspec import Struct

from ring.errors import PeerProtocol
from ring.fields import Packed, flag, integer, items, octets, row, text
from ring.life import NodeId
from ring.limits import MEMBERS_MAX, PARTITIONS
from ring.messages import Reply, Request, pack_state, parse_state
from ring.record import RecordKey, RecordState

COPIES_TOLD: Final = 5  # 0, 1, 2, 3, more
PARTITION_BITMAP_BYTES: Final = PARTITIONS // 8
FIGURES_MAX: Final = 256
REMARKS_MAX: Final = 64
REMARK_CHARACTERS_MAX: Final = 512
INCIDENTS_TOLD_MAX: Final = 64
PLACES_MAX: Final = 16


class LedgerCount(Struct, frozen=True):
    """The digests of the partitions that a node leads, by their verified copies.

    led: bit p % 8 of byte p // 8 stands for partition p.
    copies: digests with 0, 1, 2, 3 and more copies.  short: those with fewer than they shall have.
    unsettled: differences of which this node cannot say what they are before it has looked.
    left_over: chunks of uploads that were broken off, which some keepers have and others need not
        fetch: they go when their grace is over.  They count nowhere else.
    waiting_bytes: of copies that are known to be missing.
    oldest_verified_s: wall-clock second at which the copy here that was hashed longest ago was
        hashed (a lower bound), 0 when there is none.
    age_ms: how long ago the oldest comparison was made that this rests on.
    not_compared: keepers of which it is not known what they have; they count as no copy.
    """

    led: bytes
    copies: tuple[int, ...]
    short: int
    unsettled: int
    left_over: int
    waiting_bytes: int
    oldest_verified_s: int
    age_ms: int
    not_compared: tuple[NodeId, ...]


class GetCare(Request, frozen=True):
    """The ledger of what the node leads, and how far its background work is."""

    op = 64

    def pack(self) -> Packed:
        return ()

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        row(fields, 0)
        return cls()


class CareReply(Reply, frozen=True):
    """ledger: None when nothing can be counted, for the reason given.

    figures: name and value, by name.  remarks: what an operator should know, in sentences.
    """

    op = 65
    ledger: LedgerCount | None
    reason: str
    figures: tuple[tuple[str, int], ...]
    remarks: tuple[str, ...]

    def pack(self) -> Packed:
        ledger = None if self.ledger is None else _pack_ledger(self.ledger)
        return (ledger, self.reason, list(self.figures), list(self.remarks))

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        ledger, reason, figures, remarks = row(fields, 4)
        pairs = [row(pair, 2) for pair in items(figures, FIGURES_MAX)]
        return cls(
            None if ledger is None else _parse_ledger(ledger),
            text(reason, REMARK_CHARACTERS_MAX),
            tuple((text(name, 128), integer(value)) for name, value in pairs),
            tuple(text(remark, REMARK_CHARACTERS_MAX) for remark in items(remarks, REMARKS_MAX)),
        )


def _pack_ledger(ledger: LedgerCount) -> Packed:
    return (
        ledger.led,
        list(ledger.copies),
        ledger.short,
        ledger.unsettled,
        ledger.left_over,
        ledger.waiting_bytes,
        ledger.oldest_verified_s,
        ledger.age_ms,
        list(ledger.not_compared),
    )


def _parse_ledger(value: object) -> LedgerCount:
    led, copies, short, unsettled, left_over, waiting, oldest, age, nodes = row(value, 9)
    bitmap = octets(led, PARTITION_BITMAP_BYTES)
    counts = tuple(map(integer, items(copies, COPIES_TOLD)))
    if len(bitmap) != PARTITION_BITMAP_BYTES or len(counts) != COPIES_TOLD:
        raise PeerProtocol("a ledger of another shape")
    return LedgerCount(
        led=bitmap,
        copies=counts,
        short=integer(short),
        unsettled=integer(unsettled),
        left_over=integer(left_over),
        waiting_bytes=integer(waiting),
        oldest_verified_s=integer(oldest),
        age_ms=integer(age),
        not_compared=tuple(NodeId(text(node, 64)) for node in items(nodes, MEMBERS_MAX)),
    )


class CareOrder(enum.IntEnum):
    """What a node can be told to begin at once; the numbers are on the wire."""

    REPAIR = 1  # a round of comparisons with everybody
    SCRUB = 2  # read every copy again


_ORDERS: Final = {int(order): order for order in CareOrder}


class StartCare(Request, frozen=True):
    """Begin at once what would come in time by itself."""

    op = 66
    order: CareOrder

    def pack(self) -> Packed:
        return (int(self.order),)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (order,) = row(fields, 1)
        known = _ORDERS.get(integer(order))
        if known is None:
            raise PeerProtocol(f"order {order!r} is not known")
        return cls(known)


class StartedReply(Reply, frozen=True):
    """It is done when the figure `repair_rounds` or `scrub_laps` has come to `ticket`."""

    op = 67
    ticket: int

    def pack(self) -> Packed:
        return (self.ticket,)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (ticket,) = row(fields, 1)
        return cls(integer(ticket))


class IncidentKind(enum.IntEnum):
    """What happened to a record on a node; the numbers are on the wire."""

    PUT_ASIDE = 1  # its copy was bad and is kept in quarantine
    MISSING = 2  # its copy was gone
    GIVEN_UP = 3  # its copy could not be read, although others could
    FETCHED = 4  # a verified copy came from another node
    HANDED_OVER = 5  # every owner had it, so the copy kept for them was dropped
    NOT_REPAIRED = 6  # a repair did not work out
    COLLECTED = 7  # nobody claimed the chunk any more
    PURGED = 8  # the delete is known to everybody and was forgotten
    WRONG_RECIPE = 9  # the chunks of a large blob do not add up to its digest
    UNREADABLE = 10  # its copy could not be read; it is tried again


_KINDS: Final = {int(kind): kind for kind in IncidentKind}


class Incident(Struct, frozen=True):
    """at_s: wall-clock second of the last time.  times: how often in a row, with the same words."""

    at_s: int
    kind: IncidentKind
    words: str
    times: int = 1


class ExplainRecord(Request, frozen=True):
    """All that the node knows of a record, for people."""

    op = 68
    key: RecordKey

    def pack(self) -> Packed:
        return (self.key.raw,)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (key,) = row(fields, 1)
        return cls(RecordKey.from_raw(octets(key)))


class RecordStory(Reply, frozen=True):
    """The record as it is here, what happened to it since the node started, what is planned.

    claims: how many recipes claim it, `claims_done` false when that is not all.
    is_waiting: whether a repair of it waits for its turn.  trouble: why the last one failed.
    is_left_over: whether it is a chunk that no blob needs, which nobody need fetch.
    quarantined: where bad copies of it are kept on the node, below its data directory.
    now_s: the node's wall clock, to which the times of incidents are to be compared.
    """

    op = 69
    state: RecordState
    claims: int
    claims_done: bool
    incidents: tuple[Incident, ...]
    is_waiting: bool
    is_left_over: bool
    trouble: str
    quarantined: tuple[str, ...]
    now_s: int

    def pack(self) -> Packed:
        incidents = [(one.at_s, int(one.kind), one.words, one.times) for one in self.incidents]
        return (
            pack_state(self.state),
            self.claims,
            self.claims_done,
            incidents,
            self.is_waiting,
            self.is_left_over,
            self.trouble,
            list(self.quarantined),
            self.now_s,
        )

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        state, claims, done, incidents, waiting, left, trouble, places, now_s = row(fields, 9)
        return cls(
            state=parse_state(state),
            claims=integer(claims),
            claims_done=flag(done),
            incidents=tuple(map(_incident, items(incidents, INCIDENTS_TOLD_MAX))),
            is_waiting=flag(waiting),
            is_left_over=flag(left),
            trouble=text(trouble, REMARK_CHARACTERS_MAX),
            quarantined=tuple(text(place, 1024) for place in items(places, PLACES_MAX)),
            now_s=integer(now_s),
        )


def _incident(value: object) -> Incident:
    at_s, number, words, times = row(value, 4)
    kind = _KINDS.get(integer(number))
    if kind is None:
        raise PeerProtocol(f"incident of kind {number!r}")
    return Incident(integer(at_s), kind, text(words, REMARK_CHARACTERS_MAX), integer(times))
