"""Reading a blob, or a span of one, over HTTP: verified as far as a client can, resumed when cut.

Rules:
1.  A whole blob is hashed while it streams, and its last piece is held back until the digest
    matches: what comes out is complete only if it is right.
2.  A span cannot be hashed by the client; the gateway has verified every chunk that it touches, and
    the length is checked here.
3.  A connection that breaks in mid-body is taken up again where it broke, with a Range request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from holdfast.gateway_link import GatewayLink
from holdfast.retry import Attempts
from ring.digest import Buffer, Digest
from ring.errors import Corrupt, HoldfastError, PeerProtocol, RangeNotSatisfiable
from ring.seams import BlobStat

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_OK: Final = 200
_PARTIAL: Final = 206


def blob_path(digest: Digest) -> str:
    """Where a blob is under a gateway's URL."""
    return f"/v1/blobs/{digest}"


def read_stat(headers: Mapping[str, str], size_bytes: int) -> BlobStat:
    """What the headers of a GET or HEAD say about a blob; generation 0 when they do not say."""
    generation = headers.get("Holdfast-Generation", "")
    return BlobStat(
        size_bytes=size_bytes,
        generation=int(generation) if _NUMBER.fullmatch(generation) else 0,
        confirmed=headers.get("Holdfast-Quorum", "").strip().lower() != "no",
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, stop) of a blob of `size_bytes`."""

    start: int
    stop: int
    size_bytes: int

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.start == 0 and self.stop == self.size_bytes


async def open_blob(
    link: GatewayLink, digest: Digest, start: int = 0, stop: int | None = None
) -> HttpBlobReader:
    """Ask until the first byte is on its way; raises NotFound, RangeNotSatisfiable, ..."""
    attempts = link.attempts()
    while True:
        try:
            response, span = await _request(link, digest, start, stop)
            break
        except HoldfastError as error:
            await _wait(attempts, error)
    return HttpBlobReader(link, digest, response, span, attempts)


class HttpBlobReader:
    """A BlobReader over one gateway; iterate once, then `close`."""

    def __init__(
        self,
        link: GatewayLink,
        digest: Digest,
        response: aiohttp.ClientResponse,
        span: Span,
        attempts: Attempts,
    ) -> None:
        self.stat = read_stat(response.headers, span.size_bytes)
        self._link = link
        self._digest = digest
        self._response: aiohttp.ClientResponse | None = response
        self._span = span
        self._attempts = attempts

    async def __aiter__(self) -> AsyncIterator[Buffer]:
        """Pieces in order; raises Corrupt before a whole blob that is wrong would be complete."""
        hasher = self._digest.algorithm.hasher()
        held: bytes | None = None
        async for piece in self._pieces():
            if self._span.whole:
                hasher.update(piece)
            if held is not None:
                yield held
            held = piece
        if self._span.whole and hasher.digest() != self._digest.raw:
            got = Digest(self._digest.algorithm, hasher.digest())
            raise Corrupt(f"asked for {self._digest}, was sent bytes of {got}; they are discarded")
        if held is not None:
            yield held

    async def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Exactly the bytes of the span, over as many connections as it takes."""
        loop = asyncio.get_running_loop()
        at = self._span.start
        while at < self._span.stop:
            try:
                response = self._response or await self._reopen(at)
                self._response = response
                with self._link.translated():
                    async for piece in response.content.iter_any():
                        at += len(piece)
                        if at > self._span.stop:
                            raise PeerProtocol(f"{self._digest}: more bytes than announced")
                        self._attempts.progressed(loop.time())
                        yield piece
                if at < self._span.stop:
                    raise PeerProtocol(f"{self._digest}: fewer bytes than announced")
            except HoldfastError as error:
                await self.close()
                await _wait(self._attempts, error)
        if self._response is not None:
            self._response.release()
            self._response = None

    async def _reopen(self, at: int) -> aiohttp.ClientResponse:
        response, span = await _request(self._link, self._digest, at, self._span.stop)
        if (span.start, span.stop, span.size_bytes) != (at, self._span.stop, self._span.size_bytes):
            response.close()
            raise PeerProtocol(f"{self._digest}: asked for bytes from {at} on, was sent others")
        return response


async def _request(
    link: GatewayLink, digest: Digest, start: int, stop: int | None
) -> tuple[aiohttp.ClientResponse, Span]:
    headers = {}
    if start > 0 or stop is not None:
        headers["Range"] = f"bytes={start}-" + ("" if stop is None else str(stop - 1))
    response = await link.open("GET", blob_path(digest), headers=headers)
    try:
        return response, _answered_span(response, digest, start, stop)
    except HoldfastError:
        response.close()
        raise


def _answered_span(
    response: aiohttp.ClientResponse, digest: Digest, start: int, stop: int | None
) -> Span:
    """Which bytes the body holds; must be those that were asked for."""
    length = response.content_length
    if length is None:
        raise PeerProtocol(f"{digest}: the answer has no Content-Length")
    if response.status == _OK and start == 0 and (stop is None or stop >= length):
        return Span(0, length, length)
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != _PARTIAL or match is None:
        raise PeerProtocol(f"{digest}: asked for a range, got HTTP status {response.status}")
    first, last, size_bytes = (int(number) for number in match.groups())
    if (first, last + 1) != (start, size_bytes if stop is None else min(stop, size_bytes)):
        raise PeerProtocol(f"{digest}: asked for bytes from {start} on, was sent {match[0]}")
    if last + 1 - first != length:
        raise PeerProtocol(f"{digest}: {match[0]} does not have {length} bytes")
    return Span(first, last + 1, size_bytes)


async def _wait(attempts: Attempts, error: HoldfastError) -> None:
    """Wait before the next attempt, or raise `error` when there is to be none."""
    wait_s = attempts.wait_s(error, asyncio.get_running_loop().time())
    if wait_s is None:
        raise error
    await asyncio.sleep(wait_s)


class EmptyReader:
    """A BlobReader of no bytes."""

    def __init__(self, stat: BlobStat) -> None:
        self.stat = stat

    async def __aiter__(self) -> AsyncIterator[Buffer]:
        """Nothing."""
        nothing: tuple[Buffer, ...] = ()
        for piece in nothing:
            yield piece

    async def close(self) -> None:
        return None


def refuse_span(start: int, stop: int | None) -> None:
    """Raise RangeNotSatisfiable for numbers that can be no span of anything."""
    if start < 0 or (stop is not None and stop < start):
        raise RangeNotSatisfiable(f"no blob has bytes from {start} to {stop}")
