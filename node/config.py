"""The settings of one node process, with their units and defaults, which stand nowhere else.

Facts on which the whole cluster must agree (members, replicas, seed, secret) are not here: they are
a layout and a secret by the time a node is built.  Reading files is the command's business.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from node.care_settings import CareSettings
from node.collection.collection_settings import DAY_S, CollectionSettings
from node.repair.repair_settings import RepairSettings
from node.scrub.scrub_settings import WEEK_S, ScrubSettings
from ring.address import Address
from ring.errors import BadRequest
from ring.life import NodeId

DRAIN_S: Final = 10.0
BUSY_DIVISOR: Final = 8.0

# A node that is started anew is silent for some seconds, and nobody needs to copy for that.
_LEAST: Final = {"scrub_period_s": 60.0, "repair_bytes_per_s": 1.0, "absent_s": 10.0}


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
    scrub_period_s: every copy is read again and hashed within so many seconds.
    repair_bytes_per_s: how fast this node copies what it lacks while clients are quiet; an eighth
        of it while they are not.
    absent_s: when another node is silent for so many seconds, this one helps to make up for it.
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
    scrub_period_s: float = WEEK_S
    repair_bytes_per_s: float = RepairSettings().bytes_per_s
    absent_s: float = RepairSettings().absent_s

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
        problems += [
            f"{name}: {getattr(self, name)} is not at least {least:g}"
            for name, least in _LEAST.items()
            if not least <= getattr(self, name) < float("inf")
        ]
        if problems:
            raise BadRequest("\n".join(problems))

    @property
    def care(self) -> CareSettings:
        """How the node looks after its records."""
        return CareSettings(
            repair=RepairSettings(
                absent_s=self.absent_s,
                bytes_per_s=self.repair_bytes_per_s,
                busy_bytes_per_s=self.repair_bytes_per_s / BUSY_DIVISOR,
            ),
            collection=CollectionSettings(grace_s=self.chunk_grace_s, trash_s=self.trash_s),
            scrub=ScrubSettings(period_s=self.scrub_period_s),
        )

    @property
    def address(self) -> Address:
        """`listen` as a value."""
        return Address.parse(self.listen)

    @property
    def health_address(self) -> Address | None:
        """`health_listen` as a value."""
        return Address.parse(self.health_listen) if self.health_listen else None
