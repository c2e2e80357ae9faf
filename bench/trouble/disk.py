"""A disk that can hang: ext4 in a file, mounted; frozen, every write to it waits."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.failure import RowFailed
from bench.trouble.network import run

_BYTES: Final = 3 << 30  # sparse


class FreezableDisk:
    """Mounted at `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def freeze(self) -> None:
        """From now on it hangs."""
        run("fsfreeze", "-f", str(self.place))

    def thaw(self) -> None:
        """It goes on."""
        run("fsfreeze", "-u", str(self.place))


@contextmanager
def freezable_disk(folder: Path) -> Iterator[FreezableDisk]:
    """Needs root and a loop device; thawed and gone at the end."""
    image, place = folder / "disk.img", folder / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(_BYTES)
    run("mkfs.ext4", "-q", str(image))
    run("mount", "-o", "loop", str(image), str(place))
    disk = FreezableDisk(place)
    try:
        yield disk
    finally:
        with contextlib.suppress(RowFailed):
            disk.thaw()
        subprocess.run(["umount", str(place)], capture_output=True, check=False)
