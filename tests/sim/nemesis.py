"""What the world does to a cluster, within a budget that makes every red seed a bug.

Power cuts, ends of processes, cut links, disks that fail or hang are free: promises hold through
any number of them.  Destroying copies is not (damage_budget.py).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable

from ring.digest import Digest
from ring.life import NodeId
from tests.sim.battlefield import Battlefield, Move
from tests.sim.disk_faults import DiskFaults
from tests.sim.layout_faults import LayoutFaults
from tests.sim.link_faults import LinkFaults
from tests.sim.machine import Machine
from tests.sim.options import Weather
from tests.sim.process_faults import ProcessFaults

_ALONE_MARGIN_S = 12.0  # longer than any operation that still met the node before this one
_LONG_AFTER_S = 40 * 24 * 3600.0  # what waits for a wall clock that was wrong has waited enough
_SPOIL_INDEXES = {"index-damage", "index-lost", "torn", "misdirected"}
_WEIGHTS = {"power-cut": 2, "rot": 3, "torn": 2, "misdirected": 3, "wipe": 2, "roll-back": 3}


class Nemesis:
    """Draws faults: `run` goes on until it is cancelled, `end` mends everything."""

    def __init__(self, field: Battlefield) -> None:
        self._field = field
        self._links = LinkFaults(field)
        self._disks = DiskFaults(field)
        self._layouts = LayoutFaults(field)
        processes = ProcessFaults(field, self._links)
        known: dict[str, Move] = {
            **processes.moves(),
            **self._links.moves(),
            **self._disks.moves(),
            **self._layouts.moves(),
        }
        self._moves = {name: known[name] for name in field.options.faults}
        self._under_way = 0

    async def run(self) -> None:
        """Faults as the options say, one every now and then."""
        options = self._field.options
        if options.weather is Weather.CALM or not self._moves:
            return
        async with asyncio.TaskGroup() as group:
            while True:
                await self._field.pause(options.fault_every_s)
                if options.weather is Weather.ONE_AWAY:
                    await self._one_away()
                elif self._under_way < options.faults_at_once:
                    group.create_task(self._do(self._drawn()))

    def end(self) -> None:
        """No more faults: links work, machines run, what lost its disk gets well."""
        network = self._field.network
        self._field.trace.event("peace")
        network.mend()
        network.faults.loss_rate = 0.0
        network.faults.duplicate_rate = 0.0
        network.faults.straggle_rate = 0.0
        network.faults.slow.clear()
        for machine in self._field.machines.values():
            machine.disk.faults.heal()
            if "clock" in self._moves:
                machine.clock.skew_s = _LONG_AFTER_S
            machine.thaw()
            if not machine.is_up:
                machine.start()

    async def tell_layouts(self) -> None:
        """Everybody hears of the layouts that are in force."""
        await self._layouts.teach_all()

    @property
    def spoils_indexes(self) -> bool:
        """Whether an index may be found to be damaged."""
        return not _SPOIL_INDEXES.isdisjoint(self._moves)

    def rot_copy(self, node: NodeId, digest: Digest) -> None:
        """Flip one bit of a node's copy, if it has one; budget or no budget."""
        self._disks.rot(node, digest)

    def _drawn(self) -> Move:
        names = list(self._moves)
        weights = [_WEIGHTS.get(name, 1) for name in names]
        return self._moves[self._field.rng.choices(names, weights)[0]]

    async def _do(self, move: Move) -> None:
        self._under_way += 1
        try:
            await move()
        finally:
            self._under_way -= 1

    # --- one at a time ----------------------------------------------------------------------------

    async def _one_away(self) -> None:
        """One node is missing or unwell, and is whole again before the next one is."""
        field = self._field
        machine = field.a_machine()
        name = field.rng.choice(list(self._moves))
        await self._away(machine, name)
        for _ in itertools.count():
            await asyncio.sleep(0.5)
            if all(one.state == "voter" for one in field.machines.values()):
                break
        await asyncio.sleep(_ALONE_MARGIN_S)

    def _away(self, machine: Machine, name: str) -> Awaitable[None]:
        match name:
            case "isolate":
                return self._links.isolate(machine.node)
            case "hang":
                return self._disks.hang(machine)
            case "errors":
                return self._disks.errors(machine)
            case "full":
                return self._disks.full([machine])
            case "freeze":
                return self._frozen(machine)
        return self._ended(machine, kills=name == "kill")

    async def _ended(self, machine: Machine, *, kills: bool) -> None:
        if machine.keeps_nothing:
            self._field.lose(machine)
        if kills:
            machine.kill()
        else:
            machine.cut_power()
        await self._field.back_after(machine)

    async def _frozen(self, machine: Machine) -> None:
        machine.freeze()
        await self._field.pause(6.0)
        machine.thaw()
