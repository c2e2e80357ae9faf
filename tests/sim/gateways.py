"""Gateways of a simulated cluster: the real coordinator over a simulated transport."""

from __future__ import annotations

import asyncio
from collections import Counter

from gateway.calls import CallSettings
from gateway.coordinator import Coordinator
from ring.layout import Layout
from tests.sim.network import Network, Place, SimTransport
from tests.sim.trace import Trace

_PATIENCE_WITH_THE_DEAD_S = 15.0


class GatewayProcess:
    """One life of a gateway; it keeps no state, so the next life knows nothing of this one."""

    def __init__(
        self, place: Place, layout: Layout, network: Network, settings: CallSettings
    ) -> None:
        self.alive = True
        self.place = place
        self.waiting: dict[asyncio.Timeout, None] = {}  # what clients wait with for an answer
        transport = SimTransport(network, place, self, is_peer=False)
        self.blobs = Coordinator(transport, layout, settings)

    def kill(self) -> None:
        """What it was asked is never answered; clients cannot know, and give up in a while."""
        self.alive = False
        until_s = asyncio.get_running_loop().time() + _PATIENCE_WITH_THE_DEAD_S
        for patience in self.waiting:
            patience.reschedule(until_s)


class Gateways:
    """All gateways, by place."""

    def __init__(
        self,
        count: int,
        *,
        layout: Layout,
        network: Network,
        settings: CallSettings,
        trace: Trace,
    ) -> None:
        self._layout = layout
        self._network = network
        self._settings = settings
        self._trace = trace
        self._processes = {place: self._made(place) for place in map(_place, range(count))}

    @property
    def places(self) -> list[Place]:
        """Their names."""
        return list(self._processes)

    def at(self, place: Place) -> GatewayProcess:
        """The process that runs there now."""
        return self._processes[place]

    def replace(self, place: Place) -> None:
        """Kill a gateway and start another."""
        self._trace.fault("gateway-kill", place)
        self._processes[place].kill()
        self._processes[place] = self._made(place)

    def probes(self) -> Counter[str]:
        """What the gateways that live now counted."""
        counts: Counter[str] = Counter()
        for process in self._processes.values():
            counts["gateway protocol errors"] += process.blobs.cluster.protocol_errors_total
        return counts

    def close(self) -> None:
        """End the background work of those that live."""
        for process in self._processes.values():
            process.blobs.close()

    def _made(self, place: Place) -> GatewayProcess:
        return GatewayProcess(place, self._layout, self._network, self._settings)


def _place(number: int) -> Place:
    return f"gateway-{number}"
