"""Remembers whether a process died while it was looking into a mapped file.

A page of a mapped file that cannot be read, or says nonsense, ends the process by a signal that
Python cannot catch, and would end the next one at the same place.  So every access is marked in a
file of its own, which is mapped too: setting a mark costs a tenth of a microsecond, and the kernel
keeps it when the process dies.  A death elsewhere leaves no mark and ends the count.

Here too is remembered that the content of the file was found to be wrong: that takes no room on
the disk, and outlives the process.  A power cut may forget it; then it is found again.

Form: five bytes.  In access by the event loop, in access by a thread (1 or 0); how many openings in
a row ended in each of them; whether the file was condemned (1 or 0).
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from node.posix_file import fault

LOOP: Final = 0
THREAD: Final = 1

_DEATHS: Final = 2  # where the counts begin
_CONDEMNED: Final = 4
_BYTES: Final = 5
_DEATHS_MAX: Final = 255


class Guard:
    """One opening of the file at `path`, which is made when it is absent.

    deaths: how many openings before this one, in a row, ended in access.  Raises StorageFault or
    DiskFull.  Its calls do I/O, setting `marks[LOOP]` and `marks[THREAD]` does not.
    """

    def __init__(self, path: str) -> None:
        try:
            self.marks = _map(path)
            self._begin()
        except OSError as error:
            raise fault("open", path, error) from error

    @property
    def deaths(self) -> int:
        """See the class."""
        return self.marks[_DEATHS + LOOP] + self.marks[_DEATHS + THREAD]

    def thread_survived(self) -> None:
        """Something long was done in the thread to its end: earlier deaths there were chance."""
        self.marks[_DEATHS + THREAD] = 0

    @property
    def condemned(self) -> bool:
        """Whether the file was found to be wrong, by this process or by one before it."""
        return bool(self.marks[_CONDEMNED])

    def condemn(self) -> None:
        """The file is wrong; until `replaced`.  No I/O."""
        self.marks[_CONDEMNED] = 1

    def replaced(self) -> None:
        """Another file is there now: begin anew."""
        self.marks[:] = bytes(_BYTES)

    def close(self) -> None:
        """The opening ends as it should."""
        self.marks[:_CONDEMNED] = bytes(_CONDEMNED)
        self.marks.close()

    def _begin(self) -> None:
        marks = self.marks
        died = bytes(marks[:_DEATHS])
        for which in (LOOP, THREAD):
            count = min(marks[_DEATHS + which] + bool(died[which]), _DEATHS_MAX)
            marks[_DEATHS + which] = count if any(died) else 0
            marks[which] = 0
        marks.flush()


def _map(path: str) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _BYTES)  # a hole could not be filled on a full disk
        return mmap.mmap(descriptor, _BYTES)
    finally:
        os.close(descriptor)
