"""Processes that end or stop, machines that go dark, disks that are replaced, clocks that jump."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ring.errors import Corrupt, DiskFull, StorageFault
from tests.sim.battlefield import Battlefield, Move
from tests.sim.link_faults import Link, LinkFaults
from tests.sim.machine import Machine

_RESTART_S = 1.0
_KNOWN_IN_S = 20.0  # so long a roll-back waits for everybody to remember the life it takes back
_HOUR_S = 3600.0


class ProcessFaults:
    """See the module."""

    def __init__(self, field: Battlefield, links: LinkFaults) -> None:
        self._field = field
        self._links = links
        for machine in field.machines.values():
            machine.excuses.append(self._excuse)

    def moves(self) -> Mapping[str, Move]:
        """By kind of fault."""
        return {
            "power-cut": self._cut_power,
            "kill": self._kill,
            "stop": self._stop,
            "blackout": self._cut_all_power,
            "freeze": self._freeze,
            "away": self._away,
            "gateway-kill": self._kill_gateway,
            "wipe": self._wipe,
            "roll-back": self._roll_back,
            "clock": self._jump,
        }

    # --- ends -------------------------------------------------------------------------------------

    async def _cut_power(self) -> None:
        machine = self._field.a_running_machine()
        if machine is not None:
            await self._in_the_middle(machine, machine.cut_power)
            await self._field.back_after(machine)

    async def _kill(self) -> None:
        machine = self._field.a_running_machine()
        if machine is not None:
            await self._in_the_middle(machine, machine.kill)
            await self._field.back_after(machine)

    async def _in_the_middle(self, machine: Machine, end: Callable[[], None]) -> None:
        """End a process between two steps of its disk's work, or now if the disk stays idle."""
        field, process = self._field, machine.process

        def trip() -> None:
            if machine.process is process and field.may_end(machine):
                end()

        if field.rng.random() < 0.7:
            disk = machine.disk
            disk.trip_after(field.rng.randrange(1, 16), trip)
            try:
                await field.pause(2.0)
            finally:
                disk.disarm()
        trip()

    async def _stop(self) -> None:
        machine = self._field.a_running_machine()
        if machine is not None and self._field.may_end(machine):
            await machine.stop()
            await self._field.back_after(machine)

    async def _cut_all_power(self) -> None:
        field = self._field
        field.trace.fault("blackout")
        dark = [machine for machine in field.machines.values() if machine.is_up]
        for machine in dark:
            machine.cut_power()
        for machine in field.rng.sample(dark, len(dark)):
            await field.back_after(machine)

    async def _kill_gateway(self) -> None:
        self._field.gateways.replace(self._field.rng.choice(self._field.gateways.places))

    # --- absence ----------------------------------------------------------------------------------

    async def _freeze(self) -> None:
        machine = self._field.a_running_machine()
        if machine is None or machine.disk.faults.hangs:
            return
        process = machine.process
        machine.freeze()
        await self._field.pause(6.0)
        if machine.process is process:
            machine.thaw()

    async def _away(self) -> None:
        """Out of reach for most of the time that is left."""
        field = self._field
        machine = field.a_running_machine()
        if machine is None or not field.may_end(machine):
            return
        field.trace.fault("away", machine.node)
        machine.cut_power()
        await asyncio.sleep(field.rng.uniform(0.2, 0.8) * field.options.work_s)
        if not machine.is_up:
            machine.start()

    async def _jump(self) -> None:
        """A wall clock is set to another time, for a while or for good."""
        field = self._field
        machine = field.a_machine()
        hours = field.rng.choice((-240.0, -1.0, 1.0, 240.0))
        field.trace.fault("clock", machine.node, int(hours))
        machine.clock.skew_s += hours * _HOUR_S
        if field.rng.random() < 0.5:
            await field.pause(5.0)
            machine.clock.skew_s -= hours * _HOUR_S

    # --- disks that are replaced ------------------------------------------------------------------

    async def _wipe(self) -> None:
        """A disk is replaced; sometimes its node then reaches too few of its peers to compare."""
        field = self._field
        machine = field.a_machine()
        if not field.budget.may_lose(machine.node):
            return
        field.trace.fault("wipe", machine.node)
        field.lose(machine)
        machine.wipe()
        if field.rng.random() < 0.5:
            await field.back_after(machine)
            return
        others = [node for node in field.machines if node != machine.node]
        silent = field.rng.sample(others, len(others) // 2)
        machine.start()
        links: list[Link] = [(machine.node, other) for other in silent]
        await self._links.cut_for(links, both=True)

    async def _roll_back(self) -> None:
        """The disk of an earlier boot is put back.

        Only once every other member remembers a later boot: what nobody remembers nobody can
        notice.
        """
        field = self._field
        machine = field.a_running_machine()
        if machine is None or machine.state != "voter" or not field.budget.may_lose(machine.node):
            return
        snapshot, then = machine.disk.snapshot(), machine.boot
        bad_then = [digest for node, digest in field.budget.damaged if node == machine.node]
        log_was_bad = field.budget.has_damaged_log(machine.node)
        await field.pause(5.0)
        if machine.is_up:
            machine.kill()
        await field.back_after(machine)
        until_s = asyncio.get_running_loop().time() + _KNOWN_IN_S
        while not self._all_remember_later(machine, then):
            await asyncio.sleep(0.5)
            if asyncio.get_running_loop().time() > until_s:
                return
        await field.pause(3.0)
        if not self._all_remember_later(machine, then) or not field.budget.may_lose(machine.node):
            return
        field.trace.fault("roll-back", machine.node, *then)
        field.lose(machine)
        machine.roll_back(snapshot)
        field.budget.damage(machine.node, bad_then)
        if log_was_bad:
            field.budget.damage_log(machine.node)
        await field.back_after(machine)

    def _all_remember_later(self, machine: Machine, boot: tuple[int, int]) -> bool:
        if machine.state != "voter" or machine.boot[0] != boot[0] or machine.boot <= boot:
            return False
        for other in self._field.machines.values():
            if other is machine:
                continue
            if other.process is None or other.state != "voter":
                return False
            known = dict(other.process.service.sender().peers).get(machine.node)
            if known is None or known.pair <= boot:
                return False
        return True

    # --- processes that end by themselves ---------------------------------------------------------

    def _excuse(self, machine: Machine, error: BaseException | None) -> bool:
        """What a supervisor starts again, and what an operator replaces."""
        process = machine.process
        assert process is not None
        loop = asyncio.get_running_loop()
        if isinstance(error, Corrupt) and self._field.budget.has_damaged_log(machine.node):
            loop.call_later(_RESTART_S, self._replace, machine)
            return True
        had_trouble = machine.disk.faults.troubled_at_s >= process.started_s
        if isinstance(error, StorageFault | DiskFull) and had_trouble:
            loop.call_later(_RESTART_S, self._restart, machine)
            return True
        return False

    def _restart(self, machine: Machine) -> None:
        if not machine.is_up:
            machine.start()

    def _replace(self, machine: Machine) -> None:
        if not machine.is_up and self._field.budget.has_damaged_log(machine.node):
            self._field.trace.fault("replaced", machine.node)
            self._field.lose(machine)
            machine.wipe()
        self._restart(machine)
