"""What a node knows of one record, and how two such states merge.

Rules:
1.  `Root` orders puts and deletes without clocks: live(g) < dead(g) < live(g+1).
2.  Merging is by maximum (root, floor) and by union (claims, bytes), so it is associative,
    commutative and idempotent: the order in which copies meet does not matter.
3.  Bytes live while a claim on them does: a live root, or a row of a recipe that names them.
This module decides nothing about storage; `ring/admission.py` says what a write does to a state.
"""

from __future__ import annotations

import enum
from typing import Final, NewType

from msgspec import Struct
from msgspec.structs import replace

from ring.digest import Digest
from ring.errors import PeerProtocol

Root = NewType("Root", int)
"""A put or delete of one digest: 0 none, 2g live(g), 2g+1 dead(g), for generations g from 1."""

NO_ROOT = Root(0)


def live(generation: int) -> Root:
    """The root that a put at `generation` makes."""
    assert generation >= 1, generation
    return Root(2 * generation)


def dead(generation: int) -> Root:
    """The tombstone that a delete at `generation` makes; generation 0 is below every put."""
    assert generation >= 0, generation
    return Root(2 * generation + 1)


def is_live(root: Root) -> bool:
    """Whether the newest thing that happened is a put."""
    return root > 1 and root % 2 == 0


def is_dead(root: Root) -> bool:
    """Whether the newest thing that happened is a delete."""
    return root % 2 == 1


def generation_of(root: Root) -> int:
    """The generation of a root; 0 when there is none."""
    return root // 2


class Space(enum.IntEnum):
    """First byte of every key, so that other kinds of data can join later."""

    BLOBS = 0


class RecordKind(enum.IntEnum):
    """What the value of a record is; the numbers are on disk and on the wire."""

    NONE = 0  # no value was ever stored here: a tombstone alone
    DATA = 1  # the bytes that the digest names
    RECIPE = 2  # the list of chunks of a large blob (ring/recipe.py)


class RecordKey(Struct, frozen=True, order=True):
    """Where a record is filed: a digest in a space."""

    digest: Digest
    space: Space = Space.BLOBS

    @property
    def raw(self) -> bytes:
        """Stored form: space byte, then the digest's key."""
        return _prefixes[self.space] + self.digest.key

    @classmethod
    def from_raw(cls, raw: bytes) -> RecordKey:
        """Read the stored form; raises PeerProtocol or InvalidDigest."""
        if not raw or raw[0] != _BLOBS:
            raise PeerProtocol(f"key {raw[:8].hex()} is in no known space")
        return cls(Digest.from_key(raw[1:]))


_BLOBS: Final = int(Space.BLOBS)
_prefixes: Final = {int(space): bytes((space,)) for space in Space}


class RecordState(Struct, frozen=True):
    """One node's view of one record, without the bytes and without the rows of its claims.

    size_bytes: of the blob (a recipe's total), 0 for kind NONE.
    held: a copy of the value is here and was not found bad.
    claimed: at least one recipe claims it as a chunk.
    verified_at_s: wall-clock second at which this node last hashed its copy; 0 never.  Of a record
        whose root is dead and which no recipe claims it is the second of its burial, from which its
        time in the trash counts; 0 when it has none.  Local: it is not merged.
    settled: every node that could lack this tombstone has confirmed it.  Only of a tombstone
        without bytes and claims; whatever changes it afterwards clears it.  Local, too.
    """

    kind: RecordKind = RecordKind.NONE
    size_bytes: int = 0
    root: Root = NO_ROOT
    held: bool = False
    claimed: bool = False
    verified_at_s: int = 0
    settled: bool = False

    @property
    def exists(self) -> bool:
        """Whether there is anything to remember at all."""
        return self.root != NO_ROOT or self.held or self.claimed or self.kind is not RecordKind.NONE

    @property
    def visible(self) -> bool:
        """Whether GET, HEAD and list may show it."""
        return is_live(self.root)

    @property
    def in_trash(self) -> bool:
        """Whether the bytes are here only because they might be wanted back."""
        return self.held and not self.claimed and is_dead(self.root)

    @property
    def is_tombstone(self) -> bool:
        """Whether there is nothing here but a delete: no bytes, no claims."""
        return is_dead(self.root) and not self.held and not self.claimed


ABSENT = RecordState()


def merge(one: RecordState, other: RecordState) -> RecordState:
    """What is known when both states are known.

    Kind and size describe the content of the digest, so two replicas that have a value agree on
    them unless a copy is bad; the maximum keeps the merge total all the same.  Whether a tombstone
    is settled is no part of it: each node has to find out for itself.
    """
    kind, size_bytes = max((one.kind, one.size_bytes), (other.kind, other.size_bytes))
    return RecordState(
        kind=kind,
        size_bytes=size_bytes,
        root=max(one.root, other.root),
        held=one.held or other.held,
        claimed=one.claimed or other.claimed,
        verified_at_s=max(one.verified_at_s, other.verified_at_s),
    )


class RecordEntry(Struct, frozen=True):
    """A row of a listing or an inventory."""

    key: RecordKey
    state: RecordState


def without_value(state: RecordState) -> RecordState:
    """The state after its bytes went to quarantine or were dropped."""
    return replace(state, held=False, verified_at_s=0)
