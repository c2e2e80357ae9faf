"""A door over the store in memory, on a free port of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from gateway.http.config import HttpConfig
from gateway.http.server import HttpDoor
from ring.digest import Digest
from ring.errors import Unavailable
from ring.operating import CareOrder
from tests.fakes.memory_blob_store import MemoryBlobStore
from tests.gateway.http.wire import PATIENCE_S, Wire

HOST = "127.0.0.1"
STOP_S = 5.0

# Short enough for a test that waits for a deadline; every such test passes its own.
PATIENT = HttpConfig(sweep_s=0.02, linger_s=0.1)


class FixedClock:
    """Sunday, 6 November 1994, 8:49:37, as in RFC 9110."""

    def now_s(self) -> float:
        return 784_111_777.0


class FixedRandomness:
    """All bytes alike."""

    def octets(self, count: int) -> bytes:
        return b"\xab" * count


class Views:
    """What an operator is told; `reason` makes the gateway unready."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.asked: list[Digest] = []
        self.is_away = False

    def ready(self) -> str | None:
        return self.reason

    async def status(self) -> Mapping[str, object]:
        return {"nodes": [{"node": "n1", "up": True}]}

    async def where(self, digest: Digest) -> Mapping[str, object]:
        self.asked.append(digest)
        if self.is_away:
            raise Unavailable("no node answers")
        return {"digest": str(digest), "copies": ["n1"]}

    async def care(self, begin: CareOrder | None = None) -> Mapping[str, object]:
        return {"begun": None if begin is None else begin.name}

    async def why(self, digest: Digest) -> Mapping[str, object]:
        self.asked.append(digest)
        return {"digest": str(digest), "words": ["nobody knows"]}

    async def garbage(self, *, begin: bool) -> Mapping[str, object]:
        return {"nodes": [], "begun": begin}


@dataclass
class Door:
    """A running door and what is behind it."""

    port: int
    door: HttpDoor
    store: MemoryBlobStore
    views: Views
    registry: CollectorRegistry
    wires: list[Wire] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def wire(self, receive_bytes: int | None = None) -> Wire:
        """A connection of bytes; closed with the door.  See Wire.connect."""
        wire = await Wire.connect(HOST, self.port, receive_bytes=receive_bytes)
        self.wires.append(wire)
        return wire

    def value(self, name: str, **labels: str) -> float:
        """A metric's value; 0 when it was never counted."""
        return self.registry.get_sample_value(name, labels) or 0.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no message announces; fails when it never comes."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running_door(
    store: MemoryBlobStore | None = None, config: HttpConfig = PATIENT
) -> AsyncIterator[Door]:
    """A door that listens; stopped at the end, and nothing of it may be left then."""
    store = MemoryBlobStore() if store is None else store
    views, registry = Views(), CollectorRegistry()
    door = HttpDoor(
        store,
        views,
        config,
        clock=FixedClock(),
        randomness=FixedRandomness(),
        registry=registry,
    )
    _, port = await door.start(HOST, 0)
    running = Door(port, door, store, views, registry)
    try:
        yield running
    finally:
        for wire in running.wires:
            wire.close()
        await door.stop(STOP_S)
    assert running.value("holdfast_http_connections_open") == 0
    assert running.value("holdfast_http_requests_in_flight") == 0
    assert running.value("holdfast_http_body_bytes_in_flight") == 0
    assert store.readers_open == 0
