"""Messages about records on their way out: tombstones to hold, layouts of the past, collection.

Rule: a tombstone is confirmed by a node that holds it afterwards, in the states that answer
HoldTombstones; a floor or an absent record confirms nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

from msgspec import Struct

from ring.control import pack_layout, parse_layout
from ring.errors import PeerProtocol
from ring.fields import Packed, flag, integer, items, octets, row, text
from ring.layout import Layout
from ring.limits import GENERATION_MAX, KEYS_PER_REQUEST_MAX
from ring.messages import Reply, Request
from ring.purge import Tombstone
from ring.record import RecordKey, Root, dead, is_dead

TALLIES_MAX: Final = 4_096


class HoldTombstones(Request, frozen=True):
    """Hold each of these tombstones, or something newer; answers StatesReply."""

    op = 80
    tombstones: tuple[Tombstone, ...]

    def pack(self) -> Packed:
        return ([(one.key.raw, one.root) for one in self.tombstones],)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (rows,) = row(fields, 1)
        return cls(tuple(map(_tombstone, items(rows, KEYS_PER_REQUEST_MAX))))


def _tombstone(value: object) -> Tombstone:
    key, number = row(value, 2)
    root = Root(integer(number, dead(GENERATION_MAX)))
    if not is_dead(root):
        raise PeerProtocol(f"{root} is no tombstone")
    return Tombstone(RecordKey.from_raw(octets(key)), root)


class FetchEarlier(Request, frozen=True):
    """The layout of an epoch that is over; answers EarlierReply."""

    op = 81
    epoch: int

    def pack(self) -> Packed:
        return (self.epoch,)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (epoch,) = row(fields, 1)
        return cls(integer(epoch))


class EarlierReply(Reply, frozen=True):
    """That layout, None when the node does not know it."""

    op = 82
    layout: Layout | None

    def pack(self) -> Packed:
        return (None if self.layout is None else pack_layout(self.layout),)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (layout,) = row(fields, 1)
        return cls(None if layout is None else parse_layout(layout))


class CollectGarbage(Request, frozen=True):
    """Say what of this node's is on its way out and what it waits for; answers CollectionReply.

    begin: also look through everything at once, instead of when it is time.
    """

    op = 83
    begin: bool

    def pack(self) -> Packed:
        return (self.begin,)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        (begin,) = row(fields, 1)
        return cls(flag(begin))


class GarbageTally(Struct, frozen=True):
    """Some records of a node that are on their way out.

    what: "chunks", "trash" or "tombstones".  fate: "goes now" or "stays".  why: in words.
    size_bytes: of the values that are here.
    """

    what: str
    fate: str
    why: str
    records: int
    size_bytes: int


class CollectionReply(Reply, frozen=True):
    """Tallies by what, fate and reason; complete: everything was looked at."""

    op = 84
    tallies: tuple[GarbageTally, ...]
    complete: bool

    def pack(self) -> Packed:
        rows = [(one.what, one.fate, one.why, one.records, one.size_bytes) for one in self.tallies]
        return (rows, self.complete)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        rows, complete = row(fields, 2)
        return cls(tuple(map(_tally, items(rows, TALLIES_MAX))), flag(complete))


def _tally(value: object) -> GarbageTally:
    what, fate, why, records, size_bytes = row(value, 5)
    return GarbageTally(
        text(what, 64), text(fate, 64), text(why, 1024), integer(records), integer(size_bytes)
    )
