"""A gateway that does what a test tells it to, byte by byte, on a real socket.

Each request takes the next handler of the script; a request too many is answered 500.  Whoever
speaks HTTP by hand can break it exactly where a real gateway would break by accident.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def answer(
    status: int, body: bytes = b"", cut: int | None = None, **headers: str
) -> Handler:
    """Answer with a head and a body; `cut` sends so many bytes of the body and hangs up."""

    async def handler(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        fields = {"Content-Length": str(len(body))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = f"HTTP/1.1 {status} Status\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(head.encode() + b"\r\n" + body[:cut])
        await writer.drain()
        if cut is not None:
            writer.close()

    return handler


def problem(status: int, code: str, detail: str = "words", **more: str) -> Handler:
    """Answer with problem+json."""
    body = json.dumps({"code": code, "detail": detail, "status": status}).encode()
    return answer(status, body, None, Content_Type="application/problem+json", **more)


def hang_up(_asked: Asked, writer: asyncio.StreamWriter) -> Awaitable[None]:
    """Close the connection without a word."""
    writer.close()
    return writer.wait_closed()


class ScriptedGateway:
    """`asked` holds every request so far."""

    def __init__(self, url: str, script: tuple[Handler, ...]) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.script = list(script)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while asked := await _read(reader):
                self.asked.append(asked)
                handler = self.script.pop(0) if self.script else answer(500)
                await handler(asked, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted_gateway(*script: Handler) -> AsyncIterator[ScriptedGateway]:
    """Listen on a free port of the loopback."""
    gateway = ScriptedGateway("", script)
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gateway.url = f"http://127.0.0.1:{port}"
    try:
        yield gateway
    finally:
        server.close()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode().split()
    headers: dict[str, str] = {}
    while (field := (await reader.readline()).strip()) != b"":
        name, _, value = field.decode().partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body)
