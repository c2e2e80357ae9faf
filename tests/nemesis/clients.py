"""Clients that put, get and delete blobs of their own, and tell the judge what they hear."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import aiohttp

from ring.limits import CHUNK_BYTES, KIB, MIB
from tests.nemesis.judge import NO_ANSWER, Heard, Judge, Op

_WISHES: Final = (Op.PUT, Op.PUT, Op.GET, Op.GET, Op.GET, Op.HEAD, Op.DELETE)
_TIMEOUT_S: Final = 20.0
_PAUSE_S: Final = 0.3
_REPEAT_S: Final = 0.3
_SHARED: Final = tuple(Random(number).randbytes(CHUNK_BYTES) for number in range(3))


@dataclass(frozen=True, slots=True)
class Blob:
    """The same for the same number in every run: most are small, some share chunks with others."""

    number: int

    def body(self) -> bytes:
        """A new copy; hundreds of them are large."""
        random = Random(self.number)
        kind = random.random()
        name = b"%d-" % self.number
        if kind < 0.6:
            return name + random.randbytes(random.choice((0, 1, 100, KIB, 4 * KIB)))
        if kind < 0.85:
            return name + random.randbytes(random.randrange(10 * KIB, 300 * KIB))
        if kind < 0.93:
            return name + random.randbytes(random.randrange(MIB, CHUNK_BYTES))
        chunks = random.choices(_SHARED, k=random.randrange(1, 4))
        return b"".join(chunks) + name + random.randbytes(random.randrange(1, MIB))

    def digest(self) -> str:
        """As in its path."""
        return f"sha256:{hashlib.sha256(self.body()).hexdigest()}"


class Clients:
    """`workers` tasks with `blobs_each` of their own; each does one thing at a time."""

    def __init__(
        self, judge: Judge, random: Random, ports: Sequence[int], *, workers: int, blobs_each: int
    ) -> None:
        self._judge = judge
        self._ports = ports
        self._begun_s = time.monotonic()
        self._randoms = [Random(random.getrandbits(64)) for _ in range(workers)]
        self._blobs = [
            [Blob(worker * blobs_each + number) for number in range(blobs_each)]
            for worker in range(workers)
        ]
        self._session: aiohttp.ClientSession
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    async def begin(self) -> None:
        """From now on they work."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=0),
        )
        self._tasks = [
            asyncio.create_task(self._work(random, blobs))
            for random, blobs in zip(self._randoms, self._blobs, strict=True)
        ]

    async def end(self) -> None:
        """Let each finish what it does; raises what stopped one."""
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def look_at_all(self) -> None:
        """Everything is well: what is there now, through every gateway?"""
        for blob in (blob for blobs in self._blobs for blob in blobs):
            for port in self._ports:
                heard, _ = await self._ask(port, Op.GET, blob.digest(), blob.body())
                self._judge.at_the_end(blob.digest(), heard)

    async def close(self) -> None:
        """Close connections; whoever still works is stopped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _work(self, random: Random, blobs: Sequence[Blob]) -> None:
        while not self._is_over:
            blob = random.choice(blobs)
            body, digest = blob.body(), blob.digest()
            op = self._judge.allowed(digest, random.choice(_WISHES))
            port = random.choice(self._ports)
            at_s = time.monotonic() - self._begun_s
            heard, error = await self._ask(port, op, digest, body)
            took_s = time.monotonic() - self._begun_s - at_s
            note = f"at {at_s:.2f} s for {took_s:.2f} s by {port}{error}"
            self._judge.heard(digest, op, heard, note)
            await asyncio.sleep(
                _REPEAT_S if heard.status == NO_ANSWER else random.uniform(0, _PAUSE_S)
            )

    async def _ask(self, port: int, op: Op, digest: str, body: bytes) -> tuple[Heard, str]:
        """The answer; and why there was none, if so."""
        url = f"http://127.0.0.1:{port}/v1/blobs/{digest}"
        data = body if op is Op.PUT else None
        try:
            async with self._session.request(op.value.upper(), url, data=data) as response:
                received = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Heard(NO_ANSWER), f" ({error!r})"
        is_right = op is not Op.GET or response.status != 200 or received == body
        is_confirmed = response.headers.get("Holdfast-Quorum") != "no"
        return Heard(response.status, is_right=is_right, is_confirmed=is_confirmed), ""
