"""Messages that enumerate: records in key order, and the claims on one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeVar

from ring.digest import Digest
from ring.errors import PeerProtocol
from ring.fields import Packed, flag, integer, items, octets, optional_digest, row
from ring.limits import LIST_ENTRIES_MAX
from ring.messages import Reply, Request, pack_state, parse_state
from ring.record import RecordEntry, RecordKey

KeyT = TypeVar("KeyT", RecordKey, Digest)


def check_page(after: KeyT | None, keys: Sequence[KeyT], *, done: bool) -> None:
    """Raise PeerProtocol unless a page leads on: its keys rise from above `after`.

    Whoever asks for page after page would otherwise never come to an end, or miss what is there.
    """
    known = after
    for key in keys:
        if known is not None and key <= known:
            raise PeerProtocol("a page is not in the order of its keys")
        known = key
    if not keys and not done:
        raise PeerProtocol("a page is empty and yet not the last")


class ListRecords(Request, frozen=True):
    """Records in the order of their keys, from the first after `after`.

    roots_only: records that have a root, live or dead (a client's listing); otherwise all of
        them (a receiver's comparison, which asks for claims with ListClaims).
    """

    op = 12
    after: RecordKey | None
    limit: int
    roots_only: bool

    def pack(self) -> Packed:
        after = None if self.after is None else self.after.raw
        return (after, self.limit, self.roots_only)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        after, limit, roots_only = row(fields, 3)
        return cls(
            None if after is None else RecordKey.from_raw(octets(after)),
            integer(limit, LIST_ENTRIES_MAX),
            flag(roots_only),
        )


class PageReply(Reply, frozen=True):
    """Entries in key order; `done` when nothing follows the last of them."""

    op = 13
    entries: tuple[RecordEntry, ...]
    done: bool

    def pack(self) -> Packed:
        rows = [(entry.key.raw, pack_state(entry.state)) for entry in self.entries]
        return (rows, self.done)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        entries, done = row(fields, 2)
        return cls(tuple(map(_entry, items(entries, LIST_ENTRIES_MAX))), flag(done))


def _entry(value: object) -> RecordEntry:
    key, state = row(value, 2)
    return RecordEntry(RecordKey.from_raw(octets(key)), parse_state(state))


class ListClaims(Request, frozen=True):
    """The claimants of a chunk in digest order, from the first after `after`."""

    op = 14
    key: RecordKey
    after: Digest | None
    limit: int

    def pack(self) -> Packed:
        after = None if self.after is None else self.after.key
        return (self.key.raw, after, self.limit)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        key, after, limit = row(fields, 3)
        return cls(
            RecordKey.from_raw(octets(key)),
            optional_digest(after),
            integer(limit, LIST_ENTRIES_MAX),
        )


class ClaimsReply(Reply, frozen=True):
    """Claimants in order; `done` when nothing follows."""

    op = 15
    claimants: tuple[Digest, ...]
    done: bool

    def pack(self) -> Packed:
        return ([claimant.key for claimant in self.claimants], self.done)

    @classmethod
    def parse(cls, fields: Sequence[object]) -> Self:
        claimants, done = row(fields, 2)
        keys = items(claimants, LIST_ENTRIES_MAX)
        return cls(tuple(Digest.from_key(octets(key)) for key in keys), flag(done))
