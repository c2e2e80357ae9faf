"""Frames that tell a mix of two from a whole one."""

from __future__ import annotations

from functools import lru_cache

from node.pages.page_store import PageStore

PAGE = 8192
BLOCK = 4096


def guid(number: int) -> bytes:
    """A guid."""
    return number.to_bytes(16, "big")


@lru_cache(maxsize=4096)
def image(number: int, version: int, size: int = PAGE) -> bytes:
    """What frame `number` is at `version`: every 4 KiB says which block of which image it is."""
    blocks = []
    for at in range(0, size, BLOCK):
        stamp = f"{number}/{version}/{at} ".encode()
        blocks.append((stamp * (BLOCK // len(stamp) + 1))[:BLOCK])
    return b"".join(blocks)


def filled(store: PageStore, data: bytes) -> memoryview:
    """An aligned buffer with this content."""
    buffer = store.alloc_blob_buf_uninit()
    buffer[:] = data
    return buffer


def put(store: PageStore, number: int, version: int) -> None:
    """Write an image."""
    store.write_blob(guid(number), filled(store, image(number, version, store.page_size)))


def got(store: PageStore, number: int) -> bytes:
    """Read a frame."""
    buffer = store.alloc_blob_buf_uninit()
    store.read_blob(guid(number), buffer)
    return bytes(buffer)


def is_at(store: PageStore, number: int, version: int) -> bool:
    """Whether a frame is the whole image of that version."""
    return got(store, number) == image(number, version, store.page_size)
