"""The settings of one gateway process, with their units and defaults.

Facts on which the whole cluster must agree are not here; see node/config.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ring.address import Address
from ring.errors import BadRequest

WORKERS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The table `[gateway]`.  Raises BadRequest, naming every setting that cannot be.

    listen: host:port of the HTTP API.
    workers: processes that share the port.
    insecure: whether it may listen where others than this machine can reach it.  There is no access
        control in this release: whoever reaches the port may read, write and delete.
    drain_s: how long requests under way may take after SIGTERM, in seconds.
    """

    listen: str = "127.0.0.1:7070"
    workers: int = 1
    insecure: bool = False
    drain_s: float = 20.0

    def __post_init__(self) -> None:
        problems = []
        try:
            if not Address.parse(self.listen).is_loopback and not self.insecure:
                problems.append(
                    f"listen: {self.listen} can be reached from other machines, and whoever reaches"
                    " it may read, write and delete everything; to accept that, set insecure = true"
                    " (or --insecure)"
                )
        except BadRequest as error:
            problems.append(f"listen: {error.detail}")
        if not 1 <= self.workers <= WORKERS_MAX:
            problems.append(f"workers: must be 1 to {WORKERS_MAX}, not {self.workers}")
        if not 0 <= self.drain_s < float("inf"):
            problems.append(f"drain_s: {self.drain_s} is no number of seconds to wait")
        if problems:
            raise BadRequest("\n".join(problems))

    @property
    def address(self) -> Address:
        """`listen` as a value."""
        return Address.parse(self.listen)
