"""Locks: the page store may be called from any thread and starts none of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from ring.errors import StorageFault

CLOSE_TIMEOUT_S: Final = 30.0


def lock() -> AbstractContextManager[object]:
    """A lock that one thread holds at a time; not to be taken twice by the same one."""
    return threading.Lock()


class Gate:
    """Counts who is inside, so that nothing is taken away under somebody's hands."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._open = True

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Be inside; raises StorageFault when the gate was closed."""
        with self._changed:
            if not self._open:
                raise StorageFault("the page store was closed")
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if not self._inside:
                    self._changed.notify_all()

    def close(self) -> bool:
        """Let nobody in and wait for the rest; true for the first caller once all are out.

        False as well when somebody is still inside after CLOSE_TIMEOUT_S: a disk that hangs.
        """
        with self._changed:
            if not self._open:
                return False
            self._open = False
            return self._changed.wait_for(lambda: not self._inside, CLOSE_TIMEOUT_S)
