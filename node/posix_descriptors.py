"""Open file descriptors: counted holders, and a bounded cache of those read recently.

Rules:
1.  A number is closed when nobody holds it any more and never while a thread uses it: the system
    hands a closed number out again at once.
2.  A path leaves the cache before whoever changed what it names is told so; a read that opened the
    old file meanwhile does not bring it back (`reading`, `found`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class Descriptor:
    """An open file with a count of those who need it open; starts with one.

    size_bytes: length when it was opened.
    """

    __slots__ = ("_close", "_holders", "number", "size_bytes")

    def __init__(self, number: int, size_bytes: int, close: Callable[[int], None]) -> None:
        self.number = number
        self.size_bytes = size_bytes
        self._close = close
        self._holders = 1

    def hold(self) -> None:
        """Need it open once more."""
        assert self._holders > 0
        self._holders += 1

    def release(self) -> None:
        """Need it once less."""
        assert self._holders > 0
        self._holders -= 1
        if not self._holders:
            self._close(self.number)


class OpenFiles:
    """The descriptors of at most `limit` files that were read lately, by path.

    They are for reading whole small files over and over; used from the event loop's thread only.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._recent: OrderedDict[str, Descriptor] = OrderedDict()
        self._reading: dict[str, object] = {}

    def get(self, path: str) -> Descriptor | None:
        """The cached descriptor; still the cache's: hold it to keep it."""
        descriptor = self._recent.get(path)
        if descriptor is not None:
            self._recent.move_to_end(path)
        return descriptor

    def reading(self, path: str) -> object:
        """Note that somebody opens `path`; the token goes to `found`."""
        token = object()
        self._reading[path] = token
        return token

    def found(self, path: str, token: object, descriptor: Descriptor | None) -> None:
        """Keep what a read opened, unless the path was changed since or read again."""
        if self._reading.get(path) is token:
            del self._reading[path]
            if descriptor is not None and path not in self._recent:
                self._keep(path, descriptor)
                return
        if descriptor is not None:
            descriptor.release()

    def forget(self, path: str) -> None:
        """The path names another file now, or none."""
        self._reading.pop(path, None)
        descriptor = self._recent.pop(path, None)
        if descriptor is not None:
            descriptor.release()

    def clear(self) -> None:
        """Let go of everything."""
        self._reading.clear()
        while self._recent:
            self._recent.popitem()[1].release()

    def _keep(self, path: str, descriptor: Descriptor) -> None:
        self._recent[path] = descriptor
        if len(self._recent) > self._limit:
            self._recent.popitem(last=False)[1].release()
