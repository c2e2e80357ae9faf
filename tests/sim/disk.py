"""SimDisk: the Disk seam over a platter in memory, with latency, power cuts and faults.

A SimDisk is what one process sees of the disk between its start and its end.  `crash`, `kill` and
`wipe` end it and return the SimDisk that the next process finds; whatever still waits for the
ended one waits for ever.  So a power cut in a test reads `disk = disk.crash()`.

Rules:
1.  `publish` is four steps with time between them, so that a crash can fall anywhere; the rest of
    what time and failure do is in device.py, what a power cut does in platter.py.
2.  A sync covers what was done before it was called, not what is done while it runs.
3.  Faults are off until somebody sets them in `faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from ring.digest import Buffer
from ring.errors import HoldfastError, StorageFault
from ring.seams import FileInfo
from tests.sim.device import Device, DiskFaults, Steps
from tests.sim.file import SimFile
from tests.sim.platter import DirectoryNode, Entry, FileNode, Node, after_power_cut

SMALL_FILE_BYTES = 64 * 1024


class SimDisk:
    """See the module.  `latency_s` is the mean of what one step takes."""

    def __init__(
        self,
        rng: Random,
        *,
        latency_s: float = 0.001,
        capacity_bytes: int = 1 << 40,
        root: DirectoryNode | None = None,
        faults: DiskFaults | None = None,
    ) -> None:
        self.root = DirectoryNode() if root is None else root
        self.capacity_bytes = capacity_bytes
        self._device = Device(rng, latency_s, DiskFaults() if faults is None else faults)

    # --- what the world does to a disk ------------------------------------------------------------

    @property
    def faults(self) -> DiskFaults:
        """What goes wrong; the same object in all lives of this disk."""
        return self._device.faults

    def crash(self) -> SimDisk:
        """Cut the power; the disk that the next start finds."""
        return self._succeeded_by(after_power_cut(self.root, self._device.rng))

    def trip_after(self, steps: int, trip: Callable[[], None]) -> None:
        """Call `trip` in the middle of what the disk is doing; see Device."""
        self._device.trip_after(steps, trip)

    def disarm(self) -> None:
        """Forget the trip."""
        self._device.trip_after(0, None)

    def kill(self) -> SimDisk:
        """End the process, not the machine: nothing that was done is lost."""
        return self._succeeded_by(self.root)

    def wipe(self) -> SimDisk:
        """Another, empty disk in its place."""
        return self._succeeded_by(DirectoryNode())

    @contextmanager
    def calm(self) -> Iterator[None]:
        """No faults meanwhile, for whoever only looks at what is here."""
        self.faults.suspended = True
        try:
            yield
        finally:
            if self._device.alive:
                self.faults.suspended = False

    def snapshot(self) -> DirectoryNode:
        """A copy of what is durable now."""
        return self.root.durable_copy()

    def roll_back(self, snapshot: DirectoryNode) -> SimDisk:
        """What was durable when the snapshot was taken, in place of all that came later."""
        return self._succeeded_by(snapshot.durable_copy())

    def files(self) -> Iterator[tuple[str, FileNode]]:
        """Paths and contents as programs see them, in order."""
        return self.root.files()

    def content(self, path: str) -> bytes:
        """What programs see in a file; raises FileNotFoundError."""
        return bytes(self._file(path).content)

    def flip(self, path: str, bit: int) -> None:
        """Rot: turn one bit of a file over, counted from its start."""
        self._file(path).flip(bit)

    def smash(self, path: str, offset: int, data: bytes) -> None:
        """Overwrite what is stored, as far as the file reaches, behind every program's back."""
        self._file(path).smash(offset, data)

    def lose(self, path: str) -> None:
        """A file is gone for good."""
        directory, name = self._parent(path)
        entry = Entry(name, None)
        directory.set(entry)
        directory.commit(directory.mark())

    # --- the Disk seam ----------------------------------------------------------------------------

    async def open(
        self, path: str, *, create: bool = False, direct: bool = False
    ) -> SimFile:
        return await self._device.act(lambda: self._open(path, create, direct))

    async def read(self, path: str) -> bytes:
        return await self._device.act(lambda: self._read(path))

    def read_now(self, path: str) -> bytes | None:
        if not self._device.is_warm():
            return None
        content = self._file(path).content
        return bytes(content) if len(content) <= SMALL_FILE_BYTES else None

    async def publish(self, temporary: str, path: str, data: Buffer) -> None:
        await self._device.operate(self._publish(temporary, path, bytes(data)))

    async def rename(self, source: str, target: str) -> None:
        await self._device.act(lambda: self._rename(source, target))

    async def unlink(self, path: str) -> None:
        await self._device.act(lambda: self._unlink(path))

    async def sync_directory(self, path: str) -> None:
        directory = self._directory(path)
        mark = directory.mark()
        await self._device.act(lambda: self._sync_directory(directory, mark))

    async def make_directories(self, path: str) -> None:
        await self._device.operate(self._make_directories(path))

    async def list_directory(self, path: str) -> list[str]:
        return await self._device.act(lambda: self._list(path))

    async def info(self, path: str) -> FileInfo | None:
        return await self._device.act(lambda: self._info(path))

    async def free_bytes(self) -> int:
        if self.faults.is_full:
            return 0
        return self.capacity_bytes - sum(len(node.content) for _, node in self.files())

    # --- the steps --------------------------------------------------------------------------------

    def _open(self, path: str, create: bool, direct: bool) -> SimFile:
        directory, name = self._parent(path)
        node = directory.content.get(name)
        if node is None and create:
            self._device.check_write(0)
            node = FileNode()
            directory.set(Entry(name, node))
        return SimFile(self._device, path, _as_file(path, node), direct=direct)

    def _read(self, path: str) -> bytes:
        node = self._file(path)
        self._device.check_read()
        return bytes(node.content)

    def _publish(self, temporary: str, path: str, data: bytes) -> Steps[None]:
        directory, name = self._parent(temporary)
        self._parent(path)
        if name in directory.content:
            raise StorageFault(f"{temporary} is there already")
        node = FileNode()
        directory.set(Entry(name, node))
        try:
            yield
            self._device.check_write(len(data))
            self._device.write(node, path, 0, data)
            mark = node.mark()
            yield
            self._device.sync(node, mark)
            yield
            self._rename(temporary, path)
        except HoldfastError:
            was_swept = directory.content.get(name) is not node
            if not was_swept and self._device.rng.random() < 0.5:
                directory.set(Entry(name, None))
            raise

    def _rename(self, source: str, target: str) -> None:
        source_directory, source_name = self._parent(source)
        target_directory, target_name = self._parent(target)
        node = source_directory.content.get(source_name)
        if node is None:
            raise FileNotFoundError(source)
        if isinstance(target_directory.content.get(target_name), DirectoryNode):
            raise StorageFault(f"{target} is a directory")
        self._device.check_write(0)
        if node is not target_directory.content.get(target_name):
            entry = Entry(target_name, node)
            target_directory.set(entry)
            source_directory.set(Entry(source_name, None, needs=entry))

    def _unlink(self, path: str) -> None:
        try:
            directory, name = self._parent(path)
        except FileNotFoundError:
            return
        node = directory.content.get(name)
        if isinstance(node, DirectoryNode):
            raise StorageFault(f"{path} is a directory")
        if node is not None:
            self._device.check_read()  # not the check of a write: a full disk can still forget
            directory.set(Entry(name, None))
            self.faults.freed_bytes += len(node.content) if self.faults.is_full else 0

    def _sync_directory(self, directory: DirectoryNode, mark: int) -> None:
        self._device.check_sync()
        directory.commit(mark)

    def _make_directories(self, path: str) -> Steps[None]:
        directory = self.root
        for name in _names(path):
            if name not in directory.content:
                self._device.check_write(0)
                directory.set(Entry(name, DirectoryNode()))
                yield
            directory.commit(directory.mark())
            node = directory.content.get(name)
            if not isinstance(node, DirectoryNode):
                raise StorageFault(f"{path}: {name} is no directory")
            directory = node

    def _list(self, path: str) -> list[str]:
        self._device.check_read()
        try:
            return sorted(self._directory(path).content)
        except FileNotFoundError:
            return []

    def _info(self, path: str) -> FileInfo | None:
        self._device.check_read()
        try:
            node = self._node(path)
        except FileNotFoundError:
            return None
        if isinstance(node, DirectoryNode):
            return FileInfo(0, is_directory=True)
        return FileInfo(len(node.content), is_directory=False)

    # --- lives and paths --------------------------------------------------------------------------

    def _succeeded_by(self, root: DirectoryNode) -> SimDisk:
        device = self._device
        assert device.alive, "this life of the disk is over already"
        device.alive = False
        device.faults.suspended = False
        return SimDisk(
            device.rng,
            latency_s=device.latency_s,
            capacity_bytes=self.capacity_bytes,
            root=root,
            faults=device.faults,
        )

    def _node(self, path: str) -> Node:
        node: Node = self.root
        for name in _names(path):
            below = node.content.get(name) if isinstance(node, DirectoryNode) else None
            if below is None:
                raise FileNotFoundError(path)
            node = below
        return node

    def _file(self, path: str) -> FileNode:
        return _as_file(path, self._node(path))

    def _parent(self, path: str) -> tuple[DirectoryNode, str]:
        *above, name = _names(path)
        return self._directory("/".join(above)), name

    def _directory(self, path: str) -> DirectoryNode:
        node = self._node(path)
        if not isinstance(node, DirectoryNode):
            raise StorageFault(f"{path} is not a directory")
        return node


def _names(path: str) -> list[str]:
    assert not path.startswith("/"), path
    names = [name for name in path.split("/") if name not in {"", "."}]
    assert ".." not in names, path
    return names


def _as_file(path: str, node: Node | None) -> FileNode:
    if node is None:
        raise FileNotFoundError(path)
    if isinstance(node, DirectoryNode):
        raise StorageFault(f"{path} is a directory")
    return node
