"""Ack sets and covers: which sets of nodes are enough.

For one partition in one layout, a `Group` lists N owners and the spares; both are *eligible*, and
W = N // 2 + 1.

-   An *ack set* is W eligible nodes, at least one of them an owner: it makes a write durable.
-   A *cover* is a set that meets every possible ack set: all owners, or all eligible nodes but W-1.
    Its silence about a record proves that nobody was ever told otherwise.

Invariant (tested for every shape): a set is a cover exactly when no ack set avoids it.
While two layouts live, a placement has a group for each and both must be satisfied.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ring.life import NodeId


@dataclass(frozen=True, slots=True)
class Group:
    """Owners in table order and spares in table order, disjoint."""

    owners: tuple[NodeId, ...]
    spares: tuple[NodeId, ...] = ()

    def __post_init__(self) -> None:
        assert self.owners
        assert not set(self.owners) & set(self.spares)

    @property
    def eligible(self) -> tuple[NodeId, ...]:
        """Owners, then spares."""
        return self.owners + self.spares

    @property
    def write_quorum(self) -> int:
        """W."""
        return len(self.owners) // 2 + 1

    def is_ack_set(self, nodes: Collection[NodeId]) -> bool:
        """Whether a write that these nodes hold durably may be acknowledged."""
        owners = _members(self.owners, nodes)
        return owners > 0 and owners + _members(self.spares, nodes) >= self.write_quorum

    def is_cover(self, nodes: Collection[NodeId]) -> bool:
        """Whether every possible ack set has a member among these nodes."""
        silent_owners = len(self.owners) - _members(self.owners, nodes)
        if not silent_owners:
            return True
        silent_spares = len(self.spares) - _members(self.spares, nodes)
        return silent_owners + silent_spares < self.write_quorum


def _members(group: tuple[NodeId, ...], nodes: Collection[NodeId]) -> int:
    count = 0
    for node in group:  # a loop, since every step of every request counts
        if node in nodes:
            count += 1
    return count


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a digest may be: a group for each live layout (two while a change is under way).

    owners: of any live layout, older layout first, each once.  spares: those that own in none.
    """

    groups: tuple[Group, ...]
    owners: tuple[NodeId, ...] = field(init=False, repr=False, compare=False)
    spares: tuple[NodeId, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert self.groups
        owners = dict.fromkeys(node for group in self.groups for node in group.owners)
        spares = dict.fromkeys(node for group in self.groups for node in group.spares)
        object.__setattr__(self, "owners", tuple(owners))
        object.__setattr__(self, "spares", tuple(node for node in spares if node not in owners))

    @property
    def eligible(self) -> tuple[NodeId, ...]:
        """Owners, then spares."""
        return self.owners + self.spares

    def is_ack_set(self, nodes: Collection[NodeId]) -> bool:
        """Whether the nodes are an ack set in every live layout."""
        for group in self.groups:  # noqa: SIM110 - see _members
            if not group.is_ack_set(nodes):
                return False
        return True

    def is_cover(self, nodes: Collection[NodeId]) -> bool:
        """Whether the nodes are a cover in every live layout."""
        for group in self.groups:  # noqa: SIM110 - see _members
            if not group.is_cover(nodes):
                return False
        return True

    def is_both(self, nodes: Collection[NodeId]) -> bool:
        """Whether they are a cover, which misses no put, and an ack set, which misses no delete.

        With an odd number of copies and no spare these are the same.
        """
        return self.is_cover(nodes) and self.is_ack_set(nodes)
