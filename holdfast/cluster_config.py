"""The table `[cluster]`: what every process of a cluster must be told alike.

Processes that were told differently compute different cluster ids and refuse each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ring.errors import BadRequest
from ring.layout import Layout, Member
from ring.life import NodeId
from ring.placement import first_layout


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """One `[[cluster.members]]`.

    id: [a-z0-9][a-z0-9.-]{0,62}, for ever.  address: host:port of the node protocol.  zone: failure
    domain; copies are spread over zones first.  capacity: weight relative to the others.
    """

    id: NodeId
    address: str
    zone: str = "default"
    capacity: int = 1

    def __post_init__(self) -> None:
        try:
            self.member()
        except BadRequest as error:
            raise BadRequest(f"id {self.id!r}: {error.detail}") from None

    def member(self) -> Member:
        """As the layout knows it."""
        return Member(self.id, self.address, self.zone, self.capacity)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Raises BadRequest for a list of members that no layout can be made of.

    seed: random text, made once; tells this cluster from every other one.
    replicas: copies of each blob.
    secret_file: path of a file with at least 16 bytes that nobody else may read.
    members: the initial members; the same list everywhere, in any order.
    layout: epoch 1, which follows from these.
    """

    seed: str
    secret_file: str
    members: tuple[MemberConfig, ...]
    replicas: int = 3
    layout: Layout = field(init=False, repr=False)

    def __post_init__(self) -> None:
        problems = []
        if not self.seed:
            problems.append("seed: must not be empty")
        if not self.secret_file:
            problems.append("secret_file: must name a file")
        members = [member.member() for member in self.members]
        try:
            layout = first_layout(members, self.replicas, self.seed)
        except BadRequest as error:
            raise BadRequest("\n".join([*problems, f"members: {error.detail}"])) from None
        if problems:
            raise BadRequest("\n".join(problems))
        object.__setattr__(self, "layout", layout)
