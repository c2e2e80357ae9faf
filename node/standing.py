"""Decide what a starting node is: voter, receiver, or blank and waiting.  No I/O.

Rules:
1.  A directory with a marker starts with the next boot and votes where it voted, unless a peer
    remembers a later life: then its disk was rolled back or somebody else took its place, and it
    becomes a receiver under a new incarnation.
2.  A blank directory becomes the genesis of a node only when *every* other member says that it
    never heard of it; nobody's data can be missing then.  It may vote, in its next boot, once they
    remember it (node/membership.py).
3.  A blank directory whose node is remembered becomes a receiver under a new incarnation, and only
    where the operator accepts that (`serve` does by itself).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from node.marker import FIRST_INCARNATION, NO_PARTITIONS, Marker
from ring.errors import Fenced
from ring.life import Life, NodeId

_INCARNATION_MAX: Final = 1 << 48  # nobody lives so often; beyond it somebody made a mistake


class Step(enum.Enum):
    """What a blank node does after a round of introductions."""

    WAIT = "wait"
    ASK_OPERATOR = "ask operator"
    BEGIN = "begin"


@dataclass(frozen=True, slots=True)
class Admission:
    """The step, the marker to write (None unless it is BEGIN), and the reason in words."""

    step: Step
    marker: Marker | None
    reason: str


def admit_blank(
    *,
    cluster_id: str,
    node: NodeId,
    others: tuple[NodeId, ...],
    remembered: Mapping[NodeId, Life | None],
    accept_blank: bool,
) -> Admission:
    """What a node without a marker may do.

    remembered: for each peer that answered, the life it remembers of this node.
    """
    lives = [life for life in remembered.values() if life is not None]
    if lives:
        if not accept_blank:
            return Admission(
                Step.ASK_OPERATOR,
                None,
                "the data directory is empty, but peers remember this node: its disk was wiped or"
                " is not mounted. Start it with accept_blank = true to rebuild it from the others",
            )
        incarnation = max(life.incarnation for life in lives) + 1
        marker = Marker(cluster_id, node, incarnation, 1, NO_PARTITIONS)
        return Admission(Step.BEGIN, marker, "an empty disk took the place of a lost one")
    missing = [peer for peer in others if peer not in remembered]
    if missing:
        return Admission(
            Step.WAIT,
            None,
            "first start: waiting for " + ", ".join(missing) + " to say that this node is new",
        )
    marker = Marker(cluster_id, node, FIRST_INCARNATION, 1, NO_PARTITIONS)
    return Admission(Step.BEGIN, marker, "a new node")


def next_boot(marker: Marker) -> Marker:
    """The marker to write before this process says anything."""
    return replace(marker, boot=marker.boot + 1)


def fenced_by(marker: Marker, incarnation: int) -> Marker:
    """The marker of the receiver that a fenced node becomes."""
    incarnation = max(incarnation, marker.incarnation) + 1
    return replace(marker, incarnation=incarnation, boot=1, voting=NO_PARTITIONS)


def fence(node: NodeId, known: Life) -> Fenced:
    """What a node is told whose life is over: the later one that is known."""
    return Fenced(
        f"{node} was seen in a later life {known.pair}",
        incarnation=known.incarnation,
        boot=known.boot,
    )


def incarnation_in(fenced: Fenced) -> int:
    """The incarnation that a peer remembers; 0 when it does not say so in earnest."""
    incarnation = fenced.facts.get("incarnation")
    if isinstance(incarnation, int) and 0 <= incarnation < _INCARNATION_MAX:
        return incarnation
    return 0
