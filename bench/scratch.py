"""The folder that a run works in: on a real disk, with room enough, gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.failure import RowFailed, ToolMissing
from bench.proc import file_system

_IN_MEMORY: Final = ("tmpfs", "ramfs", "devtmpfs")
_RESERVE_BYTES: Final = 4 << 30  # left to the machine; a node also keeps a reserve of its own


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, removed at the end with all that is in it.

    ToolMissing when `parent` is not there or lies in memory, where no write is durable.
    """
    if not parent.is_dir():
        raise ToolMissing(f"there is no folder {parent}; name another one with --dir")
    kind = file_system(parent)
    if kind in _IN_MEMORY:
        raise ToolMissing(
            f"{parent} lies in memory ({kind}), where a durable write costs nothing; "
            "name a folder on a disk with --dir"
        )
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """RowFailed, with both numbers, when the disk has no room for `needed_bytes` and a reserve."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + _RESERVE_BYTES:
        raise RowFailed(
            f"{what} needs {needed_bytes >> 20:,} MiB of disk and {_RESERVE_BYTES >> 20:,} MiB "
            f"to spare, but {folder} has {free_bytes >> 20:,} MiB free"
        )
