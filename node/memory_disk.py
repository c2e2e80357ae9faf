"""A disk that forgets: for nodes that keep records in memory.

A node whose records do not survive its process must not find a marker at the next start, or it
would vote on what it forgot.  With marker and records in the same memory, every start is a blank
one, and the peers' memory makes it a receiver that compares before it votes.
"""

from __future__ import annotations

from ring.digest import Buffer
from ring.errors import DiskFull, StorageFault
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.seams import FileInfo


class _Room:
    """Bytes that files may still grow by."""

    def __init__(self, size_bytes: int) -> None:
        self.bytes_free = size_bytes

    def take(self, size_bytes: int) -> None:
        """Take, or give back what is below zero; raises DiskFull."""
        if size_bytes > self.bytes_free:
            raise DiskFull(f"no room in memory for {size_bytes} more bytes")
        self.bytes_free -= size_bytes


class _Content:
    """The bytes of a file, for as long as it has a name or is open."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self.data = bytearray()

    def resize(self, size_bytes: int) -> None:
        """Cut, or extend with zeros."""
        self._room.take(size_bytes - len(self.data))
        del self.data[size_bytes:]
        self.data.extend(bytes(size_bytes - len(self.data)))

    def write(self, offset: int, data: Buffer) -> None:
        """Put bytes anywhere."""
        if offset + len(data) > len(self.data):
            self.resize(offset + len(data))
        self.data[offset : offset + len(data)] = data


class MemoryFile:
    """See ring.seams.File."""

    def __init__(self, content: _Content) -> None:
        self._content: _Content | None = content

    async def read(self, offset: int, size_bytes: int) -> bytes:
        return bytes(self._open().data[offset : offset + size_bytes])

    def read_now(self, offset: int, size_bytes: int) -> bytes | None:
        return bytes(self._open().data[offset : offset + size_bytes])

    async def write(self, offset: int, *pieces: Buffer) -> None:
        self._open().write(offset, b"".join(pieces))

    async def write_durably(self, offset: int, *pieces: Buffer) -> None:
        await self.write(offset, *pieces)

    async def sync(self) -> None:
        """Nothing outlives the process, so nothing is left to do."""
        self._open()

    async def size_bytes(self) -> int:
        return len(self._open().data)

    async def truncate(self, size_bytes: int) -> None:
        self._open().resize(size_bytes)

    async def allocate(self, size_bytes: int) -> None:
        content = self._open()
        content.resize(max(size_bytes, len(content.data)))

    async def close(self) -> None:
        self._content = None

    def _open(self) -> _Content:
        if self._content is None:
            raise StorageFault("the file is closed")
        return self._content


class MemoryDisk:
    """See ring.seams.Disk.  capacity_bytes: how many bytes all files together may have."""

    def __init__(self, capacity_bytes: int) -> None:
        self._room = _Room(capacity_bytes)
        self._files: dict[str, _Content] = {}
        self._directories: dict[str, None] = {"": None}

    async def open(
        self, path: str, *, create: bool = False, direct: bool = False
    ) -> MemoryFile:
        if create and path not in self._files:
            self._files[path] = self._created(path)
        return MemoryFile(self._there(path))

    async def read(self, path: str) -> bytes:
        return bytes(self._there(path).data)

    def read_now(self, path: str) -> bytes | None:
        data = self._there(path).data
        return None if len(data) > PAYLOAD_SMALL_BYTES_MAX else bytes(data)

    async def publish(self, temporary: str, path: str, data: Buffer) -> None:
        if temporary in self._files:
            raise StorageFault(f"{temporary} exists already")
        content = self._created(temporary)
        self._check_place(path)
        content.write(0, data)
        self._files[temporary] = content
        await self.rename(temporary, path)

    async def rename(self, source: str, target: str) -> None:
        content = self._there(source)
        self._check_place(target)
        if source != target:
            await self.unlink(target)
            self._files[target] = self._files.pop(source)
        assert self._files[target] is content

    async def unlink(self, path: str) -> None:
        if path in self._directories:
            raise StorageFault(f"{path} is a directory")
        content = self._files.pop(path, None)
        if content is not None:
            self._room.take(-len(content.data))

    async def sync_directory(self, path: str) -> None:
        """Nothing outlives the process, so nothing is left to do."""
        self._check_directory(path)

    async def make_directories(self, path: str) -> None:
        parts = path.split("/")
        made = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        for directory in made:
            if directory in self._files:
                raise StorageFault(f"{directory} is a file")
        self._directories.update(dict.fromkeys(made))

    async def list_directory(self, path: str) -> list[str]:
        if path in self._files:
            raise StorageFault(f"{path} is a file")
        prefix = f"{path}/" if path else ""
        everything = [*self._files, *self._directories]
        below = (name[len(prefix) :] for name in everything if name.startswith(prefix))
        return sorted({name.split("/")[0] for name in below if name})

    async def info(self, path: str) -> FileInfo | None:
        if path in self._files:
            return FileInfo(len(self._files[path].data), is_directory=False)
        return FileInfo(0, is_directory=True) if path in self._directories else None

    async def free_bytes(self) -> int:
        return self._room.bytes_free

    def _there(self, path: str) -> _Content:
        assert not path.startswith("/"), path
        assert ".." not in path.split("/"), path
        if path in self._directories:
            raise StorageFault(f"{path} is a directory")
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]

    def _created(self, path: str) -> _Content:
        """A file that is to have this name."""
        self._check_place(path)
        return _Content(self._room)

    def _check_place(self, path: str) -> None:
        """Raise unless a file can be put there."""
        self._check_directory(path.rpartition("/")[0])
        if path in self._directories:
            raise StorageFault(f"{path} is a directory")

    def _check_directory(self, path: str) -> None:
        if path in self._files:
            raise StorageFault(f"{path} is a file")
        if path not in self._directories:
            raise FileNotFoundError(path)
