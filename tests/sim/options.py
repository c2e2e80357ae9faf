"""The shape of one world: drawn from the seed, extremes included, or set by a scenario."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from random import Random
from typing import Final

from ring.limits import KIB

RATES: Final = ("loss", "duplicate", "straggler")  # of messages; not drawn as faults
FREE: Final = (
    "power-cut",
    "kill",
    "stop",
    "blackout",
    "freeze",
    "away",
    "gateway-kill",
    "isolate",
    "one-way",
    "split",
    "gateway-cut",
    "slow-links",
    "slow-disk",
    "hang",
    "error",
    "errors",
    "full",
    "clock",
    "index-lost",
    "index-damage",
    "layout",
    "retire",
)
COSTLY: Final = ("rot", "torn", "misdirected", "log-damage", "wipe", "roll-back")
"""Those that destroy copies, and count against the budget."""
ALONE: Final = ("power-cut", "kill", "isolate", "freeze", "hang", "errors", "full")
"""What may be wrong with one node while every request must succeed."""
SIZES: Final = (0, 1, 2, 100, 100, 5000, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1)
_NOT_FOR_MEMORY: Final = ("blackout", "error", "errors", "full", *COSTLY[:4], "roll-back")
_SHARE: Final = 0.4


class Weather(enum.Enum):
    """How rough it gets."""

    CALM = "calm"  # no faults: every request must succeed
    ONE_AWAY = "one away"  # one node at a time is missing: every request must still succeed
    STORM = "storm"  # anything within the promises: requests may fail, never lie


@dataclass(frozen=True, slots=True)
class Options:
    """Counts, mean times in virtual seconds, and rates per message.

    sizes: of the blobs that fit into one record, in bytes; below 2 only the first one is.
    store: "files", "pages", or "memory", which loses everything when its process ends.
    faults: those that may happen.
    large: one blob of the pool is larger than a chunk, and one is its first chunk.
    genesis_is_rough: faults begin before the first start is over.
    repair_s: between two comparisons of a node with another.  absent_s: a node that is silent for
    so long is made up for.  grace_s: of chunks that nobody needs.  trash_s: of deleted bytes.
    scrub_s: in which every copy is read again.
    converges: in peace the cluster must come to rest.
    work_s: when clients stop, however much they still had in mind.
    """

    members: int = 3
    replicas: int = 3
    zones: int = 1
    gateways: int = 2
    clients: int = 3
    operations: int = 40
    digests: int = 4
    sizes: tuple[int, ...] = SIZES
    think_s: float = 0.5
    store: str = "files"
    weather: Weather = Weather.STORM
    faults: tuple[str, ...] = FREE
    large: bool = False
    genesis_is_rough: bool = False
    disk_latency_s: float = 0.001
    delay_s: float = 0.001
    loss_rate: float = 0.0
    duplicate_rate: float = 0.0
    straggle_rate: float = 0.0
    read_timeout_s: float = 4.0
    write_timeout_s: float = 10.0
    write_patience_s: float = 1.0
    fault_every_s: float = 4.0
    faults_at_once: int = 2
    repair_s: float = 2.0
    absent_s: float = 900.0
    grace_s: float = 5.0
    trash_s: float = 2.0
    scrub_s: float = 400.0
    work_s: float = 90.0
    settle_s: float = 120.0
    converges: bool = True

    @property
    def write_quorum(self) -> int:
        """W."""
        return self.replicas // 2 + 1

    @classmethod
    def drawn(cls, rng: Random) -> Options:
        """A world from a seed."""
        weather = rng.choice((Weather.CALM, Weather.ONE_AWAY, *[Weather.STORM] * 8))
        replicas = rng.choice((1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5))
        if weather is Weather.ONE_AWAY:
            replicas = max(3, replicas)
        storm = weather is Weather.STORM
        store = rng.choice(("memory", *["files"] * 3, *["pages"] * 4))
        is_long = storm and rng.random() < 0.02
        more = rng.choice((0, 0, 0, 0, 1, 1, 1, 2, 2, rng.choice((3, 4))))
        return cls(
            members=replicas + more,
            replicas=replicas,
            zones=3 if more > 1 else 1,  # few shapes: each costs a layout
            gateways=rng.choice((1, 2, 3)),
            clients=rng.choice((1, 2, 3, 4)),
            operations=rng.randrange(8, 36),
            digests=rng.choice((1, 2, 3, 6)),
            think_s=10.0 if is_long else rng.choice((0.05, 0.3, 1.0)),
            store=store,
            weather=weather,
            faults=_faults(rng, weather, store),
            large=rng.random() < 0.05,
            genesis_is_rough=storm and rng.random() < 0.3,
            disk_latency_s=rng.choice((0.0001, 0.001, 0.01)),
            delay_s=rng.choice((0.0002, 0.001, 0.02)),
            loss_rate=rng.choice((0.0, 0.01, 0.1)) if storm else 0.0,
            duplicate_rate=rng.choice((0.0, 0.05, 0.3)) if storm else 0.0,
            straggle_rate=rng.choice((0.0, 0.02, 0.1)) if storm else 0.0,
            read_timeout_s=rng.choice((1.0, 4.0, 4.0)) if storm else 4.0,
            write_timeout_s=rng.choice((2.0, 10.0, 10.0)) if storm else 10.0,
            write_patience_s=rng.choice((0.05, 1.0, 1.0)),
            fault_every_s=rng.choice((1.0, 3.0, 8.0)),
            faults_at_once=rng.choice((1, 2, 3)),
            repair_s=rng.choice((1.0, 2.0, 4.0)),
            absent_s=rng.choice((3.0, 20.0, 900.0)),
            grace_s=rng.choice((1.0, 2.0, 4.0)),
            trash_s=rng.choice((0.0, 1.0, 4.0)),
            scrub_s=rng.choice((400.0, 1000.0)),
            work_s=300.0 if is_long else 90.0,
        )


def _faults(rng: Random, weather: Weather, store: str) -> tuple[str, ...]:
    """Some of those that make sense: with few kinds at a time each gets further."""
    if weather is Weather.CALM:
        return ()
    sensible: tuple[str, ...] = ALONE if weather is Weather.ONE_AWAY else (*FREE, *COSTLY)
    if store != "pages":
        sensible = tuple(name for name in sensible if not name.startswith("index"))
    if store == "memory":  # it has a disk for its marker alone, and no end of its may be free
        sensible = tuple(name for name in sensible if name not in _NOT_FOR_MEMORY)
    share = rng.choice((0.15, _SHARE, 1.0))
    return tuple(name for name in sensible if rng.random() < share) or (rng.choice(sensible),)
