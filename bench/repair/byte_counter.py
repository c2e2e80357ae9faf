"""A relay on loopback that counts what passes: the bytes of the real wire, both ways."""

from __future__ import annotations

import asyncio
from typing import Final

_PIECE: Final = 256 * 1024


class ByteCounter:
    """Relays connections to a port.  sent, received: bytes since the last `take`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.sent = 0
        self.received = 0

    async def start(self) -> int:
        """The port to connect to."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def take(self) -> tuple[int, int]:
        """What was sent and received; counting begins anew."""
        counted = self.sent, self.received
        self.sent = self.received = 0
        return counted

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        loop = asyncio.get_running_loop()
        self._tasks += [
            loop.create_task(self._pump(reader, far_writer, is_sent=True)),
            loop.create_task(self._pump(far_reader, writer, is_sent=False)),
        ]

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_sent: bool
    ) -> None:
        try:
            while piece := await reader.read(_PIECE):
                if is_sent:
                    self.sent += len(piece)
                else:
                    self.received += len(piece)
                writer.write(piece)
                await writer.drain()
        finally:
            writer.close()
