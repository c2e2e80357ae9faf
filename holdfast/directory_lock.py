"""One process at a time in a data directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from holdfast.local_fault import local_faults
from ring.errors import LocalFault


@contextlib.contextmanager
def locked_directory(path: str) -> Iterator[None]:
    """Hold the lock on a directory, which is made when it is absent; raises LocalFault.

    The lock is on the directory itself, so it leaves nothing behind and ends with the process.
    """
    with local_faults("open", path):
        os.makedirs(path, mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalFault(f"another process uses {path!r}; a directory has one node") from None
        yield
    finally:
        os.close(descriptor)
