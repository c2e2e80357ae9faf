"""An HTTP client that sends whatever bytes it is told to, and reads answers strictly."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 20.0
_BODYLESS = (204, 304)


@dataclass(frozen=True)
class Reply:
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """The members of problem+json, which every error must be."""
        assert self.headers["content-type"] == "application/problem+json", self
        members = json.loads(self.body)
        assert members["status"] == self.status
        assert {"type", "title", "code", "detail"} <= members.keys()
        return dict(members)

    @property
    def code(self) -> str:
        return str(self.problem()["code"])


class Wire:
    """A connection.  Every wait has a deadline, so a test that would hang fails."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int, *, receive_bytes: int | None = None) -> Wire:
        """`receive_bytes` makes the kernel's buffer for answers small."""
        connected = socket.socket()
        connected.setblocking(False)
        if receive_bytes is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().sock_connect(connected, (host, port))
                return cls(*await asyncio.open_connection(sock=connected, limit=1 << 20))
        except BaseException:
            connected.close()
            raise

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Send; `end` closes this direction and leaves the other open."""
        async with asyncio.timeout(PATIENCE_S):
            self._writer.write(data)
            await self._writer.drain()
            if end:
                self._writer.write_eof()

    async def reply(self, method: str = "GET") -> Reply:
        """The next answer, interim ones skipped; raises EOFError when none comes."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status, headers = await self._head()
                if status >= 200:
                    break
            body = b""
            if method != "HEAD" and status not in _BODYLESS:
                body = await self._reader.readexactly(int(headers["content-length"]))
            return Reply(status, headers, body)

    async def interim(self) -> int:
        """The status of an answer without headers, such as 100."""
        async with asyncio.timeout(PATIENCE_S):
            status, headers = await self._head()
            assert not headers
            return status

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of an answer whose body is for `receive`."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._head()

    async def receive(self, size_bytes: int) -> bytes:
        """So many bytes of body; raises IncompleteReadError or ConnectionError."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readexactly(size_bytes)

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as the end."""
        parts = []
        async with asyncio.timeout(PATIENCE_S):
            try:
                while part := await self._reader.read(1 << 16):
                    parts.append(part)
            except ConnectionError:
                pass
        return b"".join(parts)

    async def is_closed(self) -> bool:
        """Wait until the server closes; false when it says something first."""
        return not await self.rest()

    def abort(self) -> None:
        """Go away without a goodbye: the kernel sends a reset."""
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()

    async def _head(self) -> tuple[int, dict[str, str]]:
        try:
            raw = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise EOFError(f"the server closed after {error.partial!r}") from None
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, raw
            headers[name.lower()] = value
        return int(status), headers


def request(
    method: str, target: str, *lines: str, body: bytes = b"", host: str | None = "localhost"
) -> bytes:
    """A request with a Host and, when there is a body, its Content-Length."""
    head = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        head.append(f"Host: {host}")
    head.extend(lines)
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
