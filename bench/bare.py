"""The ceiling: what aiohttp itself does on this machine when a handler does nothing.

A server as the gateway is one (uvloop, web.Application, a router), whose handlers keep nothing,
check nothing and ask nobody. Run as a program it prints its port and serves until it is told to
end; `running_bare` starts it as a child process.

Never a target to reach: a row quotes a share of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import uvloop
from aiohttp import web

from bench.ask import is_ready
from bench.child import Child
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.plan import KIB, MIB, SMALL_BYTES

_PIECE_BYTES: Final = 256 * KIB
_MEMORY_BYTES: Final = 32 * MIB  # pieces are taken from here in turn: more than a CPU cache holds
_START_S: Final = 20.0
_STOP_S: Final = 10.0
_POLL_S: Final = 0.02
_RECEIPT: Final = b'{"digest": "blake3:' + b"0" * 64 + b'", "size": 1024}'


class Handlers:
    """The routes; bodies are made once."""

    def __init__(self) -> None:
        self._small = os.urandom(SMALL_BYTES)
        memory = memoryview(os.urandom(MIB) * (_MEMORY_BYTES // MIB))
        self._pieces = [
            memory[offset : offset + _PIECE_BYTES]
            for offset in range(0, _MEMORY_BYTES, _PIECE_BYTES)
        ]

    async def ready(self, _request: web.Request) -> web.Response:
        return web.Response(text="ready")

    async def get_small(self, _request: web.Request) -> web.Response:
        """1 KiB, whatever the digest."""
        return web.Response(body=self._small)

    async def discard(self, request: web.Request) -> web.Response:
        """Read a body as it comes, keep nothing, answer like a store would."""
        async for _piece in request.content.iter_any():
            pass
        return web.Response(status=201, body=_RECEIPT, content_type="application/json")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """?bytes=N: N bytes in pieces of 256 KiB from memory."""
        left_bytes = int(request.query["bytes"])
        response = web.StreamResponse(headers={"Content-Length": str(left_bytes)})
        await response.prepare(request)
        index = 0
        while left_bytes:
            piece = self._pieces[index % len(self._pieces)][:left_bytes]
            await response.write(piece)
            left_bytes -= len(piece)
            index += 1
        await response.write_eof()
        return response


def application() -> web.Application:
    """The bare server with the gateway's paths, and /stream for the large download."""
    handlers = Handlers()
    app = web.Application(client_max_size=1 << 40)
    app.router.add_get("/readyz", handlers.ready)
    app.router.add_get("/stream", handlers.stream)
    app.router.add_get("/v1/blobs/{digest}", handlers.get_small)
    app.router.add_put("/v1/blobs/{digest}", handlers.discard)
    app.router.add_post("/v1/blobs", handlers.discard)
    return app


async def _serve() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    runner = web.AppRunner(application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await ended.wait()
    await runner.cleanup()


class Bare:
    """A running bare server."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port
        self.url = f"http://127.0.0.1:{port}"


@contextmanager
def running_bare(folder: Path, deadline: Deadline) -> Iterator[Bare]:
    """A bare server that is ready, stopped at the end; its log lies in `folder` for so long."""
    log = Path(mkdtemp(prefix="bare-", dir=folder)) / "log"
    child = Child([sys.executable, "-m", "bench.bare"], log)
    try:
        patience = Deadline(deadline.share_s(_START_S, "starting the bare server"))
        port = 0
        while not (port and is_ready(port)):
            if child.exited or patience.remaining_s() == 0:
                raise RowFailed(f"the bare server did not start. It said:\n{child.last_words()}")
            time.sleep(_POLL_S)
            words = log.read_text()
            port = int(words) if words.endswith("\n") and words.strip().isdigit() else 0
        yield Bare(child.pid, port)
    finally:
        child.stop(_STOP_S)


if __name__ == "__main__":
    uvloop.run(_serve())
