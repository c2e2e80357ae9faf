"""Room for a file that has to grow on a full disk: it is longer than what is used of it.

The index is one: a checkpoint writes new pages before old ones are free, and segments are freed
only after it.  On a disk that filled up without this, nothing could be deleted for good any more.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from ring.limits import MIB

RESERVE_BYTES_MIN: Final = 1 * MIB
RESERVE_BYTES_MAX: Final = 64 * MIB  # a few transactions of a checkpoint of a large index
FULL_BYTES: Final = 64 * 1024


class FileReserve:
    """Of one file.  Blocks."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._allocated = 0

    def keep(self, used_bytes: int) -> None:
        """Have room behind `used_bytes`, as far as the disk has it; later calls try again.

        A file that is shorter than that has lost something, and is left as it is.
        """
        reserve_bytes = min(max(used_bytes, RESERVE_BYTES_MIN), RESERVE_BYTES_MAX)
        if used_bytes + reserve_bytes <= self._allocated:
            return
        wanted = used_bytes + 2 * reserve_bytes
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_size >= used_bytes:
                    os.posix_fallocate(descriptor, 0, wanted)
                    os.fsync(descriptor)
                    self._allocated = wanted
            finally:
                os.close(descriptor)

    def is_disk_full(self) -> bool:
        """Whether what failed a moment ago may have failed for want of room."""
        with suppress(OSError):
            system = os.statvfs(self._path)
            return system.f_bavail * system.f_frsize < FULL_BYTES
        return False
