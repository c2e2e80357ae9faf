"""What all kinds of faults work with: the parts of a world, and steps that they share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from ring.life import NodeId
from tests.sim.damage_budget import DamageBudget
from tests.sim.epochs import Epochs
from tests.sim.gateways import Gateways
from tests.sim.machine import Machine
from tests.sim.network import Network, Place
from tests.sim.options import Options
from tests.sim.promises import Promises
from tests.sim.trace import Trace

Move = Callable[[], Awaitable[None]]
"""One fault from its beginning to its end; without effect when nothing can be done now."""


@dataclass(frozen=True, slots=True)
class Battlefield:
    """The parts.  machines: of members.  retired: machines of those that were."""

    rng: Random
    options: Options
    machines: dict[NodeId, Machine]
    retired: dict[NodeId, Machine]
    gateways: Gateways
    network: Network
    trace: Trace
    budget: DamageBudget
    epochs: Epochs
    promises: Promises

    @property
    def places(self) -> list[Place]:
        """Nodes and gateways."""
        return [*self.machines, *self.gateways.places]

    def a_machine(self) -> Machine:
        """Any."""
        return self.machines[self.rng.choice(sorted(self.machines))]

    def a_running_machine(self) -> Machine | None:
        """Any whose process does something."""
        up = [one for one in self.machines.values() if one.is_up and not one.is_frozen]
        return self.rng.choice(up) if up else None

    async def pause(self, mean_s: float) -> None:
        """A while."""
        await asyncio.sleep(self.rng.expovariate(1.0) * mean_s)

    async def back_after(self, machine: Machine) -> None:
        """Start a machine that is down, in a while."""
        await self.pause(3.0)
        if not machine.is_up:
            machine.start()

    def may_end(self, machine: Machine) -> bool:
        """Whether its process may end; from now on what that loses counts as lost."""
        if machine.keeps_nothing:
            if not self.budget.may_lose(machine.node):
                return False
            self.lose(machine)
        return True

    def retire(self, machine: Machine) -> None:
        """It is no member's any more; what it has and does must not matter."""
        self.trace.fault("retired", machine.node)
        del self.machines[machine.node]
        self.retired[machine.node] = machine

    def lose(self, machine: Machine) -> None:
        """All that a machine keeps is about to be lost; budget or no budget."""
        if machine.node in self.retired:
            return
        self.trace.event("lost-disk", machine.node)
        self.budget.lose(machine.node)
