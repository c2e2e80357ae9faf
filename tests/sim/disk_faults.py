"""Disks that fail, lie, hang, are slow or full; what is stored and is not what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from ring.digest import Digest
from ring.errors import HoldfastError
from ring.life import NodeId
from ring.record import RecordKey
from ring.seams import BLOCK_BYTES
from tests.sim.battlefield import Battlefield, Move
from tests.sim.device import Hit, Strike
from tests.sim.machine import Machine
from tests.sim.platter import SECTOR_BYTES, FileNode
from tests.sim.stores import SimPageStore, copy_in, holds_index, holds_values

_INDEX = "index/data"
_PAIRS_MAX = 1000
_COMMITTED_IN_S = 15.0  # after its bytes a value counts as stored
_MENDED_QUICKLY = 2  # the times that a process makes its index anew without waiting for long


class DiskFaults:
    """See the module."""

    def __init__(self, field: Battlefield) -> None:
        self._field = field

    def moves(self) -> Mapping[str, Move]:
        """By kind of fault."""
        return {
            "slow-disk": self._slow,
            "hang": self._hang,
            "error": self._error,
            "errors": self._errors,
            "full": self._full,
            "rot": self._rot,
            "torn": self._tear,
            "misdirected": self._misdirect,
            "log-damage": self._damage_log,
            "index-lost": self._lose_index,
            "index-damage": self._damage_index,
        }

    # --- a disk that answers late, or with errors -------------------------------------------------

    async def _slow(self) -> None:
        field = self._field
        machine = field.a_machine()
        factor = field.rng.choice((10.0, 1000.0))
        field.trace.fault("slow-disk", machine.node, int(factor))
        machine.disk.faults.slow = factor
        await field.pause(5.0)
        machine.disk.faults.slow = 1.0

    async def _hang(self) -> None:
        await self.hang(self._field.a_machine())

    async def hang(self, machine: Machine) -> None:
        """A disk answers nothing for seconds."""
        faults = machine.disk.faults
        if faults.hangs or machine.is_frozen:
            return
        self._field.trace.fault("hang", machine.node)
        faults.hang()
        await self._field.pause(6.0)
        faults.recover()

    async def _error(self) -> None:
        """One operation fails."""
        field = self._field
        machine = field.a_machine()
        faults = machine.disk.faults
        field.trace.fault("error", machine.node)
        faults.errors_left = 1
        for kind in field.rng.sample(range(3), field.rng.randrange(1, 4)):
            self._set_rate(machine, kind, field.rng.choice((0.1, 1.0)))
        await field.pause(4.0)
        faults.stop_failing()

    async def _errors(self) -> None:
        await self.errors(self._field.a_machine())

    async def errors(self, machine: Machine) -> None:
        """Many operations fail, for a while."""
        field = self._field
        field.trace.fault("errors", machine.node)
        for kind in field.rng.sample(range(3), field.rng.randrange(1, 4)):
            self._set_rate(machine, kind, field.rng.choice((0.05, 0.3, 1.0)))
        await field.pause(4.0)
        machine.disk.faults.stop_failing()

    def _set_rate(self, machine: Machine, kind: int, rate: float) -> None:
        faults = machine.disk.faults
        if kind == 0:
            faults.read_error_rate = rate
        elif kind == 1:
            faults.write_error_rate = rate
        else:
            faults.sync_error_rate = rate

    async def _full(self) -> None:
        """One disk has no room left, sometimes all of them."""
        field = self._field
        if field.rng.random() < 0.2:
            await self.full(list(field.machines.values()))
        else:
            await self.full([field.a_machine()])

    async def full(self, machines: list[Machine]) -> None:
        """Disks have no room left, for a while."""
        self._field.trace.fault("full", *[machine.node for machine in machines])
        for machine in machines:
            machine.disk.faults.full = True
        await self._field.pause(6.0)
        for machine in machines:
            machine.disk.faults.full = False

    # --- copies -----------------------------------------------------------------------------------

    async def _rot(self) -> None:
        field = self._field
        digest = field.rng.choice(field.budget.digests)
        node = field.rng.choice(field.epochs.placement(digest).eligible)
        if field.budget.may_damage(node, [digest]):
            self.rot(node, digest)

    def rot(self, node: NodeId, digest: Digest) -> None:
        """Flip one bit of a node's copy, if it has one; budget or no budget."""
        machine = self._field.machines[node]
        copy = copy_in(machine.disk, machine.store, RecordKey(digest))
        if copy is None:
            return
        self._field.trace.fault("rot", node, copy.path)
        self._field.budget.damage(node, [digest])
        bit = self._field.rng.randrange(8 * copy.size_bytes)
        machine.disk.flip(copy.path, 8 * copy.offset + bit)

    async def _tear(self) -> None:
        """Of the next write of a value, or of an index, some sectors never reach the medium."""
        rng = self._field.rng

        def tear(node: FileNode, offset: int, data: bytes) -> None:
            before = _bytes_at(node, offset, len(data))
            count = -(-len(data) // SECTOR_BYTES)
            lost = {rng.randrange(count), *rng.sample(range(count), rng.randrange(count))}
            parts = [
                (before if number in lost else data)[at : at + SECTOR_BYTES]
                for number, at in enumerate(range(0, len(data), SECTOR_BYTES))
            ]
            node.write(offset, b"".join(parts))

        await self._strike("torn", tear)

    async def _misdirect(self) -> None:
        """The next write of a value, or of an index, lands on another value."""
        field = self._field
        machine = field.a_running_machine()
        if machine is None:
            return
        copies = [
            copy_in(machine.disk, machine.store, RecordKey(digest))
            for digest in field.budget.digests
        ]
        victims = [copy for copy in copies if copy is not None]
        if not victims:
            return
        victim = field.rng.choice(victims)

        def misdirect(node: FileNode, offset: int, data: bytes) -> None:
            node.write(offset, _bytes_at(node, offset, len(data)))
            with suppress(FileNotFoundError):
                machine.disk.smash(victim.path, victim.offset, data[: victim.size_bytes])

        await self._strike("misdirected", misdirect, machine)

    async def _strike(self, kind: str, hit: Hit, machine: Machine | None = None) -> None:
        """Lie in wait for a write; any copy of the node may be the one that it costs."""
        field = self._field
        machine = machine or field.a_running_machine()
        if machine is None or not field.budget.may_lose(machine.node):
            return
        process = machine.process

        def strike(node: FileNode, offset: int, data: bytes) -> None:
            field.trace.fault(kind, machine.node, offset, len(data))
            hit(node, offset, data)

        def takes(path: str) -> bool:
            return machine.process is process and (holds_values(path) or holds_index(path))

        with field.budget.threatened(machine.node):
            machine.disk.faults.strike = Strike(takes, strike)
            await field.pause(5.0)
            machine.disk.faults.strike = None
            await asyncio.sleep(_COMMITTED_IN_S)

    # --- what a store knows -----------------------------------------------------------------------

    async def _damage_log(self) -> None:
        """Damage what a store remembers, but for what a start may take for a torn last write."""
        field = self._field
        machine = field.a_running_machine()
        if machine is None or not field.budget.may_lose(machine.node):
            return
        places = _old_state(machine)
        if not places:
            return
        path, size_bytes = field.rng.choice(places)
        at = field.rng.randrange(size_bytes)
        field.trace.fault("log-damage", machine.node, path, at)
        field.budget.damage_log(machine.node)
        if field.rng.random() < 0.5:
            machine.disk.flip(path, 8 * at + field.rng.randrange(8))
        else:
            start = at - at % SECTOR_BYTES
            machine.disk.smash(path, start, bytes(min(SECTOR_BYTES, size_bytes - start)))

    async def _lose_index(self) -> None:
        """A process ends, and the next one finds no index, or half of one."""
        field = self._field
        machine = field.a_running_machine()
        if machine is None or not isinstance(machine.store, SimPageStore):
            return
        machine.kill()
        with suppress(FileNotFoundError):
            size_bytes = len(machine.disk.content(_INDEX))
            field.trace.fault("index-lost", machine.node)
            if field.rng.random() < 0.5:
                machine.disk.lose(_INDEX)
            else:
                start = field.rng.randrange(size_bytes)
                machine.disk.smash(_INDEX, start, bytes(size_bytes - start))
        await field.back_after(machine)

    async def _damage_index(self) -> None:
        """A value in an index is not what was put there, while the index is in use."""
        field = self._field
        machine = field.a_running_machine()
        if machine is None or not isinstance(machine.store, SimPageStore):
            return
        process = machine.process
        if process is None or process.index_damages >= _MENDED_QUICKLY:
            return
        process.index_damages += 1
        index = machine.store.home.index
        with suppress(HoldfastError):
            pairs = index.after(b"", _PAIRS_MAX, below=b"\xff" * 8)
            if not pairs:
                return
            key, value = field.rng.choice(pairs)
            bad = bytearray(value)
            bad[field.rng.randrange(len(bad))] ^= 1 << field.rng.randrange(8)
            await index.write(lambda writer: writer.put(key, bytes(bad)))
            field.trace.fault("index-damage", machine.node, key.hex()[:8])


def _old_state(machine: Machine) -> list[tuple[str, int]]:
    """Files of a store that say what it remembers, and how far they may be damaged.

    What was written last looks like a torn write when it is damaged, and nobody could tell.
    """
    store = machine.store
    if isinstance(store, SimPageStore):
        last = store.last
        if last is None:
            return []
        found = []
        for path, file in machine.disk.files():
            if path.startswith("log/") and path.endswith(".seg"):
                number = int(path.removeprefix("log/").removesuffix(".seg"))
                size_bytes = last.offset if number == last.segment else len(file.durable)
                if number <= last.segment and size_bytes > BLOCK_BYTES:
                    found.append((path, size_bytes))
        return found
    return [
        (path, len(file.durable))
        for path, file in machine.disk.files()
        if path.startswith(".state/snapshot") and file.durable
    ]


def _bytes_at(node: FileNode, offset: int, size_bytes: int) -> bytes:
    """What a file has there, zeros beyond its end."""
    there = bytes(node.content[offset : offset + size_bytes])
    return there + bytes(size_bytes - len(there))
