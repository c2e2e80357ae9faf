"""Layouts that change while the cluster works, and members that are retired by one.

A machine that was retired is none of the cluster's any more, but it may run on with all it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ring.control import LayoutsReply, TeachLayouts
from ring.errors import Corrupt, HoldfastError, StorageFault
from ring.life import NodeId
from ring.messages import expect
from tests.sim.battlefield import Battlefield, Move
from tests.sim.convergence import Stock, differences, take_stock
from tests.sim.machine import Machine
from tests.sim.network import SimTransport

_TEACH_TIMEOUT_S = 1.0
_PATIENCE_S = 30.0
_GONE_SHARE = 0.5


class LayoutFaults:
    """See the module.  Whoever is not taught hears of it from others."""

    def __init__(self, field: Battlefield) -> None:
        self._field = field
        self._operator = SimTransport(field.network, "operator", Operator(), is_peer=False)
        self._is_changing = False

    def moves(self) -> Mapping[str, Move]:
        """By kind of fault."""
        return {"layout": self._rotate, "retire": self._retire}

    async def _rotate(self) -> None:
        """Every partition moves."""
        field = self._field
        if self._is_changing or len(field.machines) <= 1:
            return
        self._is_changing = True
        field.promises.release_spares()
        field.epochs.begin()
        field.trace.fault("layout", *field.epochs.live.epochs)
        await self._change()
        await self._teach_one()

    async def _retire(self) -> None:
        """A member leaves for ever: one that works, or one that is gone and comes back too late."""
        field = self._field
        if self._is_changing or len(field.machines) <= field.options.replicas:
            return
        machine = field.a_machine()
        is_gone = (
            field.rng.random() < _GONE_SHARE
            and field.budget.may_lose(machine.node)
            and not field.budget.has_damaged_log(machine.node)
        )
        self._is_changing = True
        field.promises.release_spares()
        field.epochs.begin_without(machine.node)
        field.trace.fault("retire", machine.node, *field.epochs.live.epochs)
        if is_gone:
            field.lose(machine)
            if machine.is_up:
                machine.cut_power()
        if await self._change(gone=machine if is_gone else None):
            field.retire(machine)
        elif is_gone and not machine.keeps_nothing:
            field.budget.regain(machine.node)
        await self._teach_one()
        if is_gone:
            await field.back_after(machine)

    async def _change(self, *, gone: Machine | None = None) -> bool:
        """Complete what was begun once every owner has everything, else cancel it."""
        await self._decide()
        is_complete = False
        try:
            is_complete = await self._becomes_complete(gone)
        finally:
            self._end(is_complete=is_complete)
        return is_complete

    def _end(self, *, is_complete: bool) -> None:
        epochs = self._field.epochs
        self._field.promises.release_spares()
        if is_complete:
            epochs.complete()
        else:
            epochs.cancel()
        self._is_changing = False
        self._field.trace.event("layout", "complete" if is_complete else "cancelled")

    async def _decide(self) -> None:
        """A layout is in force once more than half of the members have it, not before."""
        nodes = sorted(self._field.machines)
        knowing: dict[NodeId, None] = {}
        while 2 * len(knowing) <= len(nodes):
            node = self._field.rng.choice(nodes)
            if await self._teach(node):
                knowing[node] = None
            await asyncio.sleep(0.1)

    async def _becomes_complete(self, gone: Machine | None) -> bool:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._field.rng.uniform(0, _PATIENCE_S)
        while await self._lacks(gone):
            await self._field.pause(1.0)
            if loop.time() > until_s:
                return False
        return True

    async def _lacks(self, gone: Machine | None) -> bool:
        """Whether an owner of the new layout lacks something, or may."""
        field = self._field
        stocks: dict[NodeId, Stock] = {}
        for node, machine in field.machines.items():
            if machine is gone:
                continue
            process, store = machine.process, machine.store
            if process is None or store is None or machine.state != "voter" or machine.is_frozen:
                return True
            if process.service.layouts.live.epochs != field.epochs.live.epochs:
                return True
            try:
                with machine.disk.calm():
                    stocks[node] = await take_stock(store)
            except (Corrupt, StorageFault):  # its index is damaged: it is about to mend it
                return True
        promised = field.budget.digests
        found = differences(stocks, field.epochs.live, promised=promised, buried={}, only=False)
        return any("floor" not in words for words in found)

    async def _teach_one(self) -> None:
        """The others hear of it from this one, or when somebody asks them."""
        await self._teach(self._field.rng.choice(sorted(self._field.epochs.live.nodes)))

    async def _teach(self, node: NodeId) -> bool:
        """Whether the node says that it lives by what is in force."""
        live = self._field.epochs.live
        try:
            answer = await self._operator.call(
                node, TeachLayouts(live.layouts), epochs=live.epochs, timeout_s=_TEACH_TIMEOUT_S
            )
        except HoldfastError:
            return False
        layouts = expect(answer, LayoutsReply).layouts
        return tuple(layout.epoch for layout in layouts) == live.epochs

    async def teach_all(self) -> None:
        """In peace everybody hears of what is in force, and what is under way is called off."""
        if self._is_changing:
            for node in self._field.machines:
                await self._teach(node)
            self._end(is_complete=False)
        for node in self._field.machines:
            await self._teach(node)


class Operator:
    """A process that never ends."""

    alive = True
