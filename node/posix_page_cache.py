"""Reading a file for the sake of the system's page cache: who looks into it later need not wait.

Advice to the kernel (POSIX_FADV_WILLNEED) reads no more than one read-ahead window on Linux, so the
file is read in earnest, a step at a time.
"""

from __future__ import annotations

import os
from typing import Final

from node.posix_file import fault
from ring.limits import GIB, MIB

CACHED_BYTES_MAX: Final = 1 * GIB  # of one file; an index of some 8 million records
STEP_BYTES: Final = 1 * MIB


def read_step(path: str, offset: int) -> bool:
    """Read STEP_BYTES from `offset`; whether there was anything.  Blocks; raises StorageFault."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return bool(os.pread(descriptor, STEP_BYTES, offset))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise fault("read", path, error) from error
