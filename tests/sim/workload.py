"""Clients: puts, gets, deletes and listings of few digests, so that they race.

Everything that a client is told is judged at once (tests/sim/register.py).  A client that was not
answered asks again, sometimes; some requests are sent twice at the same time by way of different
gateways.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from random import Random

from ring.digest import Algorithm, Buffer, Digest
from ring.errors import HoldfastError, NotFound
from ring.limits import CHUNK_BYTES
from ring.seams import BlobStore
from tests.sim.gateways import Gateways
from tests.sim.history import History, Kind, Operation, Verdict, current
from tests.sim.message_words import short
from tests.sim.options import Options, Weather
from tests.sim.register import faults_of
from tests.sim.trace import Trace

PATIENCE_S = 200.0
"""Every request to a living gateway is answered within this."""
_PAGE_LIMITS = (1, 2, 1000)
_RETRIES = 3


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of the pool."""

    digest: Digest
    data: bytes
    records: tuple[Digest, ...]  # what stores file for it: itself, and its chunks


def pool(rng: Random, options: Options) -> list[Blob]:
    """The blobs that clients fight over: empty, small, in every algorithm, perhaps a large one.

    Sometimes they are neighbours: all in one directory.
    """
    blobs: list[Blob] = []
    neighbours = rng.random() < 0.5
    for number in range(options.digests):
        sizes = [size for size in options.sizes if size > 1 or not number]
        size_bytes = rng.choice(sizes)
        blob = _drawn(rng, size_bytes, rng.choice(list(Algorithm)))
        while neighbours and blobs and blob.digest.key[:2] != blobs[0].digest.key[:2]:
            blob = _drawn(rng, size_bytes + 3, blobs[0].digest.algorithm)
        blobs.append(blob)
    if options.large:
        first = rng.randbytes(64) * (CHUNK_BYTES // 64)
        blobs.append(_blob(first + rng.choice((b"t", b"tail"))))
        if options.weather is Weather.STORM:
            # Deleting it may cost an upload that is under way its chunk.
            blobs.append(_blob(first[: rng.choice((None, None, -1))]))
    return blobs


def record_digests(blobs: list[Blob]) -> list[Digest]:
    """Of all records that these blobs need."""
    return list(dict.fromkeys(digest for blob in blobs for digest in blob.records))


def _drawn(rng: Random, size_bytes: int, algorithm: Algorithm) -> Blob:
    data = (rng.randbytes(64) * (size_bytes // 64 + 1))[:size_bytes]
    return _blob(data, algorithm)


def _blob(data: bytes, algorithm: Algorithm = Algorithm.BLAKE3) -> Blob:
    starts = range(0, len(data), CHUNK_BYTES) if len(data) > CHUNK_BYTES else ()
    chunks = [Digest.of(data[start : start + CHUNK_BYTES]) for start in starts]
    digest = Digest.of(data, algorithm)
    return Blob(digest, data, (digest, *chunks))


class Judge:
    """Collects what must not happen."""

    def __init__(self, history: History, trace: Trace) -> None:
        self.history = history
        self.violations: list[str] = []
        self.errors: list[str] = []
        self._trace = trace

    def accuse(self, words: str) -> None:
        """A promise was broken."""
        self._trace.event("VIOLATION", words)
        self.violations.append(words)

    def told(self, operation: Operation, digest: Digest, verdict: Verdict) -> None:
        """A client learnt `verdict` about `digest`."""
        for words in faults_of(self.history, operation, digest, verdict):
            self.accuse(f"operation {operation.number} on {short(digest)}: {words}")


class Clients:
    """The operations of one client or of many; all of them share history and pool."""

    def __init__(
        self, *, rng: Random, judge: Judge, gateways: Gateways, blobs: list[Blob], trace: Trace
    ) -> None:
        self._rng = rng
        self._judge = judge
        self._gateways = gateways
        self._blobs = blobs
        self._sizes = {blob.digest: len(blob.data) for blob in blobs}
        self._trace = trace

    async def run(self, operations: int, think_s: float, until_s: float) -> None:
        """One client: one thing after another, until virtual second `until_s`."""
        loop = asyncio.get_running_loop()
        for _ in range(operations):
            if loop.time() > until_s:
                return
            await asyncio.sleep(self._rng.expovariate(1.0) * think_s)
            blob = self._rng.choice(self._blobs)
            action = self._rng.choices(
                (self.put, self.delete, self.get, self.head, self.list), (35, 20, 30, 8, 7)
            )[0]
            if self._rng.random() < 0.15:
                async with asyncio.TaskGroup() as group:
                    group.create_task(action(blob, self.a_gateway()))
                    group.create_task(action(blob, self.a_gateway()))
            else:
                await self._until_answered(action, blob)

    async def _until_answered(
        self, action: Callable[[Blob, str], Awaitable[bool]], blob: Blob
    ) -> None:
        for _ in range(_RETRIES):
            if await action(blob, self.a_gateway()) or self._rng.random() < 0.3:
                return
            await asyncio.sleep(self._rng.expovariate(1.0))

    def a_gateway(self) -> str:
        """Any of them."""
        return self._rng.choice(self._gateways.places)

    # --- operations: each returns whether it was answered -----------------------------------------

    async def put(self, blob: Blob, place: str) -> bool:
        """Whole, or as a stream that may not know its digest."""
        way = self._rng.randrange(3)

        async def work(blobs: BlobStore, operation: Operation) -> Verdict:
            if way == 0:
                stored = await blobs.put(blob.digest, blob.data)
            else:
                promised = blob.digest if way == 1 else None
                algorithm = blob.digest.algorithm
                pieces = _pieces(blob.data)
                stored = await blobs.put_stream(pieces, digest=promised, algorithm=algorithm)
            if (stored.digest, stored.size_bytes) != (blob.digest, len(blob.data)):
                self._judge.accuse(f"operation {operation.number}: stored as {stored}")
            return Verdict.DONE

        return await self._perform(Kind.PUT, blob.digest, place, work)

    async def delete(self, blob: Blob, place: str) -> bool:
        """Forget it."""

        async def work(blobs: BlobStore, operation: Operation) -> Verdict:
            await blobs.delete(blob.digest)
            return Verdict.DONE

        return await self._perform(Kind.DELETE, blob.digest, place, work)

    async def get(self, blob: Blob, place: str) -> bool:
        """The bytes, or a range of them."""
        start, stop = 0, len(blob.data)
        if self._rng.random() < 0.2 and stop > 1:
            start = self._rng.randrange(stop)
            stop = self._rng.randrange(start, stop) + 1
        return await self._get(blob, place, start, stop)

    async def get_whole(self, blob: Blob, place: str) -> bool:
        """The bytes, all of them."""
        return await self._get(blob, place, 0, len(blob.data))

    async def _get(self, blob: Blob, place: str, start: int, stop: int) -> bool:

        async def work(blobs: BlobStore, operation: Operation) -> Verdict:
            reader = await blobs.open(blob.digest, start, stop)
            operation.confirmed = reader.stat.confirmed
            operation.generation = reader.stat.generation
            try:
                data = b"".join([bytes(piece) async for piece in reader])
            finally:
                await reader.close()
            if data != blob.data[start:stop] or reader.stat.size_bytes != len(blob.data):
                self._judge.accuse(f"operation {operation.number} returned wrong bytes")
            return Verdict.PRESENT

        return await self._perform(Kind.GET, blob.digest, place, work)

    async def head(self, blob: Blob, place: str) -> bool:
        """Size and generation."""

        async def work(blobs: BlobStore, operation: Operation) -> Verdict:
            stat = await blobs.stat(blob.digest)
            operation.confirmed, operation.generation = stat.confirmed, stat.generation
            if stat.size_bytes != len(blob.data):
                self._judge.accuse(f"operation {operation.number} says {stat.size_bytes} bytes")
            return Verdict.PRESENT

        return await self._perform(Kind.HEAD, blob.digest, place, work)

    async def list(self, blob: Blob, place: str) -> bool:
        """Everything; what is there and what is not is judged for every digest of the pool."""
        limit = self._rng.choice(_PAGE_LIMITS)

        async def work(blobs: BlobStore, operation: Operation) -> Verdict:
            listed: dict[Digest, int] = {}
            after: Digest | None = None
            while True:
                page, following = await blobs.list_page(after, limit)
                for digest, size_bytes in page:
                    if listed and digest <= next(reversed(listed)):
                        self._judge.accuse(f"operation {operation.number} lists out of order")
                    listed[digest] = size_bytes
                if following is None:
                    break
                after = following
            self._judge_listing(operation, listed)
            return Verdict.DONE

        return await self._perform(Kind.LIST, None, place, work)

    def _judge_listing(self, operation: Operation, listed: dict[Digest, int]) -> None:
        for digest, size_bytes in listed.items():
            if self._sizes.get(digest) != size_bytes:
                words = f"{short(digest)} with {size_bytes} bytes"
                self._judge.accuse(f"operation {operation.number} lists {words}")
        for blob in self._blobs:
            verdict = Verdict.PRESENT if blob.digest in listed else Verdict.ABSENT
            self._judge.told(operation, blob.digest, verdict)

    # --- how an operation runs --------------------------------------------------------------------

    async def _perform(
        self,
        kind: Kind,
        digest: Digest | None,
        place: str,
        work: Callable[[BlobStore, Operation], Awaitable[Verdict]],
    ) -> bool:
        gateway = self._gateways.at(place)
        operation = self._judge.history.begin(kind, digest)
        name = "" if digest is None else short(digest)
        self._trace.event("begin", operation.number, kind.value, name, place)
        token = current.set(operation)
        error = ""
        try:
            async with asyncio.timeout(PATIENCE_S) as patience:
                gateway.waiting[patience] = None
                try:
                    verdict = await work(gateway.blobs, operation)
                finally:
                    del gateway.waiting[patience]
        except NotFound:
            verdict = Verdict.ABSENT
        except HoldfastError as refusal:
            verdict, error = Verdict.UNKNOWN, refusal.code
            if not refusal.retryable:
                self._judge.accuse(f"operation {operation.number} failed with {refusal!r}")
        except TimeoutError:
            verdict, error = Verdict.UNKNOWN, "no answer"
            if gateway.alive:
                self._judge.accuse(f"operation {operation.number} never ended")
        finally:
            current.reset(token)
        self._end(operation, verdict, error)
        return verdict is not Verdict.UNKNOWN

    def _end(self, operation: Operation, verdict: Verdict, error: str) -> None:
        number, kind = operation.number, operation.kind
        self._trace.event("end", number, kind.value, verdict.value, operation.generation, error)
        self._judge.history.end(operation, verdict)
        if error:
            self._judge.errors.append(f"operation {number} ({kind.value}): {error}")
        if verdict is Verdict.ABSENT and kind not in {Kind.GET, Kind.HEAD}:
            self._judge.accuse(f"operation {number}: {kind.value} was told that it is absent")
        if operation.digest is not None:
            self._judge.told(operation, operation.digest, verdict)


async def _pieces(data: bytes) -> AsyncIterator[Buffer]:
    step = max(1, len(data) // 3)
    for start in range(0, len(data), step):
        yield data[start : start + step]
