"""After the last fault, within bounded virtual time: every node votes, every question is answered,
and the cluster comes to rest with what it should have and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from ring.errors import Corrupt, StorageFault
from ring.life import NodeId
from ring.limits import CHUNK_BYTES
from tests.sim.convergence import Stock, differences, take_stock
from tests.sim.damage_budget import DamageBudget
from tests.sim.epochs import Epochs
from tests.sim.gateways import Gateways
from tests.sim.history import History
from tests.sim.machine import Machine
from tests.sim.network import Place
from tests.sim.options import Options
from tests.sim.register import is_promised
from tests.sim.workload import Blob, Clients, Judge

_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Peace:
    """The parts of a world that it looks at."""

    rng: Random
    options: Options
    machines: dict[NodeId, Machine]
    gateways: Gateways
    epochs: Epochs
    blobs: list[Blob]
    history: History
    judge: Judge
    budget: DamageBudget

    async def settle(self, phase: str, patience_s: float) -> None:
        """Until every node votes."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while any(machine.state != "voter" for machine in self.machines.values()):
            if loop.time() > deadline:
                for node, machine in self.machines.items():
                    if machine.state != "voter":
                        words = f"{machine.state}, {machine.reason}"
                        self.judge.accuse(f"{phase}: {node} does not become a voter: {words}")
                return
            await asyncio.sleep(_LOOK_S)

    async def come_to_rest(self) -> None:
        """Until every node has what it should have, and nothing else.

        A copy that rotted may be found by the scrub alone, which has its period for that.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.options.settle_s
        if self.budget.damaged:
            deadline += self.options.scrub_s
        while self.options.converges:
            found = await self._differences()
            if not found:
                return
            if loop.time() > deadline:
                for words in found:
                    self.judge.accuse(f"no rest: {words}")
                return
            await asyncio.sleep(_LOOK_S)

    async def _differences(self) -> list[str]:
        stocks: dict[NodeId, Stock] = {}
        for node, machine in self.machines.items():
            if machine.store is None or machine.state != "voter":
                return [f"{node} is {machine.state}: {machine.reason}"]
            try:
                stocks[node] = await take_stock(machine.store)
            except (Corrupt, StorageFault) as error:  # its index is damaged: it is about to mend it
                return [f"{node} cannot be looked at: {error.detail}"]
        buried: dict[int, int] = {}
        for operation in self.history.operations:
            if operation.digest is not None:
                partition = operation.digest.partition
                highest = max(operation.bury_generations, default=0)
                buried[partition] = max(highest, buried.get(partition, 0))
        promised = [b.digest for b in self.blobs if is_promised(self.history, b.digest)]
        return differences(stocks, self.epochs.live, promised=promised, buried=buried, only=True)

    def judge_machines(self) -> None:
        """No process ended by itself without a reason."""
        for machine in self.machines.values():
            for words in machine.failures:
                self.judge.accuse(words)

    async def judge_blobs(self, clients: Clients) -> None:
        """Nothing is wrong any more: every question has an answer, every write is done.

        Except that a put that nobody acknowledged may have left a single copy, and that rotted, or
        a recipe whose chunks were collected: it took longer than their grace.
        """
        for blob in self.blobs:
            digest = blob.digest
            whole = len(blob.data) <= CHUNK_BYTES and not self.budget.ever_damaged(digest)
            if is_promised(self.history, digest) or whole:
                await self._must(clients.get, blob)
            if self.rng.random() < 0.5:
                await self._must(clients.put, blob)
            else:
                await self._must(clients.delete, blob)
            await self._must(clients.get, blob)
        await self._must(clients.list, self.blobs[0])

    async def _must(self, action: Callable[[Blob, Place], Awaitable[bool]], blob: Blob) -> None:
        """Every gateway must be able to; what it says is judged elsewhere.

        Damage to an index that nobody met before may take a node out of service for a moment.
        """
        for place in self.gateways.places:
            done = await action(blob, place)
            if not done and "index-damage" in self.options.faults:
                await asyncio.sleep(_LOOK_S)
                await self.settle("peace", self.options.settle_s)
                done = await action(blob, place)
            if not done:
                words = f"{place} fails: {action.__name__} {blob.digest}"
                self.judge.accuse(f"peace: {words} ({self.judge.errors[-1]})")
