"""What can happen to one node, and how it ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.trouble.cluster import TroubledCluster
from bench.trouble.disk import FreezableDisk
from bench.trouble.network import Network

VICTIM = 1
_SLOW_RUNS_S = 0.004
_SLOW_RESTS_S = 0.4


@dataclass(frozen=True, slots=True)
class Place:
    """What faults act on."""

    cluster: TroubledCluster
    network: Network
    disk: FreezableDisk


@dataclass(frozen=True, slots=True)
class Fault:
    """begin and end are called once each; `during` runs in between, if there is anything to do."""

    key: str
    words: str
    begin: Callable[[Place], None]
    end: Callable[[Place], None]
    during: Callable[[Place], Awaitable[None]] | None = None


def _nothing(place: Place) -> None:
    del place


def _stop(place: Place) -> None:
    place.cluster.signal_node(VICTIM, signal.SIGSTOP)


def _go_on(place: Place) -> None:
    place.cluster.signal_node(VICTIM, signal.SIGCONT)


async def _stutter(place: Place) -> None:
    """It runs one hundredth of the time."""
    while True:
        _stop(place)
        await asyncio.sleep(_SLOW_RESTS_S)
        _go_on(place)
        await asyncio.sleep(_SLOW_RUNS_S)


def _kill(place: Place) -> None:
    place.cluster.signal_node(VICTIM, signal.SIGKILL)


def _start(place: Place) -> None:
    place.cluster.start_node(VICTIM)


def _lose(*directions: str) -> Callable[[Place], None]:
    return lambda place: place.network.lose(VICTIM, *directions)


def _heal(place: Place) -> None:
    place.network.heal(VICTIM)


def _freeze(place: Place) -> None:
    place.disk.freeze()


def _thaw(place: Place) -> None:
    place.disk.thaw()


FAULTS = (
    Fault("none", "nothing happens", _nothing, _nothing),
    Fault("frozen", "frozen (SIGSTOP), then goes on", _stop, _go_on),
    Fault("killed", "killed (SIGKILL), then started", _kill, _start),
    Fault("cut", "cut off both ways", _lose("in", "out"), _heal),
    Fault("deaf", "cut off: hears nothing", _lose("in"), _heal),
    Fault("mute", "cut off: is not heard", _lose("out"), _heal),
    Fault("disk", "its disk hangs (fsfreeze)", _freeze, _thaw),
    Fault("slow", "runs 4 ms of every 404", _nothing, _go_on, _stutter),
)
