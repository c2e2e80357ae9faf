"""One simulated cluster from its first start to its judgement.

Phases: genesis (a new cluster starts), work (clients while the nemesis rages), peace (everything is
mended; within bounded time every node votes, every blob answers and the answers agree with what
clients were promised).  Everything is drawn from the seed; two runs of a seed do the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from random import Random

from gateway.calls import CallSettings
from node.handler import Response
from node.local_store import LocalRecordStore
from ring.digest import Digest
from ring.errors import Corrupt
from ring.layout import Layout, Member
from ring.life import NodeId
from ring.messages import Request
from ring.placement import first_layout
from tests.sim.battlefield import Battlefield
from tests.sim.care import care_settings
from tests.sim.convergence import take_stock
from tests.sim.damage_budget import DamageBudget
from tests.sim.disk import SimDisk
from tests.sim.epochs import Epochs
from tests.sim.failure import in_words
from tests.sim.garbage import collected_afterwards
from tests.sim.gateways import Gateways
from tests.sim.history import History, current
from tests.sim.host import SimClock
from tests.sim.loop import run
from tests.sim.machine import Machine
from tests.sim.nemesis import Nemesis
from tests.sim.network import Network, Place
from tests.sim.options import Options, Weather
from tests.sim.peace import Peace
from tests.sim.promises import Promises
from tests.sim.quiet import quiet_logs
from tests.sim.register import is_promised
from tests.sim.stores import MAKERS
from tests.sim.trace import Trace
from tests.sim.workload import Blob, Clients, Judge, pool, record_digests

GENESIS_S = 30.0
_STARTED_IN_S = 2.0
_RESTS_AGAIN = 0.3


@dataclass(slots=True)
class Outcome:
    """How a seed went: red when there are violations."""

    seed: int
    violations: list[str]
    trace_hash: str
    events: int
    virtual_s: float
    faults: dict[str, int] = field(default_factory=dict)
    probes: dict[str, int] = field(default_factory=dict)

    @property
    def is_green(self) -> bool:
        """Whether every promise held."""
        return not self.violations


class World:
    """A cluster with everything that happens to it.  Must be made inside a simulated loop."""

    def __init__(self, seed: int, options: Options | None = None, *, echo: bool = False) -> None:
        self.rng = Random(seed)
        drawn = Options.drawn(self.rng)
        self.options = drawn if options is None else options
        self.trace = Trace(echo=echo)
        self.history = History()
        self.judge = Judge(self.history, self.trace)
        self.network = Network(self._branch(), self.trace, self)
        self.layout = layout_of(self.options.members, self.options.replicas, self.options.zones)
        self.epochs = Epochs(self.layout)
        self.promises = Promises(self.epochs, self._is_needed)
        self.blobs: list[Blob] = pool(self._branch(), self.options)
        self.machines = {node: self._machine(node) for node in self.layout.nodes}
        self.retired: dict[NodeId, Machine] = {}
        self.gateways = Gateways(
            self.options.gateways,
            layout=self.layout,
            network=self.network,
            settings=CallSettings(
                read_timeout_s=self.options.read_timeout_s,
                write_timeout_s=self.options.write_timeout_s,
                write_patience_s=self.options.write_patience_s,
            ),
            trace=self.trace,
        )
        self.budget = DamageBudget(
            machines=self.machines,
            epochs=self.epochs,
            write_quorum=self.options.write_quorum,
            digests=record_digests(self.blobs),
            promises=self.promises,
        )
        field = Battlefield(
            rng=self._branch(),
            options=self.options,
            machines=self.machines,
            retired=self.retired,
            gateways=self.gateways,
            network=self.network,
            trace=self.trace,
            budget=self.budget,
            epochs=self.epochs,
            promises=self.promises,
        )
        self.nemesis = Nemesis(field)
        self.peace = Peace(
            rng=self._branch(),
            options=self.options,
            machines=self.machines,
            gateways=self.gateways,
            epochs=self.epochs,
            blobs=self.blobs,
            history=self.history,
            judge=self.judge,
            budget=self.budget,
        )
        self.trace.event("world", seed, repr(self.options))

    # --- phases -----------------------------------------------------------------------------------

    async def live(self) -> None:
        """All phases; what was broken is in `judge.violations`."""
        for machine in self.machines.values():
            machine.start()
        if not self.options.genesis_is_rough:
            await self.settle("genesis", GENESIS_S)
        self._set_network()
        nemesis = asyncio.get_running_loop().create_task(self.nemesis.run())
        await self._work()
        await _end(nemesis)
        await self.end_in_peace()

    async def end_in_peace(self) -> None:
        """Mend everything, then look whether the cluster is whole and does what it is asked."""
        self.nemesis.end()
        await asyncio.sleep(_STARTED_IN_S)
        await self.nemesis.tell_layouts()
        await self.settle("peace", self.options.settle_s)
        await self.nemesis.tell_layouts()
        self.peace.judge_machines()
        await self.peace.come_to_rest()
        await self.peace.judge_blobs(self.clients())
        if self.rng.random() < _RESTS_AGAIN:
            await self.peace.come_to_rest()
        self.gateways.close()

    def clients(self) -> Clients:
        """One client's view."""
        return Clients(
            rng=self._branch(),
            judge=self.judge,
            gateways=self.gateways,
            blobs=self.blobs,
            trace=self.trace,
        )

    async def _work(self) -> None:
        options = self.options
        until_s = asyncio.get_running_loop().time() + options.work_s
        async with asyncio.TaskGroup() as group:
            for _ in range(options.clients):
                share = options.operations // options.clients
                group.create_task(self.clients().run(share, options.think_s, until_s))
        if options.weather is not Weather.STORM:
            for words in self.judge.errors:
                self.judge.accuse(f"nothing excuses a failure: {words}")

    async def settle(self, phase: str, patience_s: float) -> None:
        """Until every node votes."""
        await self.peace.settle(phase, patience_s)

    def probes(self) -> Counter[str]:
        """What the product counted, over all lives of all processes."""
        counts = Counter(self.gateways.probes())
        for machine in (*self.machines.values(), *self.retired.values()):
            counts.update(machine.probes())
        for operation in self.history.operations:
            counts[f"{operation.kind.value} {operation.verdict.value}"] += 1
            counts["read unconfirmed"] += not operation.confirmed
        return counts

    # --- what the parts ask of the world ----------------------------------------------------------

    def asked(self, caller: Place, node: NodeId, request: Request) -> None:
        """See Observer."""
        operation = current.get()
        if operation is not None:
            operation.charge(request)

    def answered(self, node: NodeId, request: Request, response: Response) -> None:
        """See Observer."""
        self.promises.heard(node, request, response)

    def _is_needed(self, node: NodeId, digest: Digest) -> bool:
        """Whether a node must have a chunk that it once said it had.

        Once it has collected any, the chunk may have been among them, and come back elsewhere.
        """
        if self.machines[node].probes()["node chunks_collected_total"]:
            return False
        return any(
            digest in blob.records and is_promised(self.history, blob.digest)
            for blob in self.blobs
        )

    async def _check_store(self, node: NodeId, store: LocalRecordStore) -> None:
        if node in self.retired:
            return  # nobody relies on it
        try:
            broken = await self.promises.broken(node, store)
        except Corrupt as error:
            # An index that was damaged while nobody looked: it is made anew, and checked then.
            if not self.nemesis.spoils_indexes:
                self.judge.accuse(f"{node}: {error.detail}")
            return
        if broken and self.nemesis.spoils_indexes and await _is_damaged(store):
            return
        for words in broken:
            self.judge.accuse(words)

    def _machine(self, node: NodeId) -> Machine:
        rng = self._branch()
        return Machine(
            node=node,
            layout=self.layout,
            network=self.network,
            disk=SimDisk(rng, latency_s=self.options.disk_latency_s),
            clock=SimClock(),
            rng=rng,
            trace=self.trace,
            make_store=MAKERS[self.options.store],
            check_store=self._check_store,
            keeps_nothing=self.options.store == "memory",
            care=care_settings(self.options),
        )

    def _set_network(self) -> None:
        faults, options = self.network.faults, self.options
        faults.delay_s = options.delay_s
        faults.loss_rate = options.loss_rate
        faults.duplicate_rate = options.duplicate_rate
        faults.straggle_rate = options.straggle_rate

    def _branch(self) -> Random:
        """A random source of its own, so that one part's draws do not shift another's."""
        return Random(self.rng.getrandbits(64))


def run_seed(seed: int, options: Options | None = None, *, echo: bool = False) -> Outcome:
    """Simulate one seed; never raises: whatever goes wrong is a violation."""
    with collected_afterwards():
        return _run_seed(seed, options, echo=echo)


def _run_seed(seed: int, options: Options | None, *, echo: bool) -> Outcome:
    worlds: list[World] = []

    async def main() -> float:
        world = World(seed, options, echo=echo)
        worlds.append(world)
        await world.live()
        return asyncio.get_running_loop().time()

    virtual_s, broken = 0.0, []
    with quiet_logs(echo=echo) as survived:
        try:
            virtual_s = run(main())
        except Exception as error:  # noqa: BLE001 - a crash of the run is a finding like any other
            broken = [in_words(error)]
    world = worlds[0]
    return Outcome(
        seed=seed,
        violations=[*world.judge.violations, *broken, *survived],
        trace_hash=world.trace.digest(),
        events=world.trace.events,
        virtual_s=virtual_s,
        faults=dict(sorted(world.trace.faults.items())),
        probes=dict(sorted(world.probes().items())),
    )


@cache
def layout_of(members: int, replicas: int, zones: int) -> Layout:
    """The first layout of a cluster of that shape; making one takes a while."""
    nodes = [
        Member(NodeId(f"n{number}"), f"n{number}:7000", zone=f"z{number % zones}")
        for number in range(members)
    ]
    return first_layout(nodes, replicas, "simulated")


async def _is_damaged(store: LocalRecordStore) -> bool:
    """Whether whoever looks through all of an index meets the damage that hides a row of it."""
    try:
        await take_stock(store)
    except Corrupt:
        return True
    return False


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel; raises what it failed with before."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
