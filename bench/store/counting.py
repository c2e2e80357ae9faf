"""How much of what a store writes is zeros ahead of its log, values and rows, or something else.

Rules:
1.  Everything that this process hands to write calls is counted by the kernel (wchar of
    /proc/self/io).  A store writes whole blocks and syncs each before it is written again, so
    that is what goes to the disk; what passes through the store's disk is counted besides, to tell
    its parts apart.  The file system's own journal is not in it.
2.  The kernel's write_bytes is reported besides and nothing is judged by it: it counts a write into
    the page cache as the whole folio that becomes dirty, which may be many times what is written
    back (seen on Linux 6.18 with ext4, beside a block device's own count).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.posix_disk import PosixDisk
from node.posix_file import PosixFile
from ring.digest import Buffer
from ring.seams import BLOCK_BYTES

_ZEROS: Final = bytes(4 << 20)


@dataclass(slots=True)
class Written:
    """Bytes so far.

    passed: to write calls of this process.  zeros, others: to those of the store's disk.  device:
    what the kernel counts as write_bytes.
    """

    passed: int = 0
    zeros: int = 0
    others: int = 0
    device: int = 0

    def since(self, before: Written) -> Written:
        """What came after."""
        return Written(
            self.passed - before.passed,
            self.zeros - before.zeros,
            self.others - before.others,
            self.device - before.device,
        )

    @property
    def without_zeros(self) -> int:
        """Everything but the filling ahead."""
        return self.passed - self.zeros

    @property
    def index(self) -> int:
        """What did not pass through the store's disk: the index writes its own file."""
        return max(0, self.passed - self.zeros - self.others)


def parse_write_bytes(text: str) -> int:
    """write_bytes of a /proc/PID/io text (see proc(5)): what made pages dirty or passed by them."""
    return _parse(text, "write_bytes")


def parse_written_bytes(text: str) -> int:
    """The wchar of it: what was handed to write calls."""
    return _parse(text, "wchar")


def _parse(text: str, wanted: str) -> int:
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if name == wanted:
            return int(value)
    raise ValueError("the kernel does not count what processes write")


class CountingDisk(PosixDisk):
    """The real disk, and how many bytes went to open files of it."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.zeros = 0
        self.others = 0

    async def open(
        self, path: str, *, create: bool = False, direct: bool = False
    ) -> PosixFile:
        return _CountingFile(await super().open(path, create=create, direct=direct), self)

    def count(self, pieces: tuple[Buffer, ...]) -> None:
        """Note a write."""
        size_bytes = sum(len(piece) for piece in pieces)
        if len(pieces) == 1 and is_zero_fill(pieces[0]):
            self.zeros += size_bytes
        else:
            self.others += size_bytes

    def written(self) -> Written:
        """So far."""
        text = Path("/proc/self/io").read_text()
        return Written(
            parse_written_bytes(text), self.zeros, self.others, parse_write_bytes(text)
        )


def is_zero_fill(piece: Buffer) -> bool:
    """Whether it is whole blocks of zeros; no record that is measured is."""
    size_bytes = len(piece)
    if not size_bytes or size_bytes % BLOCK_BYTES:
        return False
    return bytes(piece[:64]) == _ZEROS[:64] and bytes(piece) == _ZEROS[:size_bytes]


class _CountingFile(PosixFile):
    """Takes the place of a file, which is used and closed through this one only."""

    def __init__(self, file: PosixFile, disk: CountingDisk) -> None:
        self.__dict__.update(vars(file))
        self._disk = disk

    async def write(self, offset: int, *pieces: Buffer) -> None:
        self._disk.count(pieces)
        await super().write(offset, *pieces)

    async def write_durably(self, offset: int, *pieces: Buffer) -> None:
        self._disk.count(pieces)
        await super().write_durably(offset, *pieces)
