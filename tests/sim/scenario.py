"""Stories about one cluster, told step by step: what a seed found once, kept for good.

`play` starts a cluster, tells the story, ends it in peace and fails when any promise was broken.
Clients' answers are judged as in a drawn world; `put`, `delete` and `get` say how they ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ring.life import NodeId
from tests.sim.history import Verdict
from tests.sim.loop import run
from tests.sim.machine import Machine
from tests.sim.options import Options, Weather
from tests.sim.quiet import quiet_logs
from tests.sim.workload import Blob, Clients
from tests.sim.world import GENESIS_S, World


class Story:
    """A settled cluster and a client of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.network = world.network
        self.blob: Blob = world.blobs[0]
        self._clients: Clients = world.clients()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Where the blob may be: owners, then spares."""
        return self.world.epochs.placement(self.blob.digest).eligible

    def machine(self, node: NodeId) -> Machine:
        """The machine of a node."""
        return self.world.machines[node]

    async def put(self, gateway: int = 0) -> Verdict:
        """Put the blob."""
        return await self._told(self._clients.put, gateway)

    async def delete(self, gateway: int = 0) -> Verdict:
        """Delete the blob."""
        return await self._told(self._clients.delete, gateway)

    async def get(self, gateway: int = 0) -> Verdict:
        """Get the blob, which is compared."""
        return await self._told(self._clients.get_whole, gateway)

    async def head(self, gateway: int = 0) -> Verdict:
        """Ask for the blob's size."""
        return await self._told(self._clients.head, gateway)

    async def list(self, gateway: int = 0) -> Verdict:
        """List everything; what is listed and what is not is judged."""
        return await self._told(self._clients.list, gateway)

    def is_confirmed(self) -> bool:
        """Whether enough nodes answered the last read."""
        return self.world.history.operations[-1].confirmed

    def cut_off(self, *nodes: NodeId) -> None:
        """Nothing reaches these nodes and nothing leaves them."""
        for node in nodes:
            for place in (*self.world.machines, *self.world.gateways.places):
                self.network.cut(node, place)
                self.network.cut(place, node)

    async def settle(self) -> None:
        """Until every node votes."""
        await self.world.settle("story", self.world.options.settle_s)

    def rot(self, node: NodeId) -> None:
        """Flip one bit of a node's copy of the blob."""
        self.world.nemesis.rot_copy(node, self.blob.digest)

    async def _told(
        self, action: Callable[[Blob, str], Awaitable[bool]], gateway: int
    ) -> Verdict:
        place = self.world.gateways.places[gateway]
        operations = self.world.history.operations
        number = len(operations)  # of the one that begins now
        await action(self.blob, place)
        return operations[number].verdict


def play(
    story: Callable[[Story], Coroutine[Any, Any, None]],
    *,
    seed: int = 0,
    options: Options | None = None,
) -> None:
    """Tell a story to a calm cluster of three nodes, or of another shape."""

    async def main() -> list[str]:
        world = World(seed, options or Options(weather=Weather.CALM, digests=1, clients=1))
        for machine in world.machines.values():
            machine.start()
        await world.settle("genesis", GENESIS_S)
        await story(Story(world))
        await world.end_in_peace()
        return world.judge.violations

    with quiet_logs(echo=False) as survived:
        violations = run(main()) + survived
    assert not violations, "\n".join(violations)
