"""Peak memory of running processes, by looking often.

RssAnon counts heap and stacks and no file pages: what a process keeps and the kernel cannot take
back. Linux keeps no high-water mark of it (VmHWM includes files), so it is sampled; a peak shorter
than the interval can be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bench.proc import rss_anon_bytes

INTERVAL_S: Final = 0.02


class MemorySampler:
    """Sum of RssAnon over processes at points in time.

    pids: asked at every sample, because workers come and go. read: bytes of one process.
    """

    def __init__(
        self,
        pids: Callable[[], Sequence[int]],
        read: Callable[[int], int] = rss_anon_bytes,
    ) -> None:
        self._pids = pids
        self._read = read
        self._samples: list[int] = []

    def sample(self) -> None:
        """Look once; the caller does so every INTERVAL_S."""
        self._samples.append(sum(self._read(pid) for pid in self._pids()))

    @property
    def peak_bytes(self) -> int:
        """The largest sum seen; 0 before the first sample."""
        return max(self._samples, default=0)

    def halves_bytes(self) -> tuple[int, int]:
        """Peaks of the first and the second half of the samples: do they still grow?"""
        middle = (len(self._samples) + 1) // 2
        first, second = self._samples[:middle], self._samples[middle:]
        return max(first, default=0), max(second, default=0)
