"""One machine of the cluster: a disk, and the node process that runs on it - or does not.

A process that ends leaves its tasks behind where they stand.  Nothing that they wait for ever comes
(its disk and its transport are dead), so they do nothing more: no clean-up runs, as in a power cut.
A process that is frozen (SIGSTOP) does nothing either, but what it had in mind is kept for later.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from random import Random

from node.care_settings import CareSettings
from node.local_store import LocalRecordStore
from node.service import NodeService
from node.store_holder import StoreOpener
from ring.layout import Layout
from ring.life import NodeId
from ring.seams import Clock
from tests.sim.disk import SimDisk
from tests.sim.failure import in_words
from tests.sim.host import SimClock, SimRandomness
from tests.sim.loop import SimLoop, owner
from tests.sim.network import Network, SimTransport
from tests.sim.platter import DirectoryNode
from tests.sim.stores import SimPageStore
from tests.sim.trace import Trace

StoreMaker = Callable[[SimDisk, Clock, SimRandomness], StoreOpener]
StoreCheck = Callable[[NodeId, LocalRecordStore], Awaitable[None]]
Excuse = Callable[["Machine", BaseException | None], bool]
"""Whether a process may have ended by itself, for what happened to its machine."""


class NodeProcess:
    """One life of a node; the machine starts it and decides how it ends."""

    def __init__(self, machine: Machine) -> None:
        self.alive = True
        self.store: LocalRecordStore | None = None
        self.started_s = asyncio.get_running_loop().time()
        self.opened = 0
        self.index_damages = 0
        self.held: list[asyncio.Handle] | None = None  # what a frozen process would do
        self._machine = machine
        self._open = machine.make_store(machine.disk, machine.clock, machine.randomness)
        node = machine.node
        self.service = NodeService(
            node=node,
            first_layout=machine.layout,
            disk=machine.disk,
            open_store=self._open_store,
            transport=SimTransport(machine.network, node, self, is_peer=True),
            clock=machine.clock,
            care=machine.care,
            randomness=machine.randomness,
            accept_blank=True,
        )

    async def run(self) -> None:
        """What the real process does, from start to the end of its background work."""
        await self.service.start()
        self._machine.network.attach(self._machine.node, self.service, self)
        await self.service.run()

    def probes(self) -> Counter[str]:
        """What this process counted, as far as it tells without being asked."""
        counts = Counter({f"node {name}": n for name, n in self.service.counters.items()})
        counts["node became a receiver"] = self.service.membership.receiver_since
        counts["node index mended"] = max(0, self.opened - 1)
        if self.store is not None:
            usage = self.store.usage()
            counts["node quarantined"] = usage.quarantined_total
            counts["node copies lost"] = usage.lost_total
        return counts

    async def _open_store(self) -> LocalRecordStore:
        machine = self._machine
        store = await self._open()
        self.opened += 1
        with machine.disk.calm():
            await machine.check_store(machine.node, store)
        self.store = store
        return store


class Machine:
    """See the module.

    make_store: what opens the record store of a process.  check_store: looks at it at once.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        layout: Layout,
        network: Network,
        disk: SimDisk,
        clock: SimClock,
        rng: Random,
        trace: Trace,
        make_store: StoreMaker,
        check_store: StoreCheck,
        keeps_nothing: bool,
        care: CareSettings,
    ) -> None:
        self.node = node
        self.layout = layout
        self.network = network
        self.disk = disk
        self.clock = clock
        self.randomness = SimRandomness(rng)
        self.make_store = make_store
        self.check_store = check_store
        self.keeps_nothing = keeps_nothing
        self.care = care
        self.failures: list[str] = []
        self.excuses: list[Excuse] = []
        self._counted: Counter[str] = Counter()
        self._rng = rng
        self._trace = trace
        self._process: NodeProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended: list[asyncio.Task[None]] = []

    @property
    def process(self) -> NodeProcess | None:
        """What runs here."""
        return self._process

    @property
    def is_up(self) -> bool:
        """Whether a process runs here."""
        return self._process is not None

    @property
    def store(self) -> LocalRecordStore | None:
        """The store of the process, None when there is none."""
        return None if self._process is None else self._process.store

    @property
    def state(self) -> str:
        """What the node says of itself."""
        if self._process is None:
            return "down"
        if isinstance(self.store, SimPageStore) and self.store.is_damaged:
            return "mending"
        return self._process.service.membership.state

    @property
    def reason(self) -> str:
        """The same in more words."""
        return "" if self._process is None else self._process.service.membership.reason

    @property
    def is_frozen(self) -> bool:
        """Whether its process is stopped, to go on later."""
        return self._process is not None and self._process.held is not None

    @property
    def boot(self) -> tuple[int, int]:
        """Incarnation and boot counter of the process; zeros when there is none."""
        process = self._process
        return (0, 0) if process is None else process.service.membership.life.pair

    def start(self) -> None:
        """Start a process on what the disk holds."""
        assert self._process is None
        self._trace.event("start", self.node)
        process = self._process = NodeProcess(self)
        context = copy_context()
        context.run(owner.set, process)
        loop = asyncio.get_running_loop()
        task = self._task = loop.create_task(process.run(), name=self.node, context=context)

        def over(task: asyncio.Task[None]) -> None:
            if process.alive and not task.cancelled():
                self._exited(task.exception())

        task.add_done_callback(over)

    def _exited(self, error: BaseException | None) -> None:
        """The process ended by itself."""
        words = in_words(error)
        self._trace.event("exit", self.node, words)
        excused = [excuse(self, error) for excuse in self.excuses]
        if not any(excused):
            self.failures.append(f"{self.node} exited: {words}")
        elif self.is_up:
            self._end("exit", refuses=True)
            self.disk = self.disk.kill()

    def probes(self) -> Counter[str]:
        """What all processes counted here."""
        counts = Counter(self._counted)
        if self._process is not None:
            counts.update(self._process.probes())
        return counts

    def freeze(self) -> None:
        """The process does nothing until it is thawed; its connections stay open."""
        process = self._process
        assert process is not None
        assert process.held is None
        assert not self.disk.faults.hangs, "what such a disk has finished would go on"
        self._trace.fault("freeze", self.node)
        self.network.hold(self.node)
        process.held = _loop().take(process)

    def thaw(self) -> None:
        """Go on, if there is anything left that can."""
        process = self._process
        if process is not None and process.held is not None:
            self._trace.event("thaw", self.node)
            held, process.held = process.held, None
            _loop().give_back(held)
            self.network.release(self.node)

    def cut_power(self) -> None:
        """The machine goes dark; what was not durable may be lost."""
        self._trace.fault("power-cut", self.node)
        self._end("power cut", refuses=False)
        self.disk = self.disk.wipe() if self.keeps_nothing else self.disk.crash()

    def kill(self) -> None:
        """The process is gone at once; its port is closed; the operating system lives on."""
        self._trace.fault("kill", self.node)
        self._end("kill", refuses=True)
        self.disk = self.disk.wipe() if self.keeps_nothing else self.disk.kill()

    def wipe(self) -> None:
        """The disk is replaced by an empty one."""
        if self.is_up:
            self._end("wipe", refuses=False)
        self.disk = self.disk.wipe()

    def roll_back(self, snapshot: DirectoryNode) -> None:
        """The disk holds what it held once."""
        if self.is_up:
            self._end("roll-back", refuses=False)
        self.disk = self.disk.roll_back(snapshot)

    async def stop(self) -> None:
        """As SIGTERM does: background work ends, the store is closed."""
        process, task = self._process, self._task
        assert process is not None
        assert task is not None
        self._counted.update(process.probes())
        self._trace.fault("stop", self.node)
        self._process = None
        self.network.detach(self.node, refuses=True)
        task.cancel()
        try:
            await asyncio.gather(task, return_exceptions=True)
            await process.service.stop()
        finally:
            process.alive = False
            self.disk = self.disk.wipe() if self.keeps_nothing else self.disk.kill()

    def _end(self, how: str, *, refuses: bool) -> None:
        assert self._process is not None
        assert self._task is not None
        self._trace.event("end", self.node, how)
        self._counted.update(self._process.probes())
        self._process.alive = False
        self._process.held = None
        self.network.lose_held(self.node)
        self.network.detach(self.node, refuses=refuses)
        self._ended.append(self._task)
        self._process = self._task = None


def _loop() -> SimLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    return loop
