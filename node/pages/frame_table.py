"""The newest frame of each guid, and what of it no flush has made durable yet.  Not thread-safe."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from node.pages.manifest_format import Frame


class Cut(Struct, frozen=True):
    """What a flush makes durable.

    changes: in order, each guid once.  whole: all frames, where it was asked for.  mark: of the
    table.  replaced: mark of the slots.
    """

    changes: list[tuple[bytes, Frame | None]]
    whole: Mapping[bytes, Frame] | None
    next_slot: int
    mark: int
    replaced: int


class FrameTable:
    """See the module."""

    def __init__(self, frames: Mapping[bytes, Frame]) -> None:
        self.frames = dict(frames)
        self._changed: dict[bytes, int] = {}
        self._count = 0

    @property
    def is_changed(self) -> bool:
        """Whether something waits for a flush."""
        return bool(self._changed)

    @property
    def changed_count(self) -> int:
        """How many guids wait for a flush."""
        return len(self._changed)

    def put(self, guid: bytes, frame: Frame | None) -> Frame | None:
        """The newest frame from now on, or none; the one before."""
        before = self.frames.get(guid)
        if frame is not None:
            self.frames[guid] = frame
        elif before is not None:
            del self.frames[guid]
        else:
            return None
        self._count += 1
        self._changed.pop(guid, None)
        self._changed[guid] = self._count
        return before

    def cut(self, next_slot: int, replaced: int, *, whole: bool) -> Cut:
        """What waits now."""
        return Cut(
            changes=[(guid, self.frames.get(guid)) for guid in self._changed],
            whole=dict(self.frames) if whole else None,
            next_slot=next_slot,
            mark=self._count,
            replaced=replaced,
        )

    def flushed(self, cut: Cut) -> None:
        """The cut is durable; what changed since then still waits."""
        for guid, _ in cut.changes:
            if self._changed.get(guid, cut.mark + 1) <= cut.mark:
                del self._changed[guid]
