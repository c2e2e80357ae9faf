"""Page stores on a real disk, opened the ways that tests of files need."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.pages.page_store import PageStore
from ring.errors import Corrupt
from tests.node.pages.frames import BLOCK, PAGE, got, guid, put


def opened(folder: Path, *, read_only: bool = False) -> PageStore:
    return PageStore.open(str(folder), PAGE, read_only=read_only)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flip(path: Path, at: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


def made(folder: Path, count: int = 3) -> None:
    """A store with frames 0 to `count` at version 1, each flushed by itself."""
    store = opened(folder)
    for number in range(count):
        put(store, number, 1)
        store.flush()
    store.close()


def corrupt(store: PageStore, number: int) -> None:
    with pytest.raises(Corrupt):
        got(store, number)
    for at in range(0, PAGE, BLOCK):
        with pytest.raises(Corrupt):
            store.read_blob_range(guid(number), at, BLOCK)
