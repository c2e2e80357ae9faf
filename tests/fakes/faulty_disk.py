"""A disk that fails or dies at chosen calls: for tests that go through every step of something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ring.digest import Buffer
from ring.errors import DiskFull, StorageFault
from ring.seams import Disk, File, FileInfo

T = TypeVar("T")


@dataclass(slots=True)
class Trouble:
    """What goes wrong, with calls counted from 0.

    fails: calls that raise StorageFault.  refused: names of calls that all do.  dies: the call that
    never returns, nor does any later one.  late: the call has its effect all the same.  room_bytes:
    how much files may still grow in all, None for as much as they like; unlinking gives back.
    """

    fails: range = field(default=range(0))
    refused: tuple[str, ...] = ()
    dies: int | None = None
    late: bool = False
    room_bytes: int | None = None
    calls: list[str] = field(default_factory=list)
    died: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, name: str, effect: Callable[[], Awaitable[T]]) -> T:
        """One call."""
        number = len(self.calls)
        self.calls.append(name)
        dies = self.dies is not None and number >= self.dies
        if not dies and number not in self.fails and name not in self.refused:
            return await effect()
        if self.late and not self.died.is_set():
            await effect()
        if dies:
            self.died.set()
            await asyncio.Event().wait()
        raise StorageFault(f"call {number}, {name}, was chosen to fail")

    def grow(self, size_bytes: int) -> None:
        """Something needs room, or gives it back."""
        if self.room_bytes is not None:
            if size_bytes > self.room_bytes:
                raise DiskFull(f"there is no room for {size_bytes} bytes")
            self.room_bytes -= size_bytes


class FaultyFile:
    """ring.seams.File over another one."""

    def __init__(self, inner: File, trouble: Trouble) -> None:
        self._inner = inner
        self._trouble = trouble
        self._distrusted = False

    async def read(self, offset: int, size_bytes: int) -> bytes:
        return await self._trouble.call("read", lambda: self._inner.read(offset, size_bytes))

    def read_now(self, offset: int, size_bytes: int) -> bytes | None:
        return self._inner.read_now(offset, size_bytes)

    async def write(self, offset: int, *pieces: Buffer) -> None:
        await self._grow(offset + sum(map(len, pieces)))
        await self._trouble.call("write", lambda: self._inner.write(offset, *pieces))

    async def write_durably(self, offset: int, *pieces: Buffer) -> None:
        await self.write(offset, *pieces)
        await self.sync()

    async def sync(self) -> None:
        if self._distrusted:
            raise StorageFault("a sync failed before")
        self._distrusted = True
        await self._trouble.call("sync", self._inner.sync)
        self._distrusted = False

    async def size_bytes(self) -> int:
        return await self._trouble.call("size", self._inner.size_bytes)

    async def truncate(self, size_bytes: int) -> None:
        await self._grow(size_bytes)
        await self._trouble.call("truncate", lambda: self._inner.truncate(size_bytes))

    async def allocate(self, size_bytes: int) -> None:
        await self._grow(size_bytes)
        await self._trouble.call("allocate", lambda: self._inner.allocate(size_bytes))

    async def close(self) -> None:
        await self._inner.close()

    async def _grow(self, end: int) -> None:
        if self._trouble.room_bytes is not None:
            self._trouble.grow(max(0, end - await self._inner.size_bytes()))


class FaultyDisk:
    """ring.seams.Disk over another one."""

    def __init__(self, inner: Disk, trouble: Trouble | None = None) -> None:
        self.trouble = Trouble() if trouble is None else trouble
        self._inner = inner

    async def open(
        self, path: str, *, create: bool = False, direct: bool = False
    ) -> FaultyFile:
        file = await self.trouble.call(
            "open", lambda: self._inner.open(path, create=create, direct=direct)
        )
        return FaultyFile(file, self.trouble)

    async def read(self, path: str) -> bytes:
        return await self.trouble.call("read whole", lambda: self._inner.read(path))

    def read_now(self, path: str) -> bytes | None:
        return self._inner.read_now(path)

    async def publish(self, temporary: str, path: str, data: Buffer) -> None:
        self.trouble.grow(len(data))
        await self.trouble.call("publish", lambda: self._inner.publish(temporary, path, data))

    async def rename(self, source: str, target: str) -> None:
        await self.trouble.call("rename", lambda: self._inner.rename(source, target))

    async def unlink(self, path: str) -> None:
        found = None if self.trouble.room_bytes is None else await self._inner.info(path)
        await self.trouble.call("unlink", lambda: self._inner.unlink(path))
        if found is not None:
            self.trouble.grow(-found.size_bytes)

    async def sync_directory(self, path: str) -> None:
        await self.trouble.call("sync directory", lambda: self._inner.sync_directory(path))

    async def make_directories(self, path: str) -> None:
        await self.trouble.call("make directories", lambda: self._inner.make_directories(path))

    async def list_directory(self, path: str) -> list[str]:
        return await self.trouble.call("list", lambda: self._inner.list_directory(path))

    async def info(self, path: str) -> FileInfo | None:
        return await self.trouble.call("info", lambda: self._inner.info(path))

    async def free_bytes(self) -> int:
        room_bytes = self.trouble.room_bytes
        return await self._inner.free_bytes() if room_bytes is None else room_bytes
