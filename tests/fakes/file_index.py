"""An index in one file of a Disk, for tests and the simulator.

It loses exactly what LMDB may lose: a transaction replaces the file by rename, so after a crash the
last one is whole or absent, and one that returned stays.  What the disk does to the file - a power
cut, a full disk, rot - happens to the index.
"""

from __future__ import annotations

import asyncio
import struct
from bisect import bisect_right, insort
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from node.index.index import IndexReader, IndexWriter, OpenedIndex
from ring.errors import StorageFault
from ring.seams import Disk

T = TypeVar("T")

_SIZES = struct.Struct("<II")
_MAGIC = b"index\n"


class FileIndex:
    """node.index.index.Index; see the module."""

    def __init__(self, disk: Disk, home: FileIndexHome, content: dict[bytes, bytes]) -> None:
        self._disk = disk
        self._home = home
        self._directory = home.directory
        self._state = _State(content)
        self._attempts = 0
        self._turn = asyncio.Lock()
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        return self._open_state().get(key)

    def after(self, key: bytes, limit: int, *, below: bytes) -> list[tuple[bytes, bytes]]:
        return self._open_state().after(key, limit, below=below)

    async def write(self, work: Callable[[IndexWriter], T]) -> T:
        async with self._turn:
            changed = _State(dict(self._open_state().content))
            result = work(changed)
            self._attempts += 1
            temporary = f"{self._directory}/{self._attempts}.new"
            await self._disk.publish(temporary, _path(self._directory), _encode(changed.content))
            await self._disk.sync_directory(self._directory)
            self._state = changed
            return result

    async def read(self, work: Callable[[IndexReader], T]) -> T:
        return work(self._open_state())

    async def warm(self) -> None:
        self._open_state()

    def condemn(self) -> None:
        self._home.broken = "it was found to be damaged while it was in use"

    async def close(self) -> bool:
        self._closed = True
        return True

    def _open_state(self) -> _State:
        if self._closed:
            raise StorageFault("the index was closed")
        return self._state


class FileIndexHome:
    """node.index.index.IndexHome; see the module.

    broken: why the next `open` discards what is there.  A power cut forgets it, as it may.
    index: what was opened last, for tests that change it behind the table's back.
    """

    def __init__(self, disk: Disk, directory: str = "index", *, broken: str | None = None) -> None:
        self.broken = broken
        self.index: FileIndex
        self._disk = disk
        self.directory = directory

    async def open(self) -> OpenedIndex:
        await self._disk.make_directories(self.directory)
        for name in await self._disk.list_directory(self.directory):
            if name.endswith(".new"):
                await self._disk.unlink(f"{self.directory}/{name}")
        discarded = self.broken
        content: dict[bytes, bytes] | None = {}
        with suppress(FileNotFoundError):
            content = _decode(await self._disk.read(_path(self.directory)))
        if content is None:
            discarded = "the file of the index is damaged"
        if discarded is not None:
            await self.discard()
            content, self.broken = {}, None
        self.index = FileIndex(self._disk, self, content or {})
        return OpenedIndex(self.index, discarded)

    async def discard(self) -> None:
        path = _path(self.directory)
        if await self._disk.info(path) is not None:
            await self._disk.rename(path, f"{path}.discarded")
            await self._disk.sync_directory(self.directory)


class _State:
    """A sorted mapping: IndexReader and IndexWriter."""

    def __init__(self, content: dict[bytes, bytes]) -> None:
        self.content = content
        self._keys = sorted(content)

    def get(self, key: bytes) -> bytes | None:
        return self.content.get(key)

    def after(self, key: bytes, limit: int, *, below: bytes) -> list[tuple[bytes, bytes]]:
        start = bisect_right(self._keys, key)
        keys = self._keys[start : start + limit]
        return [(one, self.content[one]) for one in keys if one < below]

    def put(self, key: bytes, value: bytes) -> None:
        assert 1 <= len(key) <= 511, key
        if key not in self.content:
            insort(self._keys, key)
        self.content[key] = value

    def delete(self, key: bytes) -> None:
        if self.content.pop(key, None) is not None:
            self._keys.remove(key)


def _path(directory: str) -> str:
    return f"{directory}/data"


def _encode(content: dict[bytes, bytes]) -> bytes:
    parts = [_MAGIC]
    for key, value in content.items():
        parts += (_SIZES.pack(len(key), len(value)), key, value)
    return b"".join(parts)


def _decode(data: bytes) -> dict[bytes, bytes] | None:
    """What the file holds, None when it is no such file; a flipped bit of a value is not seen."""
    if not data.startswith(_MAGIC):
        return None
    content: dict[bytes, bytes] = {}
    at = len(_MAGIC)
    while at < len(data):
        if at + _SIZES.size > len(data):
            return None
        key_bytes, value_bytes = _SIZES.unpack_from(data, at)
        at += _SIZES.size
        end = at + key_bytes + value_bytes
        if end > len(data) or not key_bytes:
            return None
        content[data[at : at + key_bytes]] = data[at + key_bytes : end]
        at = end
    return content
