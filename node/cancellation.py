"""A cancellation that meets an error on its way.

A TaskGroup that is cancelled in the moment in which one of its tasks fails raises the failure and
not the cancellation.  Whoever catches that and goes on would never end, and whoever cancelled it
would wait for ever.
"""

from __future__ import annotations

import asyncio

from ring.errors import HoldfastError


def stop_if_cancelled() -> None:
    """Raise CancelledError if this task is to end; called after a failure of a TaskGroup."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def is_of_the_world(error: Exception) -> bool:
    """Whether an error, or each of a group, is the disk's or a peer's and no mistake of ours."""
    if isinstance(error, ExceptionGroup):
        return error.split(HoldfastError)[1] is None
    return isinstance(error, HoldfastError)
