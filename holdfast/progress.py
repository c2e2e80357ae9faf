"""A progress bar for work that takes over a second, on a terminal, on standard error.

Drawn by whoever reports progress, ten times a second at most; no thread and no task of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

PATIENCE_S: Final = 1.0
REFRESH_S: Final = 0.1


class Meter:
    """Counts bytes; a context manager.

    now_s: any clock that does not jump.  total_bytes: None when it is not known.
    """

    def __init__(
        self,
        label: str,
        total_bytes: int | None,
        now_s: Callable[[], float],
        *,
        console: Console | None = None,
    ) -> None:
        self._label = label
        self._total_bytes = total_bytes
        self._now_s = now_s
        self._console = Console(stderr=True) if console is None else console
        self._enabled = sys.stderr.isatty() if console is None else True
        self._bytes = 0
        self._drawn_s = now_s() + PATIENCE_S - REFRESH_S
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def expect(self, total_bytes: int) -> None:
        """Say how much it will be in all, when that is known later or changes."""
        if total_bytes != self._total_bytes:
            self._total_bytes = total_bytes
            if self._bar is not None:
                self._bar.update(self._task, total=total_bytes)

    def moved(self, size_bytes: int) -> None:
        """So many more bytes, or fewer when an attempt starts over."""
        self._bytes += size_bytes
        if self._enabled and self._now_s() - self._drawn_s >= REFRESH_S:
            self._draw()

    def reach(self, size_bytes: int) -> None:
        """So many bytes in all."""
        self.moved(size_bytes - self._bytes)

    def of_one(self) -> Callable[[int], None]:
        """A counter for one of several transfers, which is told how far that one is by now."""
        before = 0

        def reached(size_bytes: int) -> None:
            nonlocal before
            self.moved(size_bytes - before)
            before = size_bytes

        return reached

    def _draw(self) -> None:
        self._drawn_s = self._now_s()
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._label, total=self._total_bytes)
        self._bar.update(self._task, completed=self._bytes)
        self._bar.refresh()
