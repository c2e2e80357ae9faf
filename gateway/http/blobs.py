"""The routes of blobs: put, post, get, head, delete, list.

Rules:
1.  A 2xx of a write is the store's word that the bytes are durable; the door adds nothing to it.
2.  Existence is the store's to say: a condition that holds (If-None-Match) is answered 304 only
    after the store said that the blob is there.
3.  The first piece is read before the head is written, so an error up to then is a clean answer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

from gateway.http import conditional
from gateway.http.admission import Admission
from gateway.http.answer import JSON_FIELDS, Answer, Stream
from gateway.http.ranges import Span, parse_range
from gateway.http.request import Request
from ring.digest import Algorithm, Buffer, Digest
from ring.errors import (
    BadRequest,
    NotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    Unavailable,
)
from ring.limits import BLOB_BYTES_MAX, KIB, LIST_ENTRIES_MAX
from ring.seams import BlobReader, BlobStat, BlobStore, Stored

_FIELDS: Final = (
    b"Content-Type: application/octet-stream\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Content-Security-Policy: default-src 'none'; sandbox\r\n"
    b"Cache-Control: public, max-age=31536000, immutable\r\n"
    b"Accept-Ranges: bytes\r\n"
)
_NOT_MODIFIED_FIELDS: Final = b"Cache-Control: public, max-age=31536000, immutable\r\n"
_UNCONFIRMED: Final = b"Holdfast-Quorum: no\r\n"

# Below this a body is joined to its head and the source is done with it; above it is streamed.
_JOINED_BYTES_MAX: Final = 64 * KIB
_LIMIT_DIGITS_MAX: Final = 18


class BlobHandlers:
    """Handlers over one store."""

    def __init__(self, store: BlobStore, admission: Admission) -> None:
        self._store = store
        self._admission = admission

    async def get(self, request: Request) -> Answer | Stream:
        """200, 206, 304, 404, 412, 416, 503."""
        digest, headers = request.blob, request.headers
        if not ("Range" in headers or "If-None-Match" in headers or "If-Match" in headers):
            return await self._read(digest, 0, None)
        tag = str(digest)
        if "If-None-Match" in headers or "If-Match" in headers:
            stat = await self._existing(request, tag)
            if conditional.holds_none_match(headers, tag):
                return _not_modified(stat, tag)
        ranges = headers.getall("Range", ())
        span = parse_range(ranges[0]) if len(ranges) == 1 else None
        if span is None or not conditional.allows_range(headers, tag):
            return await self._read(digest, 0, None)
        return await self._read_span(digest, span)

    async def head(self, request: Request) -> Answer:
        """As GET without the body; ranges do not apply (RFC 9110 14.2)."""
        tag = str(request.blob)
        stat = await self._existing(request, tag)
        if conditional.holds_none_match(request.headers, tag):
            return _not_modified(stat, tag)
        return Answer(200, _fields(stat, tag), size_bytes=stat.size_bytes)

    async def put(self, request: Request) -> Answer:
        """201 created, 200 there already; 400, 412, 413, 422, 503, 507."""
        digest, body = request.blob, request.body
        body.check_size()
        exclusive = await self._check_write(request)
        reserved = self._admission.reserve(body.size_bytes)
        try:
            if body.is_small:
                stored = await self._store.put(digest, await body.whole())
            else:
                stored = await self._store.put_stream(body, digest=digest)
        finally:
            self._admission.free(reserved)
        if exclusive and not stored.created:
            raise PreconditionFailed(f"{digest} is there already")
        return _stored(201 if stored.created else 200, stored, b"")

    async def post(self, request: Request) -> Answer:
        """201 with the computed digest, also when the blob was there; 400, 413, 503, 507."""
        algorithm = Algorithm.named(request.parameters.get("algo", Algorithm.BLAKE3.label))
        body = request.body
        body.check_size()
        reserved = self._admission.reserve(body.size_bytes)
        try:
            if body.is_small:
                stored = await self._store.add(await body.whole(), algorithm)
            else:
                stored = await self._store.put_stream(
                    body, algorithm=algorithm, size_bytes=body.size_bytes
                )
        finally:
            self._admission.free(reserved)
        return _stored(201, stored, f"Location: /v1/blobs/{stored.digest}\r\n".encode("ascii"))

    async def delete(self, request: Request) -> Answer:
        """204, also when absent; 400, 412, 503.  `now=1` skips the trash."""
        now = request.parameters.get("now", "0")
        if now not in {"0", "1"}:
            raise BadRequest(f"now must be 0 or 1, not {now[:80]!r}")
        await self._check_write(request)
        await self._store.delete(request.blob, skip_trash=now == "1")
        return Answer(204, b"")

    async def undelete(self, request: Request) -> Answer:
        """201 when it was deleted and is back, 200 when it was there; 404, 503."""
        stored = await self._store.undelete(request.blob)
        return _stored(201 if stored.created else 200, stored, b"")

    async def page(self, request: Request) -> Answer:
        """A page of the list, in wire order."""
        after_text = request.parameters.get("after")
        after = None if after_text is None else Digest.parse(after_text)
        limit = _limit(request.parameters.get("limit"))
        blobs, following = await self._store.list_page(after, limit)
        value = {
            "blobs": [{"digest": str(digest), "size": size} for digest, size in blobs],
            "next": None if following is None else str(following),
        }
        return Answer(200, JSON_FIELDS, json.dumps(value).encode("ascii"))

    async def _existing(self, request: Request, tag: str) -> BlobStat:
        """What is there; raises NotFound, or PreconditionFailed for another If-Match."""
        stat = await self._store.stat(request.blob)
        if conditional.fails_match(request.headers, tag):
            raise PreconditionFailed(f"If-Match names something else than {tag}")
        return stat

    async def _check_write(self, request: Request) -> bool:
        """Check the conditions of a write; true when it may only succeed where nothing is."""
        headers = request.headers
        if "If-Match" not in headers and "If-None-Match" not in headers:
            return False
        tag = str(request.blob)
        try:
            await self._store.stat(request.blob)
        except NotFound:
            there = False
        else:
            there = True
        if conditional.fails_match(headers, tag if there else None):
            raise PreconditionFailed(f"{tag} is not what If-Match asks for")
        exclusive = conditional.holds_none_match(headers, tag)
        if exclusive and there:
            raise PreconditionFailed(f"{tag} is there already")
        return exclusive

    async def _read_span(self, digest: Digest, span: Span) -> Answer | Stream:
        if span.suffix is None:
            start = min(span.first, BLOB_BYTES_MAX)
            stop = None if span.last is None else min(span.last, BLOB_BYTES_MAX) + 1
            return await self._read(digest, start, stop, span)
        stat = await self._store.stat(digest)
        bounds = span.within(stat.size_bytes)
        if bounds is None:
            raise _unsatisfiable(stat.size_bytes)
        return await self._read(digest, *bounds, span)

    async def _read(
        self, digest: Digest, start: int, stop: int | None, span: Span | None = None
    ) -> Answer | Stream:
        """Open, read the first piece, answer with what it is the beginning of."""
        reader = await self._store.open(digest, start, stop)
        try:
            answer = await _begun(reader, str(digest), span)
        except BaseException:
            await reader.close()
            raise
        if isinstance(answer, Answer):
            await reader.close()
        return answer


async def _begun(reader: BlobReader, tag: str, span: Span | None) -> Answer | Stream:
    size_bytes = reader.stat.size_bytes
    status, fields = 200, _fields(reader.stat, tag)
    if span is not None:
        bounds = span.within(size_bytes)
        if bounds is None:
            raise _unsatisfiable(size_bytes)
        start, stop = bounds
        status = 206
        fields += b"Content-Range: bytes %d-%d/%d\r\n" % (start, stop - 1, size_bytes)
        size_bytes = stop - start
    pieces = aiter(reader)
    first = await _first(pieces)
    if not first and size_bytes:
        raise Unavailable(f"{tag} ended before its first byte")
    if size_bytes <= _JOINED_BYTES_MAX and len(first) == size_bytes:
        return Answer(status, fields, bytes(first))
    return Stream(status, fields, size_bytes, first, pieces, reader)


async def _first(pieces: AsyncIterator[Buffer]) -> Buffer:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        return b""


def _fields(stat: BlobStat, tag: str) -> bytes:
    fields = b'%bETag: "%b"\r\nHoldfast-Generation: %d\r\n' % (
        _FIELDS,
        tag.encode("ascii"),
        stat.generation,
    )
    return fields if stat.confirmed else fields + _UNCONFIRMED


def _not_modified(stat: BlobStat, tag: str) -> Answer:
    fields = b'%bETag: "%b"\r\n' % (_NOT_MODIFIED_FIELDS, tag.encode("ascii"))
    return Answer(304, fields if stat.confirmed else fields + _UNCONFIRMED)


def _stored(status: int, stored: Stored, location: bytes) -> Answer:
    # Written by hand, since every small put pays for it; a digest has nothing to escape.
    tag = str(stored.digest).encode("ascii")
    created = b"true" if stored.created else b"false"
    body = b'{"digest": "%b", "size": %d, "created": %b}' % (tag, stored.size_bytes, created)
    return Answer(status, b'%bETag: "%b"\r\n%b' % (JSON_FIELDS, tag, location), body)


def _unsatisfiable(size_bytes: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"no byte of the range is within the {size_bytes} bytes", size_bytes=size_bytes
    )


def _limit(text: str | None) -> int:
    """Entries per page: what was asked for, or fewer."""
    if text is None:
        return LIST_ENTRIES_MAX
    if not (text.isascii() and text.isdigit() and len(text) <= _LIMIT_DIGITS_MAX and int(text)):
        raise BadRequest(f"limit must be a whole number from 1 on, not {text[:80]!r}")
    return min(int(text), LIST_ENTRIES_MAX)
