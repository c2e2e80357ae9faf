"""The files of a page record store: names, creating, open handles, removing.

Rules:
1.  A segment has its name when its head is durable, and counts as there when the name is.
2.  A number is used once, also when creating its segment failed; log and bulk share them.
3.  A handle that somebody reads with stays open, whatever becomes of the segment meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from msgspec import Struct

from node.index.location import Position
from node.recordlog.segment_head import LogEnd, SegmentHead, SegmentKind
from ring.errors import DiskFull, HoldfastError, StorageFault
from ring.limits import MIB
from ring.seams import BLOCK_BYTES, Disk, File

DIRECTORIES: Final = {SegmentKind.LOG: "log", SegmentKind.BULK: "bulk"}
RESERVES: Final = {kind: f"{directory}/reserve" for kind, directory in DIRECTORIES.items()}
OPEN_FILES_MAX: Final = 512
_SUFFIX: Final = ".seg"
_TEMPORARY: Final = ".tmp"
_ZEROS_BYTES: Final = 1 * MIB


class _Handle:
    """An open segment and how many read with it."""

    __slots__ = ("file", "readers", "wanted")

    def __init__(self, file: File) -> None:
        self.file = file
        self.readers = 0
        self.wanted = True


class PreparedLog(Struct, frozen=True):
    """A log segment that has no name yet."""

    number: int
    file: File
    size_bytes: int
    path: str


class SegmentFiles:
    """Made empty; `look` finds what is there.

    kinds: the kind of each segment by number, in order of numbers.  store_id: known after recovery.
    """

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.kinds: dict[int, SegmentKind] = {}
        self.store_id = b""
        self.reserves = dict.fromkeys(SegmentKind, False)
        self._next_number = 1
        self._handles: OrderedDict[int, _Handle] = OrderedDict()

    async def look(self) -> None:
        """Find the segments and remove what was never finished; raises StorageFault."""
        found: dict[int, SegmentKind] = {}
        for kind, directory in DIRECTORIES.items():
            await self.disk.make_directories(directory)
            for name in await self.disk.list_directory(directory):
                digits = name.removesuffix(_SUFFIX)
                if name.endswith(_SUFFIX) and digits.isdecimal() and digits.isascii():
                    found[int(digits)] = kind
                elif name.endswith(_TEMPORARY):
                    await self.disk.unlink(f"{directory}/{name}")
        self.kinds = dict(sorted(found.items()))
        for kind, path in RESERVES.items():
            self.reserves[kind] = await self.disk.info(path) is not None
        self._next_number = max(found, default=0) + 1

    def numbers(self, kind: SegmentKind) -> list[int]:
        """The segments of a kind, in order."""
        return [number for number, its in self.kinds.items() if its is kind]

    def path(self, number: int, kind: SegmentKind | None = None) -> str:
        """Where a segment is; raises FileNotFoundError for one that is not there."""
        if kind is None:
            kind = self.kinds.get(number)
        if kind is None:
            raise FileNotFoundError(f"there is no segment {number}")
        return f"{DIRECTORIES[kind]}/{number}{_SUFFIX}"

    async def head(self, number: int) -> SegmentHead:
        """What a segment says of itself; raises Corrupt, StorageFault or FileNotFoundError."""
        async with self.reading(number) as file:
            return SegmentHead.decode(self.path(number), await file.read(0, BLOCK_BYTES))

    # --- creating ---------------------------------------------------------------------------------

    async def prepare_log(
        self, follows: LogEnd, cuts: tuple[Position, ...], size_bytes: int
    ) -> PreparedLog:
        """A log segment of this length, filled with zeros, durable but without its name.

        Raises DiskFull or StorageFault.
        """
        number = self._take_number()
        temporary = f"{DIRECTORIES[SegmentKind.LOG]}/{number}{_TEMPORARY}"
        head = SegmentHead(self.store_id, SegmentKind.LOG, number, follows, cuts)
        file = await self._opened(temporary, create=True)
        try:
            await file.write(0, head.encode())
            await write_zeros(file, BLOCK_BYTES, size_bytes)
            await file.sync()
        except BaseException as error:
            await self._give_up(file, temporary, error)
            raise
        return PreparedLog(number, file, size_bytes, temporary)

    async def prepare_reserve(
        self, follows: LogEnd, cuts: tuple[Position, ...], least_bytes: int
    ) -> PreparedLog:
        """The same out of the reserve, of whatever length; DiskFull if it is too small or gone."""
        file, size_bytes = await self._reserve(SegmentKind.LOG, least_bytes)
        number = self._take_number()
        head = SegmentHead(self.store_id, SegmentKind.LOG, number, follows, cuts)
        try:
            await file.write_durably(0, head.encode())
        except BaseException:
            self.reserves[SegmentKind.LOG] = False
            await file.close()
            raise
        return PreparedLog(number, file, size_bytes, RESERVES[SegmentKind.LOG])

    async def name_log(self, prepared: PreparedLog) -> None:
        """Make a prepared segment one of the log; raises DiskFull or StorageFault."""
        try:
            await self._name(prepared.path, prepared.number, SegmentKind.LOG)
        except BaseException as error:
            await self._give_up(prepared.file, prepared.path, error)
            raise
        finally:
            if prepared.path == RESERVES[SegmentKind.LOG]:
                self.reserves[SegmentKind.LOG] = False

    async def create_bulk(self, size_bytes: int) -> tuple[int, File]:
        """A bulk segment with room for this length, open past the cache; raises as `create_log`."""
        number = self._take_number()
        head = SegmentHead(self.store_id, SegmentKind.BULK, number).encode()
        temporary = f"{DIRECTORIES[SegmentKind.BULK]}/{number}{_TEMPORARY}"
        file = await self._opened(temporary, create=True, direct=True)
        try:
            await file.allocate(size_bytes)
            await file.write_durably(0, head)
            await self._name(temporary, number, SegmentKind.BULK)
        except BaseException as error:
            await self._give_up(file, temporary, error)
            raise
        return number, file

    async def use_bulk_reserve(self, least_bytes: int) -> tuple[int, File, int]:
        """As `create_bulk` out of the reserve, with its length; DiskFull as `prepare_reserve`."""
        file, size_bytes = await self._reserve(SegmentKind.BULK, least_bytes)
        number = self._take_number()
        try:
            await file.write_durably(
                0, SegmentHead(self.store_id, SegmentKind.BULK, number).encode()
            )
            await self._name(RESERVES[SegmentKind.BULK], number, SegmentKind.BULK)
        except BaseException:
            await file.close()
            raise
        finally:
            self.reserves[SegmentKind.BULK] = False
        return number, file, size_bytes

    async def keep_reserve(self, kind: SegmentKind, size_bytes: int) -> None:
        """Have a reserve of this length, if there is room for it."""
        if self.reserves[kind]:
            return
        path = RESERVES[kind]
        temporary = f"{path}{_TEMPORARY}"
        with suppress(DiskFull, StorageFault):  # there will be another time
            await self.disk.unlink(temporary)
            await self.disk.unlink(path)  # of a use that failed
            file = await self._opened(temporary, create=True)
            try:
                if kind is SegmentKind.LOG:
                    await write_zeros(file, 0, size_bytes)
                else:
                    await file.allocate(size_bytes)
                await file.sync()
                await self.disk.rename(temporary, path)
                await self.disk.sync_directory(DIRECTORIES[kind])
            except (DiskFull, StorageFault):
                with suppress(StorageFault):
                    await self.disk.unlink(temporary)
                raise
            finally:
                await file.close()
            self.reserves[kind] = True

    async def sync_names(self) -> None:
        """Have every name durable that a process before us may have left otherwise."""
        for directory in DIRECTORIES.values():
            await self.disk.sync_directory(directory)

    # --- reading and removing ---------------------------------------------------------------------

    def reader_now(self, number: int) -> File | None:
        """The segment's handle, if it is open."""
        handle = self._handles.get(number)
        return None if handle is None else handle.file

    @asynccontextmanager
    async def reading(self, number: int) -> AsyncIterator[File]:
        """A handle that stays open meanwhile; raises FileNotFoundError or StorageFault."""
        handle = self._handles.get(number)
        if handle is None:
            handle = await self._keep(number, await self.disk.open(self.path(number)))
        else:
            self._handles.move_to_end(number)
        handle.readers += 1
        try:
            yield handle.file
        finally:
            handle.readers -= 1
            await self._close_unwanted(handle)

    async def remove(self, number: int) -> None:
        """Remove a segment durably; raises StorageFault, and then it may still be there."""
        path = self.path(number)
        handle = self._handles.pop(number, None)
        if handle is not None:
            handle.wanted = False
            await self._close_unwanted(handle)
        await self.disk.unlink(path)
        await self.disk.sync_directory(path.rpartition("/")[0])
        del self.kinds[number]

    async def close(self) -> None:
        """Let go of everything; idempotent."""
        while self._handles:
            _, handle = self._handles.popitem()
            handle.wanted = False
            await self._close_unwanted(handle)

    async def _keep(self, number: int, file: File) -> _Handle:
        """Keep what was opened, unless somebody was quicker."""
        handle = self._handles.get(number)
        fresh = _Handle(file)
        if handle is not None or number not in self.kinds:
            fresh.wanted = False  # for this one reader
            return fresh
        self._handles[number] = fresh
        if len(self._handles) > OPEN_FILES_MAX:
            _, oldest = self._handles.popitem(last=False)
            oldest.wanted = False
            await self._close_unwanted(oldest)
        return fresh

    async def _close_unwanted(self, handle: _Handle) -> None:
        if not handle.wanted and not handle.readers:
            await handle.file.close()

    async def _reserve(self, kind: SegmentKind, least_bytes: int) -> tuple[File, int]:
        """Open a reserve for its one use; it counts as there until that is over, lest it be
        replaced under the one who uses it.
        """
        if not self.reserves[kind]:
            raise DiskFull("the reserve is used up")
        file = await self._opened(RESERVES[kind], direct=kind is SegmentKind.BULK)
        try:
            size_bytes = await file.size_bytes()
            if size_bytes < least_bytes:
                raise DiskFull(f"the reserve has {size_bytes} bytes, {least_bytes} are needed")
        except BaseException:
            await file.close()
            raise
        return file, size_bytes

    def _take_number(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number

    async def _opened(self, path: str, *, create: bool = False, direct: bool = False) -> File:
        try:
            return await self.disk.open(path, create=create, direct=direct)
        except FileNotFoundError as error:
            raise StorageFault(f"{path} vanished") from error

    async def _name(self, temporary: str, number: int, kind: SegmentKind) -> None:
        """Give a file whose content is durable its name, durably."""
        path = self.path(number, kind)
        try:
            await self.disk.rename(temporary, path)
            await self.disk.sync_directory(DIRECTORIES[kind])
        except FileNotFoundError as error:
            raise StorageFault(f"{temporary} vanished") from error
        self.kinds[number] = kind

    async def _give_up(self, file: File, temporary: str, error: BaseException) -> None:
        await file.close()
        if isinstance(error, HoldfastError):
            with suppress(StorageFault):  # the next start removes it
                await self.disk.unlink(temporary)


async def write_zeros(file: File, start: int, end: int) -> None:
    """Fill [start, end) with zeros."""
    zeros = bytes(min(_ZEROS_BYTES, max(0, end - start)))
    while start < end:
        size_bytes = min(len(zeros), end - start)
        await file.write(start, zeros if size_bytes == len(zeros) else zeros[:size_bytes])
        start += size_bytes
