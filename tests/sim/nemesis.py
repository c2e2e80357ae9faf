"""What the world does to a cluster, within a budget that makes every red seed a bug.

Power cuts, ends of processes and cut links are free: promises hold through any number of them.
Destroying copies is not: of each blob's eligible nodes at most W-1 may have lost theirs, for ever
by rot (nothing repairs yet), or by a wipe until the node has become a voter again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from ring.digest import Digest
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.record import RecordKey
from tests.sim.gateways import Gateways
from tests.sim.machine import Machine
from tests.sim.network import Network, Place
from tests.sim.options import Damage, Options, Weather
from tests.sim.promises import Promises
from tests.sim.stores import copy_in
from tests.sim.trace import Trace

Move = Callable[[], Coroutine[Any, Any, None]]
Link = tuple[Place, Place]
_ALONE_MARGIN_S = 12.0  # longer than any operation that still met the node before this one


class Nemesis:
    """Draws one fault after another; `run` goes on until it is cancelled, `end` mends everything.

    digests: every digest whose copies count against the budget.
    """

    def __init__(
        self,
        *,
        rng: Random,
        options: Options,
        machines: dict[NodeId, Machine],
        gateways: Gateways,
        network: Network,
        promises: Promises,
        trace: Trace,
        digests: list[Digest],
    ) -> None:
        self._rng = rng
        self._options = options
        self._machines = machines
        self._gateways = gateways
        self._network = network
        self._promises = promises
        self._trace = trace
        self._digests = digests
        self._rotten: dict[Digest, dict[NodeId, None]] = {}
        self._wiped: dict[NodeId, None] = {}
        self._under_way = 0
        layout = next(iter(machines.values())).layout
        self._live = LiveLayouts((layout,))

    async def run(self) -> None:
        """Faults as the options say, one every now and then."""
        if self._options.weather is Weather.CALM:
            return
        async with asyncio.TaskGroup() as group:
            while True:
                await self._pause(self._options.fault_every_s)
                if self._options.weather is Weather.ONE_AWAY:
                    await self._one_away()
                elif self._under_way < self._options.faults_at_once:
                    group.create_task(self._do(self._rng.choice(self._moves())))

    async def _do(self, move: Move) -> None:
        self._under_way += 1
        try:
            await move()
        finally:
            self._under_way -= 1

    def end(self) -> None:
        """No more faults: links work, machines run, what lost its disk gets well."""
        self._trace.event("peace")
        self._network.mend()
        self._network.faults.loss_rate = 0.0
        self._network.faults.duplicate_rate = 0.0
        self._network.faults.straggle_rate = 0.0
        self._network.faults.slow.clear()
        for machine in self._machines.values():
            machine.disk.faults.slow = 1.0
            if not machine.is_up:
                machine.start()

    def _moves(self) -> list[Move]:
        moves: list[Move] = [
            self._cut_power,
            self._cut_power,
            self._kill,
            self._stop,
            self._isolate,
            self._cut_one_way,
            self._split,
            self._cut_gateway,
            self._slow_node,
            self._kill_gateway,
        ]
        if self._options.store != "memory":
            moves.append(self._cut_all_power)
        if self._options.damage in {Damage.ROT, Damage.BOTH}:
            moves += [self._rot] * 3
        if self._options.damage in {Damage.WIPE, Damage.BOTH}:
            moves += [self._wipe] * 2
        return moves

    # --- processes and machines -------------------------------------------------------------------

    async def _cut_power(self) -> None:
        machine = self._a_running_machine()
        if machine is not None:
            await self._in_the_middle(machine, machine.cut_power)
            await self._back_after(machine)

    async def _kill(self) -> None:
        machine = self._a_running_machine()
        if machine is not None:
            await self._in_the_middle(machine, machine.kill)
            await self._back_after(machine)

    async def _in_the_middle(self, machine: Machine, end: Callable[[], None]) -> None:
        """End a process between two steps of its disk's work, or now if the disk stays idle."""
        process = machine.process

        def trip() -> None:
            if machine.process is not process:
                return
            if machine.keeps_nothing:
                if not self._may_lose(machine.node):
                    return
                self._lose(machine)
            end()

        if self._rng.random() < 0.7:
            disk = machine.disk
            disk.trip_after(self._rng.randrange(1, 16), trip)
            try:
                await self._pause(2.0)
            finally:
                disk.disarm()
        trip()

    async def _stop(self) -> None:
        machine = self._a_running_machine()
        if machine is None:
            return
        if machine.keeps_nothing:
            if not self._may_lose(machine.node):
                return
            self._lose(machine)
        await machine.stop()
        await self._back_after(machine)

    async def _cut_all_power(self) -> None:
        self._trace.fault("blackout")
        dark = [machine for machine in self._machines.values() if machine.is_up]
        for machine in dark:
            machine.cut_power()
        for machine in self._rng.sample(dark, len(dark)):
            await self._back_after(machine)

    async def _wipe(self) -> None:
        """A disk is replaced; sometimes its node then reaches too few of its peers to compare."""
        machine = self._machines[self._rng.choice(sorted(self._machines))]
        if not self._may_lose(machine.node):
            return
        self._lose(machine)
        machine.wipe()
        if self._rng.random() < 0.5:
            await self._back_after(machine)
            return
        others = [node for node in self._machines if node != machine.node]
        silent = self._rng.sample(others, len(others) // 2)
        machine.start()
        await self._cut_for([(machine.node, other) for other in silent], both=True)

    async def _kill_gateway(self) -> None:
        self._gateways.replace(self._rng.choice(self._gateways.places))

    async def _back_after(self, machine: Machine) -> None:
        await self._pause(3.0)
        if not machine.is_up:
            machine.start()

    def _a_running_machine(self) -> Machine | None:
        up = [machine for machine in self._machines.values() if machine.is_up]
        return self._rng.choice(up) if up else None

    # --- copies -----------------------------------------------------------------------------------

    async def _rot(self) -> None:
        digest = self._rng.choice(self._digests)
        placement = self._live.placement(digest)
        node = self._rng.choice(placement.eligible)
        lost = {*self._rotten.get(digest, {}), *self._unwhole(), node} & {*placement.eligible}
        if len(lost) >= self._options.write_quorum:
            return
        self.rot_copy(node, digest)

    def rot_copy(self, node: NodeId, digest: Digest) -> None:
        """Flip one bit of a node's copy, if it has one; budget or no budget."""
        machine = self._machines[node]
        copy = copy_in(machine.disk, machine.store, RecordKey(digest))
        if copy is None:
            return
        self._trace.fault("rot", node, copy.path)
        self._rotten.setdefault(digest, {})[node] = None
        self._promises.excuse(node, digest)
        bit = self._rng.randrange(8 * copy.size_bytes)
        machine.disk.flip(copy.path, 8 * copy.offset + bit)

    def has_rotten(self, digest: Digest) -> bool:
        """Whether a copy of it ever rotted."""
        return digest in self._rotten

    def _may_lose(self, node: NodeId) -> bool:
        """Whether the budget allows that all copies of a node are lost."""
        unwhole = self._unwhole()
        if len(unwhole | {node}) >= self._options.write_quorum:
            return False
        for digest, rotten in self._rotten.items():
            eligible = self._live.placement(digest).eligible
            if len({*rotten, *unwhole, node} & {*eligible}) >= self._options.write_quorum:
                return False
        return True

    def _lose(self, machine: Machine) -> None:
        self._trace.fault("lost-disk", machine.node)
        self._wiped[machine.node] = None
        self._promises.forget(machine.node)

    def _unwhole(self) -> set[NodeId]:
        """Nodes that lost their disk and have not fetched everything back yet."""
        for node in list(self._wiped):
            if self._machines[node].state == "voter":
                del self._wiped[node]
        return set(self._wiped)

    # --- links ------------------------------------------------------------------------------------

    async def _isolate(self) -> None:
        node = self._rng.choice(sorted(self._machines))
        self._trace.fault("isolate", node)
        await self._cut_for([(node, other) for other in self._places()], both=True)

    async def _cut_one_way(self) -> None:
        source, target = self._rng.sample(self._places(), 2)
        self._trace.fault("one-way", source, target)
        if self._rng.random() < 0.5:
            await self._cut_for([(source, target)], both=False)
        elif self._rng.random() < 0.5:
            await self._cut_for([(source, other) for other in self._places()], both=False)
        else:
            await self._cut_for([(other, target) for other in self._places()], both=False)

    async def _split(self) -> None:
        side = [place for place in self._places() if self._rng.random() < 0.5]
        rest = [place for place in self._places() if place not in side]
        self._trace.fault("split", *side)
        await self._cut_for([(one, other) for one in side for other in rest], both=True)

    async def _cut_gateway(self) -> None:
        gateway = self._rng.choice(self._gateways.places)
        some = [node for node in self._machines if self._rng.random() < 0.4]
        self._trace.fault("gateway-cut", gateway, *some)
        await self._cut_for([(gateway, node) for node in some], both=self._rng.random() < 0.5)

    async def _cut_for(self, links: list[Link], *, both: bool) -> None:
        if both:
            links = [*links, *[(target, source) for source, target in links]]
        for source, target in links:
            self._network.cut(source, target)
        await self._pause(4.0)
        self._trace.event("mend")
        for source, target in links:
            self._network.join(source, target)

    async def _slow_node(self) -> None:
        node = self._rng.choice(sorted(self._machines))
        factor = self._rng.choice((10.0, 1000.0))
        self._trace.fault("slow", node, int(factor))
        network, disk = self._network.faults, self._machines[node].disk.faults
        if self._rng.random() < 0.5:
            network.slow[node] = factor
        else:
            disk.slow = factor
        await self._pause(5.0)
        network.slow.pop(node, None)
        disk.slow = 1.0

    def _places(self) -> list[Place]:
        return [*self._machines, *self._gateways.places]

    # --- one at a time ----------------------------------------------------------------------------

    async def _one_away(self) -> None:
        """One node is missing, comes back, and is whole before the next one goes."""
        machine = self._machines[self._rng.choice(sorted(self._machines))]
        way = self._rng.choice((self._cut_power, self._kill, self._isolate))
        if way is self._isolate:
            self._trace.fault("isolate", machine.node)
            others: list[Link] = [(machine.node, other) for other in self._places()]
            await self._cut_for(others, both=True)
        else:
            if machine.keeps_nothing:
                self._lose(machine)
            if way is self._kill:
                machine.kill()
            else:
                machine.cut_power()
            await self._back_after(machine)
        for _ in itertools.count():
            await asyncio.sleep(0.5)
            if all(machine.state == "voter" for machine in self._machines.values()):
                break
        await asyncio.sleep(_ALONE_MARGIN_S)

    async def _pause(self, mean_s: float) -> None:
        await asyncio.sleep(self._rng.expovariate(1.0) * mean_s)
