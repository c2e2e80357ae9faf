"""The frames that a load writes, and how it opens the page store.

An item is a frame's number, its state the version of its image; NOTHING when there is no frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from node.pages.page_store import PageStore
from node.pages.posix_directory import PosixDirectory
from ring.errors import NotFound
from tests.node.pages.frames import got, guid, image
from tests.powercut.history import NOTHING, State, Wrong

FRAMES: Final = 24
PAGE_SIZE: Final = 32_768
_LOG_BYTES_MIN: Final = 2048  # so that snapshots are written often


def opened_frames(root: str) -> PageStore:
    """The page store in the directory `root`; raises HoldfastError."""
    directory = PosixDirectory(root, create=True, direct=True)
    return PageStore(directory, page_size=PAGE_SIZE, log_bytes_min=_LOG_BYTES_MIN)


def version_of(store: PageStore, item: int) -> State:
    """What a frame is; raises Wrong for a torn or foreign one."""
    try:
        data = got(store, item)
    except NotFound:
        return NOTHING
    number, version, _ = data[:64].split(b"/", 2)
    if data != image(int(number), int(version), PAGE_SIZE) or int(number) != item:
        raise Wrong(f"frame {item} is torn or another's")
    return (int(version),)


def judge_frames(
    store: PageStore, allowed: Mapping[int, frozenset[State]]
) -> dict[int, frozenset[State]]:
    """What every frame is; raises Wrong unless that is what it may be, wholly."""
    now: dict[int, frozenset[State]] = {}
    names = set(store.list_blobs())
    for item in range(FRAMES):
        may_be = allowed.get(item, frozenset({NOTHING}))
        found = version_of(store, item)
        if found not in may_be:
            raise Wrong(f"frame {item} is {found}, allowed {sorted(may_be)}")
        if (guid(item) in names) != (found != NOTHING):
            raise Wrong(f"frame {item} is {found}, and the list says otherwise")
        now[item] = frozenset({found})
    if len(names) > FRAMES or store.stats().corrupt_reads:
        raise Wrong(f"{len(names)} frames, {store.stats().corrupt_reads} of them corrupt")
    return now
