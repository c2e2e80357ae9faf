"""Requests that come when they come: at a fixed rate, whether or not earlier ones were answered.

A closed loop would send less while the cluster is slow, and so hide it.  Times count from the
moment at which a request was due.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from dataclasses import dataclass
from typing import Final

import aiohttp

BLOB_BYTES: Final = 1024
_TIMEOUT_S: Final = 15.0
_KINDS: Final = ("get",) * 8 + ("put",) * 6 + ("miss",) * 4 + ("delete",) * 2
_EXPECTED: Final = {"get": {200}, "put": {200, 201}, "miss": {404}, "delete": {204}}
_UNDER_WAY_MAX: Final = 4_000


@dataclass(frozen=True, slots=True)
class Done:
    """One request: when it was due, how long until its answer, and whether that was the right one.

    status: of the answer; 0 when none came.
    """

    kind: str
    due_s: float
    elapsed_s: float
    status: int
    good: bool


class Load:
    """Puts, gets of what is there, gets of what never was, deletes; `done` in order of ending."""

    def __init__(self, port: int, rate: float) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/blobs"
        self._rate = rate
        self._random = random.Random(1)
        self._there: list[str] = []
        self._to_delete: deque[str] = deque()
        self._session: aiohttp.ClientSession
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._number = 0
        self.done: list[Done] = []
        self.refused = 0

    async def prepare(self, blobs: int) -> None:
        """Open connections and store what will be read."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        for _ in range(blobs):
            digest, body = self._fresh()
            async with self._session.put(f"{self._url}/{digest}", data=body) as response:
                response.raise_for_status()
            self._there.append(digest)

    async def run(self, seconds: float) -> None:
        """Send requests for so long."""
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        for index in range(int(seconds * self._rate)):
            due_s = begin_s + index / self._rate
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            if len(self._tasks) >= _UNDER_WAY_MAX:
                self.refused += 1
                continue
            task = loop.create_task(self._one(self._random.choice(_KINDS), due_s))
            self._tasks[task] = None
            task.add_done_callback(self._tasks.pop)

    async def settled(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def end(self) -> None:
        """Wait for what is under way, and close."""
        await self.settled()
        await self._session.close()

    def _fresh(self) -> tuple[str, bytes]:
        body = self._random.randbytes(BLOB_BYTES)
        return f"sha256:{hashlib.sha256(body).hexdigest()}", body

    async def _one(self, kind: str, due_s: float) -> None:
        status, right = 0, True
        digest, body = self._fresh()
        if kind == "delete" and not self._to_delete:
            kind = "put"
        method = {"put": "PUT", "delete": "DELETE"}.get(kind, "GET")
        if kind == "get":
            digest = self._random.choice(self._there)
        elif kind == "delete":
            digest = self._to_delete.popleft()
        try:
            url, data = f"{self._url}/{digest}", body if kind == "put" else None
            async with self._session.request(method, url, data=data) as response:
                received = await response.read()
                status = response.status
            if kind == "get" and status == 200:
                right = f"sha256:{hashlib.sha256(received).hexdigest()}" == digest
            if kind == "put" and status in _EXPECTED["put"]:
                self._to_delete.append(digest)
        except (aiohttp.ClientError, TimeoutError, OSError):
            status = 0
        elapsed_s = asyncio.get_running_loop().time() - due_s
        good = right and status in _EXPECTED[kind]
        self.done.append(Done(kind, due_s, elapsed_s, status, good))
