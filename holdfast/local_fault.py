"""Where the operating system's errors about the user's own files become ours, with what was tried.

Never wrapped around anything but calls to the file system: the errors of a connection are OSErrors
too, and belong to the client.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType
from typing import Final

from ring.errors import DiskFull, HoldfastError, LocalFault

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def local_faults(trying: str, path: str | bytes | None = None) -> _Faults:
    """A context in which an OSError becomes DiskFull or LocalFault.

    `trying` completes "cannot"; a path that is given apart is written out only when needed.
    """
    return _Faults(trying, path)


def local_fault(error: OSError, trying: str, path: str | bytes | None = None) -> HoldfastError:
    """The error that says what could not be done, and the reason that the system gives."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    kind = DiskFull if error.errno in _FULL else LocalFault
    where = "" if path is None else f" {os.fsdecode(path)!r}"
    return kind(f"cannot {trying}{where}: {reason}")


class _Faults:
    """Not made with contextlib, which costs a walk more than its system calls do."""

    __slots__ = ("path", "trying")

    def __init__(self, trying: str, path: str | bytes | None) -> None:
        self.trying = trying
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise local_fault(error, self.trying, self.path) from error
