"""The few system calls for mounts and loop devices that Python has no function for.

Everything happens in a mount namespace of our own, so that no mount outlives the last process of a
run, and every loop device is told to go away with its last user (LO_FLAGS_AUTOCLEAR).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_REMOUNT: Final = 0x20
MS_NOATIME: Final = 0x400

_CLONE_NEWNS: Final = 0x00020000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_PR_SET_PDEATHSIG: Final = 1
_SIGKILL: Final = 9
_SYNC_FILE_RANGE_WRITE: Final = 2
_FIFREEZE: Final = 0xC0045877
_FITHAW: Final = 0xC0045878

_FS_IOC_SHUTDOWN: Final = 0x8004587D
_SHUTDOWN_WITHOUT_FLUSH: Final = 2

_BLKFLSBUF: Final = 0x1261
_LOOP_CLR_FD: Final = 0x4C01
_LOOP_CONFIGURE: Final = 0x4C0A
_LOOP_CTL_GET_FREE: Final = 0x4C82
_LO_FLAGS_AUTOCLEAR: Final = 4
_LO_FLAGS_DIRECT_IO: Final = 16
_LOOP_CONFIG: Final = struct.Struct("=II232s64x")  # descriptor, block size, loop_info64, reserved
_LOOP_INFO: Final = struct.Struct("=QQQQQIIII64s64s32sQQ")
_BUSY_S: Final = 50.0  # a store that closes on a slow machine may let go late

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def own_mounts() -> None:
    """Enter a mount namespace of our own, from which nothing spreads."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount /")


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends, however it does."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2); raises OSError."""
    named = (source.encode(), target.encode(), kind.encode())
    _checked(_libc.mount(*named, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def unmount(target: str) -> None:
    """umount(2), again for a while when somebody is just letting go; raises OSError."""
    deadline_s = time.monotonic() + _BUSY_S
    while True:
        try:
            _checked(_libc.umount2(target.encode(), 0), f"umount {target}")
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def mounted(
    device: str, target: str, flags: int = MS_NOATIME, options: str = ""
) -> Iterator[str]:
    """An ext4 file system for as long as the block lasts."""
    mount(device, target, "ext4", flags, options)
    try:
        yield target
    finally:
        unmount(target)


@contextmanager
def looped(path: str, *, direct: bool = False) -> Iterator[str]:
    """The name of a loop device over a file, with blocks of 4 KiB; raises OSError."""
    with ExitDescriptor(os.open(path, os.O_RDWR | os.O_CLOEXEC)) as backing:
        device, name = _free_loop(backing, path, direct=direct)
    with ExitDescriptor(device):
        yield name


class ExitDescriptor:
    """Closes a descriptor at the end of a block."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> int:
        return self._number

    def __exit__(self, *_: object) -> None:
        os.close(self._number)


def _free_loop(backing: int, path: str, *, direct: bool) -> tuple[int, str]:
    flags = _LO_FLAGS_AUTOCLEAR | (_LO_FLAGS_DIRECT_IO if direct else 0)
    label = path.encode()[-63:]
    info = _LOOP_INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, label, b"", b"", 0, 0)
    config = _LOOP_CONFIG.pack(backing, 4096, info)
    for _ in range(100):
        with ExitDescriptor(os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)) as control:
            name = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
        device = os.open(name, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, _LOOP_CONFIGURE, config)
        except OSError as error:
            os.close(device)
            if error.errno != errno.EBUSY:  # somebody else was quicker
                raise
            time.sleep(0.01)
        else:
            return device, name
    raise OSError(errno.EBUSY, "no loop device is free", path)


def write_back(path: str) -> None:
    """Have the kernel begin to write what it caches of a file, as it does at any time by itself.

    Nothing is flushed.  A file that is gone meanwhile is fine.
    """
    with suppress(FileNotFoundError), ExitDescriptor(os.open(path, os.O_RDONLY)) as file:
        every = ctypes.c_longlong(0)
        _libc.sync_file_range(file, every, every, ctypes.c_uint(_SYNC_FILE_RANGE_WRITE))


def freeze(target: str, *, on: bool) -> None:
    """Have a file system hold every write back, or let them go on."""
    with ExitDescriptor(os.open(target, os.O_RDONLY)) as root:
        fcntl.ioctl(root, _FIFREEZE if on else _FITHAW, 0)


def shut_down(target: str) -> None:
    """Cut a file system off its disk as a power cut does: neither data nor journal is flushed.

    From here on everything there fails, until it was unmounted and mounted anew.
    """
    with ExitDescriptor(os.open(target, os.O_RDONLY)) as root:
        fcntl.ioctl(root, _FS_IOC_SHUTDOWN, struct.pack("I", _SHUTDOWN_WITHOUT_FLUSH))


def forget_cached(device: str) -> None:
    """Have the kernel read a block device anew: what is below it was changed."""
    with ExitDescriptor(os.open(device, os.O_RDONLY)) as opened:
        fcntl.ioctl(opened, _BLKFLSBUF, 0)


def clear_loop(device: str) -> None:
    """Take the file from under a loop device, at once or when its last user goes."""
    with ExitDescriptor(os.open(device, os.O_RDONLY)) as opened:
        fcntl.ioctl(opened, _LOOP_CLR_FD, 0)


def loops_of(prefix: str) -> list[str]:
    """Loop devices whose backing file's path begins like this."""
    found = []
    for path in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        with suppress(OSError):
            if path.read_text().startswith(prefix):
                found.append(f"/dev/{path.parent.parent.name}")
    return found
