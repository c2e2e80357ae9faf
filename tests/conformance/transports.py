"""The transports that must behave alike, each with a scripted node behind it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any

from ring.life import NodeId
from ring.seams import Transport
from tests.fakes.scripted_node import ScriptedNode
from tests.node.loops import LOOPS, NewLoop, run_on
from tests.node.wire_world import ABSENT, NODE, asking, serving
from tests.sim import loop as sim_loop
from tests.sim.network import Network, SimTransport
from tests.sim.trace import Trace

Scenario = Callable[[Transport, ScriptedNode], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class _Living:
    alive: bool = True


@dataclass(frozen=True, slots=True)
class TcpWorld:
    """Real sockets."""

    new_loop: NewLoop
    tls: bool = False

    def run(self, scenario: Scenario) -> None:
        """Run it against a fresh node."""

        async def main() -> None:
            node = ScriptedNode()
            async with (
                serving(node, tls=self.tls) as (_, address),
                asking(address, tls=self.tls) as transport,
            ):
                await scenario(transport, node)

        run_on(self.new_loop, main())


class SimWorld:
    """The simulated network, without faults."""

    def run(self, scenario: Scenario) -> None:
        """Run it against a fresh node."""

        async def main() -> None:
            network = Network(Random(1), Trace())
            node = ScriptedNode()
            network.attach(NODE, node, _Living())
            network.detach(ABSENT, refuses=True)
            await scenario(SimTransport(network, "gateway", _Living(), is_peer=False), node)

        sim_loop.run(main())


WORLDS: dict[str, TcpWorld | SimWorld] = {
    **{name: TcpWorld(new_loop) for name, new_loop in LOOPS.items()},
    **{f"{name}-tls": TcpWorld(new_loop, tls=True) for name, new_loop in LOOPS.items()},
    "simulated": SimWorld(),
}

__all__ = ["ABSENT", "NODE", "WORLDS", "NodeId", "Scenario", "SimWorld", "TcpWorld"]
