"""Makes the faults happen, and sees to it that the cluster gets over them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from random import Random
from typing import Final

from tests.nemesis.faults import DAMAGING, HARMLESS, ROTTEN, Fault, Place
from tests.nemesis.judge import Judge
from tests.nemesis.operator import Operator
from tests.nemesis.rounds import Round, Strike, rounds

_READY_S: Final = 90.0
_REPAIRS_MAX: Final = 2


class Nemesis:
    """Strikes round after round; accuses what ends by itself and what does not heal."""

    def __init__(self, random: Random, place: Place, judge: Judge, operator: Operator) -> None:
        self._place = place
        self._judge = judge
        self._operator = operator
        self._rounds = rounds(
            random,
            nodes=place.cluster.nodes,
            gateways=len(place.cluster.ports),
            harmless=tuple(HARMLESS),
            damaging=tuple(DAMAGING),
        )
        self._begun_s = time.monotonic()

    async def run(self, seconds: float) -> None:
        """Whole rounds until so much time is over, or until something does not heal."""
        for one in self._rounds:
            await self._strike(one)
            await self._revive(one.damage)
            if one.heals and not await self.heal():
                return
            if time.monotonic() - self._begun_s > seconds:
                return

    async def heal(self) -> bool:
        """Whether everything is whole, within what an operator's patience allows."""
        if not await asyncio.to_thread(self._operator.becomes_ready, _READY_S):
            self._judge.accuse(f"not ready within {_READY_S:.0f} s, though nothing is broken")
            return False
        words: str | None = None
        begun_s = time.monotonic()
        for _ in range(_REPAIRS_MAX):
            words = await asyncio.to_thread(self._operator.scrub)  # rot shows only where one reads
            words = words or await asyncio.to_thread(self._operator.repair)
            if words is None:
                self._say(f"whole after {time.monotonic() - begun_s:.1f} s")
                return True
        self._judge.accuse(f"does not heal: {words}")
        return False

    async def _strike(self, one: Round) -> None:
        if one.damage is not None:
            self._say(f"round {one.number}: node-{one.damage.node} is {one.damage.fault}")
            fault = DAMAGING[one.damage.fault]
            await asyncio.to_thread(fault.begin, self._place, one.damage.node)
            await asyncio.sleep(one.damage.then_s)
            await asyncio.to_thread(fault.end, self._place, one.damage.node)
        acting: list[asyncio.Task[None]] = []
        for strike in one.strikes:
            self._say(f"round {one.number}: node-{strike.node} is {strike.fault}")
            acting.append(await self._begin(HARMLESS[strike.fault], strike.node))
            await asyncio.sleep(strike.then_s)
        if one.gateway is not None:
            self._say(f"round {one.number}: gateway {one.gateway} is killed")
            await asyncio.to_thread(self._place.cluster.kill_gateway, one.gateway)
        await asyncio.sleep(one.hold_s)
        if one.gateway is not None:
            self._place.cluster.start_gateway(one.gateway)
        for index, then_s in one.endings:
            acting[index].cancel()
            with suppress(asyncio.CancelledError):
                await acting[index]
            strike = one.strikes[index]
            await asyncio.to_thread(HARMLESS[strike.fault].end, self._place, strike.node)
            await asyncio.sleep(then_s)

    async def _begin(self, fault: Fault, node: int) -> asyncio.Task[None]:
        await asyncio.to_thread(fault.begin, self._place, node)

        async def act() -> None:
            if fault.during is not None:
                await fault.during(self._place, node)

        return asyncio.create_task(act())

    async def _revive(self, damage: Strike | None) -> None:
        """Nothing of a cluster ends by itself, but a node may refuse to start on what rotted."""
        for name, status in self._place.cluster.ended().items():
            kind, number = name.split("-")
            refuses = status > 0 and damage is not None and damage.fault in ROTTEN
            if damage is not None and refuses and name == f"node-{damage.node}":
                self._say(f"{name} does not start on what is left, and is replaced")
                await asyncio.to_thread(DAMAGING["wiped"].begin, self._place, damage.node)
                DAMAGING["wiped"].end(self._place, damage.node)
                continue
            self._judge.accuse(f"{name} ended by itself with status {status}")
            if kind == "node":
                self._place.cluster.start_node(int(number))
            else:
                self._place.cluster.start_gateway(int(number))

    def _say(self, words: str) -> None:
        print(f"[{time.monotonic() - self._begun_s:6.1f}] {words}", flush=True)
