"""The index in LMDB: a mapped file that readers look into without waiting for the writer.

Rules:
1.  Default sync: a commit syncs its pages, then writes the page that names them, synced too.  LMDB
    without either sync loses transactions or worse (NOSYNC, NOMETASYNC); with it, a crash leaves
    the last transaction whole or absent.  What it leaves out, syncing the directory of its new
    files, is done here.
2.  Transactions run one at a time in a thread; `get` and `after` of the index itself are short
    transactions in the event loop, which waits for pages that have to come from the disk.  So
    `warm` reads the file once after a start, from end to end: twenty times as fast as in the order
    of hashes.
3.  The map is enlarged, or the file opened anew after a failure, in the event loop while no thread
    is inside: nobody may look into a map that moves.
4.  After a failed commit nothing is committed before LMDB has opened the file anew and a sync of
    what it then shows has succeeded.
5.  LMDB has no checksums of its own.  A key that is not found is looked for once more, from both
    sides; values are sealed by those who store them.
6.  Every access is marked in the guard (node/posix_guard.py): the second process in a row that died
    inside gives the index up, as does one that finds it condemned.
7.  What is discarded is kept beside the new one where there is room for both.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import lmdb
import structlog

from node.index.index import IndexReader, IndexWriter, OpenedIndex
from node.posix_file import fault
from node.posix_guard import LOOP, THREAD, Guard
from node.posix_page_cache import CACHED_BYTES_MAX, STEP_BYTES, read_step
from node.posix_reserve import FileReserve
from node.posix_threads import Threads
from ring.errors import Corrupt, DiskFull, HoldfastError, StorageFault
from ring.limits import GIB, MIB
from ring.seams import Disk

T = TypeVar("T")

MAP_BYTES_FIRST: Final = 64 * MIB
MAP_BYTES_MAX: Final = 256 * GIB  # of address space; some thousand million records
DEATHS_MAX: Final = 1

_DATA: Final = "data.mdb"  # the names are LMDB's
_LOCK: Final = "lock.mdb"
_GUARD: Final = "guard"
_DISCARDED: Final = "discarded.mdb"
_ROOM_FACTOR: Final = 2  # pages that a checkpoint replaces are free only after it
_DAMAGED: Final = (
    lmdb.CorruptedError,
    lmdb.CursorFullError,
    lmdb.InvalidError,
    lmdb.PageFullError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)

log = structlog.get_logger()


class LmdbHome:
    """node.index.index.IndexHome: a directory of a disk whose root is the directory `root`."""

    def __init__(
        self,
        disk: Disk,
        root: str,
        directory: str = "index",
        *,
        map_bytes_first: int = MAP_BYTES_FIRST,
        map_bytes_max: int = MAP_BYTES_MAX,
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._path = os.path.join(root, directory)
        self._map_bytes_first = map_bytes_first
        self._map_bytes_max = map_bytes_max

    async def open(self) -> OpenedIndex:
        await self._disk.make_directories(self._directory)
        threads = Threads(1, "index")
        try:
            index, discarded = await self._open_with(threads)
        except BaseException:
            await threads.close()
            raise
        return OpenedIndex(index, discarded)

    async def discard(self) -> None:
        data, kept = f"{self._directory}/{_DATA}", f"{self._directory}/{_DISCARDED}"
        found = await self._disk.info(data)
        if found is not None:
            await self._disk.rename(data, kept)
            if await self._disk.free_bytes() < _ROOM_FACTOR * found.size_bytes:
                await self._disk.unlink(kept)
        await self._disk.unlink(f"{self._directory}/{_LOCK}")
        await self._disk.sync_directory(self._directory)

    async def _open_with(self, threads: Threads) -> tuple[LmdbIndex, str | None]:
        guard = await threads.run(partial(Guard, os.path.join(self._path, _GUARD)))
        discarded: str | None = None
        if guard.condemned:
            discarded = "it was found to be damaged while it was in use"
        elif guard.deaths > DEATHS_MAX:
            discarded = f"{guard.deaths} processes in a row died while they looked into it"
        if discarded is not None:
            await self.discard()
            guard.replaced()
        try:
            environment = await self._map(threads, guard)
        except Corrupt as error:
            discarded = error.detail
            await self.discard()
            environment = await self._map(threads, guard)
        await self._disk.sync_directory(self._directory)
        index = LmdbIndex(environment, self._path, threads, guard, self._map_bytes_max)
        await threads.run(index.keep_room)
        return index, discarded

    async def _map(self, threads: Threads, guard: Guard) -> lmdb.Environment:
        found = await self._disk.info(f"{self._directory}/{_DATA}")
        map_bytes = self._map_bytes_first
        while found is not None and map_bytes < 2 * found.size_bytes:
            map_bytes *= 2

        def work() -> lmdb.Environment:
            guard.marks[THREAD] = 1
            environment = _open(self._path, min(map_bytes, self._map_bytes_max))
            guard.marks[THREAD] = 0
            return environment

        return await threads.run(work)


class LmdbIndex:
    """node.index.index.Index; see the module.  `LmdbHome` makes one."""

    def __init__(
        self,
        environment: lmdb.Environment,
        path: str,
        threads: Threads,
        guard: Guard,
        map_bytes_max: int,
    ) -> None:
        self._environment = environment
        self._path = path
        self._threads = threads
        self._guard = guard
        self._marks = guard.marks
        self._map_bytes = environment.info()["map_size"]
        self._map_bytes_max = map_bytes_max
        self._page_bytes = environment.stat()["psize"]
        self._reserve = FileReserve(os.path.join(path, _DATA))
        self._turn = asyncio.Lock()
        self._grows = False
        self._failed = False
        self._closed = False
        self._ended = False

    def get(self, key: bytes) -> bytes | None:
        self._require_open()
        self._marks[LOOP] = 1
        try:
            with self._environment.begin() as transaction:
                return _get(transaction, key)
        except lmdb.Error as error:
            raise _translated(self._path, error) from error
        finally:
            self._marks[LOOP] = 0

    def after(self, key: bytes, limit: int, *, below: bytes) -> list[tuple[bytes, bytes]]:
        self._require_open()
        self._marks[LOOP] = 1
        try:
            with self._environment.begin() as transaction:
                return _after(transaction, key, limit, below)
        except lmdb.Error as error:
            raise _translated(self._path, error) from error
        finally:
            self._marks[LOOP] = 0

    async def write(self, work: Callable[[IndexWriter], T]) -> T:
        while True:
            try:
                result = await self._run(partial(self._commit, work))
            except lmdb.MapFullError:
                self._grows = True
            else:
                self._guard.thread_survived()
                return result

    async def read(self, work: Callable[[IndexReader], T]) -> T:
        return await self._run(partial(self._look, work))

    async def warm(self) -> None:
        path = os.path.join(self._path, _DATA)
        for offset in range(0, CACHED_BYTES_MAX, STEP_BYTES):
            if not await self._run(partial(read_step, path, offset)):
                break

    def condemn(self) -> None:
        if not self._closed:
            self._guard.condemn()

    async def close(self) -> bool:
        if not self._closed:
            self._closed = True
            self._ended = await self._threads.close()
            if self._ended:
                self._environment.close()
                self._guard.close()
        return self._ended

    # --- in the event loop ------------------------------------------------------------------------

    async def _run(self, job: Callable[[], T]) -> T:
        """Do `job` in the thread; the next one waits for its end, whoever still waits for it."""
        await self._turn.acquire()
        try:
            self._make_ready()
            future = self._threads.run(job, self._over)
        except BaseException:
            self._turn.release()
            raise
        return await future

    def _over(self, _result: object, _future: object) -> None:
        if self._failed and not self._closed:
            with suppress(HoldfastError):  # then the next one tries again
                self._open_anew()  # after a failed commit LMDB lets nobody read either
        self._turn.release()

    def _make_ready(self) -> None:
        """Rule 3."""
        self._require_open()
        if self._failed:
            self._open_anew()
        if self._grows:
            self._grows = False
            if self._map_bytes >= self._map_bytes_max:
                raise DiskFull(f"the index fills all {self._map_bytes} bytes that it may have")
            self._grow()

    def _open_anew(self) -> None:
        """Only for reading when the disk allows no more; then commits fail, and reads go on."""
        self._environment.close()
        try:
            self._environment = _open(self._path, self._map_bytes)
        except StorageFault:
            self._environment = _open_for_reading(self._path)

    def _grow(self) -> None:
        map_bytes = min(2 * self._map_bytes, self._map_bytes_max)
        try:
            self._environment.set_mapsize(map_bytes)
        except lmdb.Error as error:
            raise _translated(self._path, error) from error
        log.info("the map of the index grows", map_bytes=map_bytes)
        self._map_bytes = map_bytes

    def _require_open(self) -> None:
        if self._closed:
            raise StorageFault("the index was closed")

    # --- in the thread ----------------------------------------------------------------------------

    def keep_room(self) -> None:
        """Have the file longer than its pages."""
        self._reserve.keep((self._environment.info()["last_pgno"] + 1) * self._page_bytes)

    def _commit(self, work: Callable[[IndexWriter], T]) -> T:
        self._marks[THREAD] = 1
        try:
            if self._failed:
                self._environment.sync(True)
                self._failed = False
            with self._environment.begin(write=True) as transaction:
                result = work(_Writer(transaction))
            self.keep_room()
            return result
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            self._failed = True
            if error.code == errno.EIO and self._reserve.is_disk_full():  # a part had room
                raise DiskFull(f"no room for the index {self._path}") from error
            raise _translated(self._path, error) from error
        finally:
            self._marks[THREAD] = 0

    def _look(self, work: Callable[[IndexReader], T]) -> T:
        self._marks[THREAD] = 1
        try:
            with self._environment.begin() as transaction:
                return work(_Reader(transaction))
        except lmdb.Error as error:
            raise _translated(self._path, error) from error
        finally:
            self._marks[THREAD] = 0


class _Reader:
    """IndexReader over a transaction."""

    def __init__(self, transaction: lmdb.Transaction[bytes]) -> None:
        self._transaction = transaction

    def get(self, key: bytes) -> bytes | None:
        return _get(self._transaction, key)

    def after(self, key: bytes, limit: int, *, below: bytes) -> list[tuple[bytes, bytes]]:
        return _after(self._transaction, key, limit, below)


class _Writer(_Reader):
    """IndexWriter over a transaction."""

    def put(self, key: bytes, value: bytes) -> None:
        self._transaction.put(key, value)

    def delete(self, key: bytes) -> None:
        self._transaction.delete(key)


def _open(path: str, map_bytes: int) -> lmdb.Environment:
    try:
        return lmdb.open(
            path,
            map_size=map_bytes,
            metasync=True,
            sync=True,
            map_async=False,
            writemap=False,  # a full disk would be a signal
            readahead=False,  # keys are hashes: the page beside is as far as any other
            mode=0o600,
            max_spare_txns=1,
            lib_version=0,  # data format 1 of LMDB 0.9
        )
    except lmdb.Error as error:
        raise _translated(path, error) from error


def _open_for_reading(path: str) -> lmdb.Environment:
    try:
        return lmdb.open(path, readonly=True, lock=False, readahead=False, lib_version=0)
    except lmdb.Error as error:
        raise _translated(path, error) from error


def _get(transaction: lmdb.Transaction[bytes], key: bytes) -> bytes | None:
    value = transaction.get(key)
    if value is None:
        _require_absent(transaction, key)
    return value


def _require_absent(transaction: lmdb.Transaction[bytes], key: bytes) -> None:
    """Look at the keys on both sides of the gap: rot above the leaves leads past keys that exist.

    A value that is read has a checksum; that there is none has only this and the sums.
    """
    with transaction.cursor() as cursor:
        if cursor.set_range(key):
            is_gap = cursor.key() > key and not (cursor.prev() and cursor.key() >= key)
        else:
            is_gap = not (cursor.last() and cursor.key() >= key)
    if not is_gap:
        raise Corrupt(f"the index is damaged: what leads to {key.hex()} leads elsewhere")


def _after(
    transaction: lmdb.Transaction[bytes], key: bytes, limit: int, below: bytes
) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    with transaction.cursor() as cursor:
        if not cursor.set_range(key):
            return found
        for pair in cursor:
            if pair[0] >= below or len(found) == limit:
                break
            if pair[0] != key:
                found.append(pair)
    return found


def _translated(path: str, error: lmdb.Error) -> Corrupt | DiskFull | StorageFault:
    if isinstance(error, _DAMAGED):
        return Corrupt(f"the index is damaged: {error}")
    if error.code > 0:  # what the system said
        return fault("index", path, OSError(error.code, error.reason))
    return StorageFault(f"index {path}: {error}")
