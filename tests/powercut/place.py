"""Where a run keeps its images and mount points, and how what an earlier one left goes away.

Everything is below one directory in memory whose name has our prefix and the run's process id.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.powercut import kernel

PREFIX: Final = "holdfast-powercut-"
MEMORY: Final = "/dev/shm"
IMAGE_BYTES: Final = 96 << 20
MEMORY_BYTES_MIN: Final = 1 << 30
MKFS: Final = (
    "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-J", "size=8",
    "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
)  # fmt: skip

_ESCAPED: Final = re.compile(r"\\(\d{3})")  # how the kernel writes blanks in paths


@contextmanager
def own_place() -> Iterator[Path]:
    """A directory for this run, without mounts in it at the end."""
    path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))
    try:
        yield path
    finally:
        unmount_below(str(path))
        shutil.rmtree(path)


def unmount_below(path: str) -> None:
    """Everything, the last mount first."""
    targets = [
        _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), line.split()[1])
        for line in Path("/proc/self/mounts").read_text().splitlines()
    ]
    for target in reversed([name for name in targets if name.startswith(f"{path}/")]):
        with suppress(OSError):
            kernel.freeze(target, on=False)
        kernel.unmount(target)


def clear_leftovers() -> list[str]:
    """Remove what runs left that are over; what was removed, in words.

    Their mounts went with their last process, in a namespace of their own.
    """
    removed = []
    for path in sorted(Path(MEMORY).glob(f"{PREFIX}*")):
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            unmount_below(str(path))
            for device in kernel.loops_of(f"{path}/"):
                with suppress(OSError):
                    kernel.clear_loop(device)
                    removed.append(f"loop device {device}")
            shutil.rmtree(path)
            removed.append(str(path))
    return removed
