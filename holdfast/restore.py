"""A manifest back into a directory.

Rules: directories first, then the files, each under a temporary name until its bytes hash to its
checksum and are on the disk, then the modes of the directories, the deepest first.  A file that is
already there with the right content stays; so whoever was interrupted begins again and loses
little.  What the manifest does not name is left alone.

Modes are restored in full, setuid, setgid and sticky bits included, like snapdir does
(https://snapdir.org); owners and times are not part of a manifest.  Sizes are not checked: an entry
that was a followed link has the length of the link's text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.destination import Destination
from holdfast.local_fault import local_faults
from holdfast.manifest import Entry, Manifest
from holdfast.tree import PIECE_BYTES, Progress
from ring.digest import Algorithm
from ring.errors import DigestMismatch

# Yields the bytes of the blob whose BLAKE3 is given as 64 hex digits; owns its deadlines.
Fetch = Callable[[str], AsyncIterator[bytes]]

# Files on their way at once: enough to hide the way to a gateway, few enough for its limits.
JOBS: Final = 8


@dataclass(slots=True)
class Restored:
    """What a restore did: files written and kept, bytes of content in both."""

    files_written: int = 0
    files_kept: int = 0
    size_bytes: int = 0


async def restore(
    manifest: Manifest,
    directory: str,
    fetch: Fetch,
    *,
    jobs: int = JOBS,
    progress: Progress | None = None,
) -> Restored:
    """Make `directory` hold what the manifest names; makes it when it is not there.

    Stops at the first error: what `fetch` raises; DigestMismatch when it yields other bytes than it
    was asked for; UnsafePath where a symbolic link stands in a file's way; LocalFault and DiskFull.
    No file is then wrong or half written, but some are missing, and directories have not got their
    modes: a new one is its owner's alone.
    """
    files = manifest.files
    reserved = frozenset(entry.path for entry in files)
    with Destination(directory, reserved) as destination:
        for path, mode in manifest.directories.items():
            destination.make(path, mode)
        run = _Run(destination, fetch, progress)
        await run.files(iter(files), jobs)
        for path in reversed(list(manifest.directories)):
            destination.settle(path, manifest.directories[path])
    return run.restored


class _Run:
    def __init__(self, destination: Destination, fetch: Fetch, progress: Progress | None) -> None:
        self.destination = destination
        self.fetch = fetch
        self.progress = progress
        self.restored = Restored()

    async def files(self, entries: Iterator[Entry], jobs: int) -> None:
        """Restore all files, `jobs` at a time; the first error ends them all."""
        assert jobs > 0, jobs
        workers = [asyncio.create_task(self._work(entries)) for _ in range(jobs)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            # Temporary files are gone, and nobody uses the destination any more, when this ends.
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, entries: Iterator[Entry]) -> None:
        for entry in entries:
            if await self._is_there(entry):
                self.restored.files_kept += 1
            else:
                await self._write(entry)
                self.restored.files_written += 1
            self._report(0)

    async def _is_there(self, entry: Entry) -> bool:
        descriptor = self.destination.find(entry.path)
        if descriptor is None:
            return False
        hasher = Algorithm.BLAKE3.hasher()
        size_bytes = 0
        with open(descriptor, "rb", buffering=0) as file:
            while True:
                with local_faults("read", entry.path):
                    piece = file.read(PIECE_BYTES)
                if not piece:
                    break
                hasher.update(piece)
                size_bytes += len(piece)
                await asyncio.sleep(0)  # a large file must not starve the transfers beside it
            if hasher.digest().hex() != entry.checksum:
                return False
            if not self.destination.adopt(entry.path, descriptor, entry.mode):
                return False
        self._report(size_bytes)
        return True

    async def _write(self, entry: Entry) -> None:
        hasher = Algorithm.BLAKE3.hasher()
        with self.destination.write(entry.path) as file:
            pieces = self.fetch(entry.checksum)
            try:
                async for piece in pieces:
                    hasher.update(piece)
                    file.write(piece)
                    self._report(len(piece))
            finally:
                if isinstance(pieces, AsyncGenerator):
                    await pieces.aclose()
            found = hasher.digest().hex()
            if found != entry.checksum:
                raise DigestMismatch(
                    f"{entry.path!r} needs bytes of blake3:{entry.checksum},"
                    f" got bytes of blake3:{found}"
                )
            file.commit(entry.mode)

    def _report(self, size_bytes: int) -> None:
        self.restored.size_bytes += size_bytes
        if self.progress is not None:
            done = self.restored.files_kept + self.restored.files_written
            self.progress(self.restored.size_bytes, done)
