"""What a run needs of the machine, and how to get what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.powercut import kernel
from tests.powercut.place import MEMORY, MEMORY_BYTES_MIN

_PROGRAMS = {
    "mkfs.ext4": "e2fsprogs", "e2fsck": "e2fsprogs", "fsfreeze": "util-linux",
}  # fmt: skip


def missing() -> Iterator[str]:
    """A line for each thing; none when a run can begin."""
    if os.geteuid() != 0:
        yield "it has to run as root, for mounts and loop devices: sudo make powercut"
    for path, module in (("/dev/fuse", "fuse"), ("/dev/loop-control", "loop")):
        if not Path(path).exists():
            yield f"there is no {path}: modprobe {module}, or have the container be given it"
        elif not os.access(path, os.R_OK | os.W_OK):
            yield f"{path} may not be opened: run as root, or have the container be given it"
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            yield f"there is no {program} on PATH: apt-get install {package}"
    if not _knows_ext4():
        yield "the kernel does not know ext4: modprobe ext4"
    if not Path(MEMORY).is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_BYTES_MIN:
        yield f"{MEMORY} has less than 1 GiB free: mount -o remount,size=2G {MEMORY}"


def enter_own_mounts() -> str | None:
    """From here on mounts are ours alone; in words what forbids that."""
    try:
        kernel.own_mounts()
    except OSError as error:
        return f"no mount namespace ({error.strerror}): it needs the capability CAP_SYS_ADMIN"
    return None


def _knows_ext4() -> bool:
    known = Path("/proc/filesystems").read_text().split()
    return "ext4" in known or Path("/sys/module/ext4").exists()
