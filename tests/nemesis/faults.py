"""What can happen to a node: to its process, to its network, to what it stored."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from bench.trouble.cluster import TroubledCluster
from bench.trouble.network import Network

_FROZEN_S: Final = 0.08  # of a node that runs in jerks
_RUNNING_S: Final = 0.05
_LOST_SHARE: Final = 0.1
_ROTTEN_PLACES_MAX: Final = 6
_ROTTEN_BYTES: Final = (1, 1, 16, 512, 4096)
_BLOCK_BYTES: Final = 4096
_LOOKS_MAX: Final = 200


@dataclass(slots=True)
class Place:
    """Where faults happen."""

    cluster: TroubledCluster
    network: Network
    folder: Path
    random: Random

    def copy(self, node: int) -> Path:
        """Of its data directory as it was once, if it was ever copied."""
        return self.folder / f"copy-{node}"


@dataclass(frozen=True, slots=True)
class Fault:
    """begin and end may block; `during` runs in between, until it is cancelled."""

    begin: Callable[[Place, int], None]
    end: Callable[[Place, int], None]
    during: Callable[[Place, int], Awaitable[None]] | None = None


def _kill(place: Place, node: int) -> None:
    place.cluster.signal_node(node, signal.SIGKILL)


def _start(place: Place, node: int) -> None:
    place.cluster.start_node(node)


def _freeze(place: Place, node: int) -> None:
    place.cluster.signal_node(node, signal.SIGSTOP)


def _thaw(place: Place, node: int) -> None:
    place.cluster.signal_node(node, signal.SIGCONT)


def _nothing(_place: Place, _node: int) -> None:
    pass


async def _jerk(place: Place, node: int) -> None:
    while True:
        _freeze(place, node)
        await asyncio.sleep(_FROZEN_S)
        _thaw(place, node)
        await asyncio.sleep(_RUNNING_S)


def _lose(*directions: str) -> Callable[[Place, int], None]:
    return lambda place, node: place.network.lose(node, *directions)


def _thin(place: Place, node: int) -> None:
    place.network.thin(node, _LOST_SHARE)


def _heal(place: Place, node: int) -> None:
    place.network.heal(node)


def _copy(place: Place, node: int) -> None:
    """Killed, and its disk is copied, so that it can be rolled back later."""
    _kill(place, node)
    shutil.rmtree(place.copy(node), ignore_errors=True)
    shutil.copytree(place.cluster.data(node), place.copy(node))


def _wipe(place: Place, node: int) -> None:
    _kill(place, node)
    shutil.rmtree(place.cluster.data(node))


def _roll_back(place: Place, node: int) -> None:
    """To the latest copy; with none it is wiped."""
    _wipe(place, node)
    if place.copy(node).exists():
        shutil.copytree(place.copy(node), place.cluster.data(node))


def _lose_index(place: Place, node: int) -> None:
    _kill(place, node)
    for path in sorted(place.cluster.data(node).rglob("*.mdb")):
        path.unlink()


def _rot_alive(place: Place, node: int) -> None:
    for path in _rotten(place, node):
        _spoil(path, place.random)


def _rot_dead(place: Place, node: int) -> None:
    _kill(place, node)
    _rot_alive(place, node)


def _rotten(place: Place, node: int) -> list[Path]:
    paths = [
        path
        for path in sorted(place.cluster.data(node).rglob("*"))
        if path.is_file() and path.name != "reserve" and path.stat().st_size
    ]
    return place.random.choices(paths, k=place.random.randrange(1, _ROTTEN_PLACES_MAX))


def _spoil(path: Path, random: Random) -> None:
    """Change some bytes in place, where there is more than zeros if that can be found."""
    size_bytes = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(_LOOKS_MAX):
            at = random.randrange(size_bytes)
            file.seek(at)
            if any(file.read(_BLOCK_BYTES)):
                break
        file.seek(at)
        before = file.read(random.choice(_ROTTEN_BYTES))
        file.seek(at)
        file.write(bytes(byte ^ random.randrange(1, 256) for byte in before))


HARMLESS: Final = {
    "killed": Fault(_kill, _start),
    "frozen": Fault(_freeze, _thaw),
    "in jerks": Fault(_nothing, _thaw, _jerk),
    "cut off": Fault(_lose("in", "out"), _heal),
    "deaf": Fault(_lose("in"), _heal),
    "mute": Fault(_lose("out"), _heal),
    "losing packets": Fault(_thin, _heal),
    "killed, disk copied": Fault(_copy, _start),
}
DAMAGING: Final = {
    "wiped": Fault(_wipe, _start),
    "rolled back": Fault(_roll_back, _start),
    "without its index": Fault(_lose_index, _start),
    "rotten while it runs": Fault(_rot_alive, _nothing),
    "rotten at its start": Fault(_rot_dead, _start),
}
ROTTEN: Final = ("rotten while it runs", "rotten at its start")
