"""The shape of one world: drawn from the seed, extremes included, or set by a scenario."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from random import Random


class Weather(enum.Enum):
    """How rough it gets."""

    CALM = "calm"  # no faults: every request must succeed
    ONE_AWAY = "one away"  # one node at a time is missing: every request must still succeed
    STORM = "storm"  # anything within the promises: requests may fail, never lie


class Damage(enum.Enum):
    """Which copies may be destroyed for good, within W-1 of each blob."""

    NONE = "none"
    ROT = "rot"
    WIPE = "wipe"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Options:
    """Counts, mean times in virtual seconds, and rates per message.

    store: "files", "pages", or "memory", which loses everything when its process ends.
    large: one blob of the pool is larger than a chunk, and one is its first chunk.
    genesis_is_rough: faults begin before the first start is over.
    work_s: when clients stop, however much they still had in mind.
    """

    members: int = 3
    replicas: int = 3
    zones: int = 1
    gateways: int = 2
    clients: int = 3
    operations: int = 40
    digests: int = 4
    think_s: float = 0.5
    store: str = "files"
    weather: Weather = Weather.STORM
    damage: Damage = Damage.NONE
    large: bool = False
    genesis_is_rough: bool = False
    disk_latency_s: float = 0.001
    delay_s: float = 0.001
    loss_rate: float = 0.0
    duplicate_rate: float = 0.0
    straggle_rate: float = 0.0
    write_patience_s: float = 1.0
    fault_every_s: float = 4.0
    faults_at_once: int = 2
    work_s: float = 90.0
    settle_s: float = 120.0

    @property
    def write_quorum(self) -> int:
        """W."""
        return self.replicas // 2 + 1

    @classmethod
    def drawn(cls, rng: Random) -> Options:
        """A world from a seed."""
        weather = rng.choice((Weather.CALM, Weather.ONE_AWAY, *[Weather.STORM] * 6))
        replicas = rng.choice((1, 2, 3, 3, 3, 3, 3, 5))
        if weather is Weather.ONE_AWAY:
            replicas = max(3, replicas)
        members = replicas + rng.choice((0, 0, 1, 2, 3))
        storm = weather is Weather.STORM
        damage = Damage.NONE
        if storm and replicas >= 3:
            several = (Damage.BOTH,) if replicas >= 5 else ()
            damage = rng.choice((Damage.NONE, Damage.ROT, Damage.WIPE, *several))
        loses_all = rng.random() < 0.15
        return cls(
            members=members,
            replicas=replicas,
            zones=rng.choice((1, 1, 3)),
            gateways=rng.choice((1, 2, 3)),
            clients=rng.choice((2, 3, 4)),
            operations=rng.randrange(20, 60),
            digests=rng.choice((1, 2, 3, 6)),
            think_s=rng.choice((0.05, 0.3, 1.0)),
            store="memory" if loses_all else rng.choice(("files", "pages")),
            weather=weather,
            damage=damage,
            large=rng.random() < 0.1,
            genesis_is_rough=storm and rng.random() < 0.3,
            disk_latency_s=rng.choice((0.0001, 0.001, 0.01)),
            delay_s=rng.choice((0.0002, 0.001, 0.02)),
            loss_rate=rng.choice((0.0, 0.01, 0.1)) if storm else 0.0,
            duplicate_rate=rng.choice((0.0, 0.05, 0.3)) if storm else 0.0,
            straggle_rate=rng.choice((0.0, 0.02, 0.1)) if storm else 0.0,
            write_patience_s=rng.choice((0.05, 1.0, 1.0)),
            fault_every_s=rng.choice((1.0, 3.0, 8.0)),
            faults_at_once=rng.choice((1, 2, 3)),
        )
