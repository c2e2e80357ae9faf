"""What can happen to one node, and how it ends."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench import wrk
from bench.trouble.cluster import PORT, TroubledCluster
from bench.trouble.disk import FreezableDisk
from bench.trouble.load import BLOB_BYTES
from bench.trouble.network import Network

VICTIM = 1
_SLOW_RUNS_S = 0.004
_SLOW_RESTS_S = 0.4
_FLOOD_CONNECTIONS = 512
_FLOOD_S = 3600  # it is ended before


@dataclass(frozen=True, slots=True)
class Place:
    """What faults act on."""

    cluster: TroubledCluster
    network: Network
    disk: FreezableDisk


@dataclass(frozen=True, slots=True)
class Fault:
    """begin and end are called once each; `during` runs in between, if there is anything to do.

    is_overload: of everything, so that requests may be refused while it lasts.
    """

    key: str
    words: str
    begin: Callable[[Place], None]
    end: Callable[[Place], None]
    during: Callable[[Place], Awaitable[None]] | None = None
    is_overload: bool = False


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


async def _flood(_place: Place) -> None:
    """Clients that put as fast as they can, without ever waiting when they are refused."""
    url = f"http://127.0.0.1:{PORT}"
    arguments = ["put", "POST", "/v1/blobs?algo=blake3", secrets.token_hex(8), str(BLOB_BYTES)]
    process = await asyncio.create_subprocess_exec(
        *wrk.command(url, arguments, _FLOOD_CONNECTIONS, _FLOOD_S),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


FAULTS = (
    Fault("none", "nothing happens", _nothing, _nothing),
    Fault("frozen", "frozen (SIGSTOP), then goes on", _stop, _go_on),
    Fault("killed", "killed (SIGKILL), then started", _kill, _start),
    Fault("cut", "cut off both ways", _lose("in", "out"), _heal),
    Fault("deaf", "cut off: hears nothing", _lose("in"), _heal),
    Fault("mute", "cut off: is not heard", _lose("out"), _heal),
    Fault("disk", "its disk hangs (fsfreeze)", _freeze, _thaw),
    Fault("slow", "runs 4 ms of every 404", _nothing, _go_on, _stutter),
    Fault(
        "flood",
        f"well; {_FLOOD_CONNECTIONS} clients flood all",
        _nothing,
        _nothing,
        _flood,
        is_overload=True,
    ),
)
