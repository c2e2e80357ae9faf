"""Decide what one node does about one record, given what its peers say of it.  No I/O.

Rules:
1.  Repair only pulls: a node takes what others have, and tells others what they might take.
2.  The newest root counts, whoever has it.  A settled tombstone is not spread, since it is on its
    way out and everybody has seen it; but who has it lacks no older root either.
3.  Any copy of the bytes will do, at whatever generation: they are checked against the digest.
4.  Claims are a union.
5.  Nothing is concluded from silence: who did not answer is neither source nor lacking.
6.  Nobody lacks what nobody has: else two nodes would go on telling each other.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping

from msgspec import Struct

from ring.comparing import Description
from ring.facts import EMPTY_FINGERPRINT
from ring.life import NodeId
from ring.record import ABSENT, NO_ROOT, RecordState, Root, is_live

NOTHING = Description(ABSENT, EMPTY_FINGERPRINT)


class Need(enum.Enum):
    """How a record stands here."""

    NOTHING = "nothing"  # this node has all that anybody has
    STATE = "state"  # a newer root or claims, no bytes
    VALUE = "value"  # bytes, and what else is newer
    LOST = "lost"  # bytes that nobody who answered has


class RepairPlan(Struct, frozen=True):
    """What to do.

    root: the newest that anybody knows.  sources: who has the bytes, in the order of the answers.
    claims_from: whose claims differ from those here.  lacking: keepers that have less.
    """

    need: Need
    root: Root
    sources: tuple[NodeId, ...]
    claims_from: tuple[NodeId, ...]
    lacking: tuple[NodeId, ...]


def plan_repair(
    own: Description,
    answers: Mapping[NodeId, Description],
    keepers: Collection[NodeId],
    *,
    keeps: bool,
) -> RepairPlan:
    """keepers: the other nodes that shall have the record; keeps: whether this one shall."""
    others = answers
    known = [own, *others.values()]
    root = Root(max(_spreading_root(found.state) for found in known))
    wanted = is_live(root) or any(found.state.claimed for found in known)
    sources = tuple(node for node, found in others.items() if found.state.held)
    claims_from = tuple(
        node
        for node, found in others.items()
        if found.state.claimed and found.claims != own.claims
    )
    lacking = tuple(
        node
        for node, found in others.items()
        if node in keepers and _lacks(found, root, known, wanted=wanted)
    )
    if not keeps:
        need = Need.NOTHING
    elif wanted and not own.state.held:
        need = Need.VALUE if sources else Need.LOST
    elif own.state.root < root or claims_from:
        need = Need.STATE
    else:
        need = Need.NOTHING
    return RepairPlan(need, root, sources, claims_from, lacking)


def has_all_of(theirs: Description, own: Description) -> bool:
    """Whether somebody who answered `theirs` has a verified copy and all else that is here."""
    if theirs.state.root < _spreading_root(own.state):
        return False
    if own.state.claimed and theirs.claims != own.claims:
        return False
    if not is_live(theirs.state.root) and not own.state.claimed:
        return True
    return theirs.state.held and theirs.state.verified_at_s > 0


def _spreading_root(state: RecordState) -> Root:
    """Rule 2."""
    return NO_ROOT if state.settled else state.root


def _lacks(
    found: Description, root: Root, known: Collection[Description], *, wanted: bool
) -> bool:
    if found.state.root < root:
        return True
    if wanted and not found.state.held and any(other.state.held for other in known):
        return True
    return any(other.state.claimed and other.claims != found.claims for other in known)
