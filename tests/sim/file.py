"""SimFile: an open file of a simulated disk; it outlives its name."""

from __future__ import annotations

from ring.digest import Buffer
from ring.errors import StorageFault
from ring.seams import BLOCK_BYTES
from tests.sim.device import Device, Steps
from tests.sim.platter import FileNode


class SimFile:
    """The File seam over a node of the platter."""

    def __init__(
        self, device: Device, path: str, node: FileNode, *, direct: bool = False
    ) -> None:
        self._path = path
        self._direct = direct
        self._device = device
        self._node = node
        self._closed = False

    async def read(self, offset: int, size_bytes: int) -> bytes:
        return await self._device.act(lambda: self._read(offset, size_bytes))

    def read_now(self, offset: int, size_bytes: int) -> bytes | None:
        self._check_open()
        return self._span(offset, size_bytes) if self._device.is_warm() else None

    async def write(self, offset: int, *pieces: Buffer) -> None:
        copy = b"".join(pieces)
        assert not self._direct or (offset % BLOCK_BYTES, len(copy) % BLOCK_BYTES) == (0, 0)
        await self._device.act(lambda: self._write(offset, copy))

    async def write_durably(self, offset: int, *pieces: Buffer) -> None:
        await self._device.operate(self._write_durably(offset, b"".join(pieces)))

    async def sync(self) -> None:
        mark = self._node.mark()
        await self._device.act(lambda: self._sync(mark))

    async def size_bytes(self) -> int:
        return await self._device.act(self._size)

    async def truncate(self, size_bytes: int) -> None:
        await self._device.act(lambda: self._truncate(size_bytes))

    async def allocate(self, size_bytes: int) -> None:
        await self._device.act(lambda: self._allocate(size_bytes))

    async def close(self) -> None:
        self._closed = True

    def _read(self, offset: int, size_bytes: int) -> bytes:
        self._check_open()
        self._device.check_read()
        return self._span(offset, size_bytes)

    def _span(self, offset: int, size_bytes: int) -> bytes:
        return bytes(self._node.content[offset : offset + size_bytes])

    def _write(self, offset: int, data: bytes) -> None:
        self._check_open()
        if offset + len(data) <= len(self._node.content):
            self._device.check_overwrite()
        else:
            self._device.check_write(len(data))
        self._device.write(self._node, self._path, offset, data)

    def _write_durably(self, offset: int, data: bytes) -> Steps[None]:
        self._write(offset, data)
        mark = self._node.mark()
        yield
        self._sync(mark)

    def _allocate(self, size_bytes: int) -> None:
        if size_bytes > self._size():
            self._truncate(size_bytes)

    def _sync(self, mark: int) -> None:
        self._check_open()
        self._device.sync(self._node, mark)

    def _size(self) -> int:
        self._check_open()
        return len(self._node.content)

    def _truncate(self, size_bytes: int) -> None:
        self._check_open()
        self._device.check_write(max(0, size_bytes - len(self._node.content)))
        self._node.resize(size_bytes)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageFault("the file was closed")
