"""The settings of one node process, with their units and defaults, which stand nowhere else.

Facts on which the whole cluster must agree (members, replicas, seed, secret) are not here: they are
a layout and a secret by the time a node is built.  Reading files is the command's business.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from node.collection.collection_settings import DAY_S
from ring.address import Address
from ring.errors import BadRequest
from ring.life import NodeId

DRAIN_S: Final = 10.0


class StoreKind(enum.StrEnum):
    """How a node keeps records."""

    FILES = "files"  # one file for each record, readable with ls
    MEMORY = "memory"  # gone when the process ends: for tests
    PAGES = "pages"  # a log with group commit, and an index: for many records, small or large


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The table `[node]`.  Raises BadRequest, naming every setting that cannot be.

    id: which member of the cluster this is.
    data_dir: where its records are; never shared with another node.
    listen: host:port of the node protocol, for gateways and other nodes.
    health_listen: host:port of plain HTTP for /healthz, /readyz and /metrics; empty for none.
    store: see StoreKind.
    accept_blank: whether an empty data directory of a node that others remember may be filled again
        without asking an operator.
    drain_s: how long requests under way may take after SIGTERM, in seconds.
    trash_s: how long deleted bytes can be had back, in seconds, if there is room.
    chunk_grace_s: how long chunks that no blob needs are left alone, in seconds; an upload that
        takes longer than half of it may have to be repeated.
    """

    id: NodeId
    data_dir: str
    listen: str = "127.0.0.1:7071"
    health_listen: str = ""
    store: StoreKind = StoreKind.PAGES
    accept_blank: bool = False
    drain_s: float = DRAIN_S
    trash_s: float = DAY_S
    chunk_grace_s: float = DAY_S

    def __post_init__(self) -> None:
        problems = []
        for name in ("listen", "health_listen"):
            text = getattr(self, name)
            try:
                if text or name == "listen":
                    Address.parse(text)
            except BadRequest as error:
                problems.append(f"{name}: {error.detail}")
        if not self.data_dir:
            problems.append("data_dir: must name a directory")
        if not 0 <= self.drain_s < float("inf"):
            problems.append(f"drain_s: {self.drain_s} is no number of seconds to wait")
        problems += [
            f"{name}: {getattr(self, name)} is no number of seconds"
            for name in ("trash_s", "chunk_grace_s")
            if not 0 <= getattr(self, name) < float("inf")
        ]
        if problems:
            raise BadRequest("\n".join(problems))

    @property
    def address(self) -> Address:
        """`listen` as a value."""
        return Address.parse(self.listen)

    @property
    def health_address(self) -> Address | None:
        """`health_listen` as a value."""
        return Address.parse(self.health_listen) if self.health_listen else None
