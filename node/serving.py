"""What all connections of one node's server share: bounds, what is under way, counters."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from node.allowance import Allowance
from node.bounded_log import BoundedLog
from node.handler import RequestHandler
from node.handshake import Credentials
from node.payload_slots import PayloadSlots
from node.work import Work
from ring.limits import MIB
from ring.seams import Randomness


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Bounds and patience of a node's server.

    handshake_timeout_s: until an asker has proved itself.
    strangers_max: connections that proved nothing yet.  connections_max: those that did.
    jobs_max: requests under way in all; jobs_per_connection_max: on one connection.
    payload_bytes_max: large values in memory, arriving or leaving.
    queued_bytes_max: answers that an asker has not fetched; beyond it nothing is read from it.
    stall_s: how long a peer may leave a frame, or its answers, half transferred.
    deadline_s_max: how long any request may take, whatever the asker wishes.
    """

    handshake_timeout_s: float = 5.0
    strangers_max: int = 64
    connections_max: int = 4096
    jobs_max: int = 4096
    jobs_per_connection_max: int = 1024
    payload_bytes_max: int = 128 * MIB
    queued_bytes_max: int = 8 * MIB
    stall_s: float = 30.0
    deadline_s_max: float = 600.0


class Serving:
    """One server's shared state.

    strangers, admitted: how many connections there are of each kind.  payloads: bytes of large
    values in memory.  log: for what strangers and peers can cause.
    """

    def __init__(
        self,
        handler: RequestHandler,
        credentials: Credentials,
        randomness: Randomness,
        settings: ServerSettings,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.handler = handler
        self.credentials = credentials
        self.randomness = randomness
        self.settings = settings
        self.slots = PayloadSlots()
        self.work = Work(self.loop, settings.jobs_max)
        self.payloads = Allowance(settings.payload_bytes_max)
        self.strangers = 0
        self.admitted = 0
        self.draining = False
        self.counters: Counter[str] = Counter()
        self.log = BoundedLog(self.loop.time)
