"""Wait for a peer's processes to be ready, or say with their own words why they are not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.ask import free_port
from bench.child import Child
from bench.deadline import Deadline
from bench.failure import RowFailed

_READY_S: Final = 60.0
_POLL_S: Final = 0.05


def wait_ready(
    name: str, family: Sequence[Child], is_ready: Callable[[], bool], deadline: Deadline
) -> None:
    """Return when `is_ready`; RowFailed when one of the family ended or the time is over."""
    patience = Deadline(deadline.share_s(_READY_S, f"starting {name}"))
    while not is_ready():
        for child in family:
            if child.exited:
                raise RowFailed(f"a process of {name} ended:\n{child.last_words()}")
        if patience.remaining_s() == 0:
            words = family[-1].last_words()
            raise RowFailed(f"{name} was not ready after {_READY_S:.0f} s:\n{words}")
        time.sleep(_POLL_S)


def free_ports(count: int) -> list[int]:
    """As many free ports of the loopback address, no two alike."""
    chosen: list[int] = []
    while len(chosen) < count:
        port = free_port()
        if port not in chosen:
            chosen.append(port)
    return chosen


def made(folder: Path) -> Path:
    """The folder, which was not there before."""
    folder.mkdir()
    return folder
