"""Takes new connections, as many at a time as wait.

uvloop's own server takes one in each turn of the loop (measured with 0.23; libuv pull request
3696).  In a flood a turn lasts a tenth of a second, and who comes new waits in the kernel's queue
for as many turns as there are others before it, while whoever got in is served at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from typing import Final

import structlog

_BACKLOG: Final = 1_024
_AT_ONCE: Final = 256  # taken in one turn, so that those who are in have theirs
_PAUSE_S: Final = 1.0
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

_Name = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]  # of getaddrinfo

log = structlog.get_logger("gateway.http")


class Listener:
    """On all addresses of a host until it is closed; `make` makes the protocol of a connection."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, make: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self._loop = loop
        self._make = make
        self._sockets: list[socket.socket] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._arriving: dict[asyncio.Task[None], None] = {}  # taken, without a transport yet

    async def open(self, host: str, port: int, *, reuse_port: bool) -> tuple[str, int]:
        """The first address and its port (0 picks one).  Raises OSError; then nothing listens."""
        found = await self._loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        addresses = dict.fromkeys((family, name) for family, _, _, _, name in found)
        self._sockets = _listening_at(addresses, reuse_port=reuse_port)
        for listening in self._sockets:
            self._loop.add_reader(listening, self._take, listening)
        name = self._sockets[0].getsockname()
        return str(name[0]), int(name[1])

    def close(self) -> None:
        """Take no more; idempotent."""
        for listening in self._sockets:
            pause = self._pauses.pop(listening, None)
            if pause is None:
                self._loop.remove_reader(listening)
            else:
                pause.cancel()
            listening.close()
        self._sockets.clear()

    async def arrived(self) -> None:
        """Until every connection that was taken has its transport, or has none to get."""
        await asyncio.gather(*self._arriving)

    def _take(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                taken, _ = listening.accept()
            except ConnectionAbortedError:
                continue
            except BlockingIOError:
                return
            except OSError as error:  # no descriptors or no memory: some may become free
                log.warning("no connection can be taken", error=str(error))
                self._loop.remove_reader(listening)
                self._pauses[listening] = self._loop.call_later(_PAUSE_S, self._go_on, listening)
                return
            task = self._loop.create_task(self._connect(taken))
            self._arriving[task] = None
            task.add_done_callback(self._arriving.pop)

    def _go_on(self, listening: socket.socket) -> None:
        del self._pauses[listening]
        self._loop.add_reader(listening, self._take, listening)

    async def _connect(self, taken: socket.socket) -> None:
        taken.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._make, taken)
        except OSError as error:
            taken.close()
            log.debug("a connection ended before it began", error=str(error))


def _listening_at(
    addresses: Iterable[tuple[int, _Name]], *, reuse_port: bool
) -> list[socket.socket]:
    """Sockets at all of them that this machine has, at least one; raises OSError."""
    made: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, name in addresses:
            try:
                made.append(
                    socket.create_server(
                        name, family=family, backlog=_BACKLOG, reuse_port=reuse_port
                    )
                )
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                absent = error
        if not made and absent is not None:
            raise absent
    except OSError:
        for one in made:
            one.close()
        raise
    for one in made:
        one.setblocking(False)
    return made
