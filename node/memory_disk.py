"""A disk that forgets: for nodes that keep records in memory.

A node whose records do not survive its process must not find a marker at the next start, or it
would vote on what it forgot.  With marker and records in the same memory, every start is a blank
one, and the peers' memory makes it a receiver that compares before it votes.
"""

from __future__ import annotations

from ring.digest import Buffer
from ring.errors import DiskFull, StorageFault
from ring.seams import FileInfo


class MemoryFile:
    """An open file; see File."""

    def __init__(self, content: bytearray) -> None:
        self._content = content

    async def read(self, offset: int, size_bytes: int) -> bytes:
        return bytes(self._content[offset : offset + size_bytes])

    def read_now(self, offset: int, size_bytes: int) -> bytes | None:
        return bytes(self._content[offset : offset + size_bytes])

    async def write(self, offset: int, data: Buffer) -> None:
        if offset > len(self._content):
            self._content.extend(bytes(offset - len(self._content)))
        self._content[offset : offset + len(data)] = data

    async def sync(self) -> None:
        """Nothing outlives the process, so nothing is left to do."""

    async def size_bytes(self) -> int:
        return len(self._content)

    async def truncate(self, size_bytes: int) -> None:
        del self._content[size_bytes:]
        self._content.extend(bytes(size_bytes - len(self._content)))

    async def close(self) -> None:
        """The content stays with the disk."""


class MemoryDisk:
    """See Disk.  capacity_bytes: what `free_bytes` counts down from, and where DiskFull begins."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._files: dict[str, bytearray] = {}
        self._directories: set[str] = {""}

    async def open(self, path: str, *, create: bool = False) -> MemoryFile:
        content = self._files.get(path)
        if content is None:
            if not create:
                raise FileNotFoundError(path)
            content = self._add(path, b"")
        return MemoryFile(content)

    async def read(self, path: str) -> bytes:
        return bytes(self._files[path]) if path in self._files else self._absent(path)

    def read_now(self, path: str) -> bytes | None:
        return bytes(self._files[path]) if path in self._files else self._absent(path)

    async def publish(self, temporary: str, path: str, data: Buffer) -> None:
        if temporary in self._files:
            raise StorageFault(f"{temporary} exists already")
        self._add(temporary, data)
        await self.rename(temporary, path)

    async def rename(self, source: str, target: str) -> None:
        if source not in self._files:
            raise FileNotFoundError(source)
        self._files[target] = self._files.pop(source)

    async def unlink(self, path: str) -> None:
        self._files.pop(path, None)

    async def sync_directory(self, path: str) -> None:
        """Nothing outlives the process, so nothing is left to do."""

    async def make_directories(self, path: str) -> None:
        parts = path.split("/")
        self._directories.update("/".join(parts[: end + 1]) for end in range(len(parts)))

    async def list_directory(self, path: str) -> list[str]:
        prefix = f"{path}/" if path else ""
        everything = [*self._files, *self._directories]
        below = (name[len(prefix) :] for name in everything if name.startswith(prefix))
        return sorted({name.split("/")[0] for name in below if name})

    async def info(self, path: str) -> FileInfo | None:
        if path in self._files:
            return FileInfo(len(self._files[path]), is_directory=False)
        return FileInfo(0, is_directory=True) if path in self._directories else None

    async def free_bytes(self) -> int:
        used = sum(len(content) for content in self._files.values())
        return max(0, self._capacity_bytes - used)

    def _add(self, path: str, data: Buffer) -> bytearray:
        parent = path.rpartition("/")[0]
        if parent not in self._directories:
            raise FileNotFoundError(parent)
        used = sum(len(content) for content in self._files.values())
        if used + len(data) > self._capacity_bytes:
            raise DiskFull(f"no room in memory for {len(data)} more bytes")
        content = self._files[path] = bytearray(data)
        return content

    def _absent(self, path: str) -> bytes:
        raise FileNotFoundError(path)
