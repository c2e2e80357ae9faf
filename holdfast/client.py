"""The Python client: blobs by digest over HTTP.

    async with Client("http://127.0.0.1:7070") as client:
        digest = await client.put(b"hello")
        data = await client.get(digest)

Fulfils `ring.seams.BlobStore`.  Digests may be given as text wherever one is asked for.  Errors are
those of ring/errors.py: the class that the gateway raised, or Unreachable, DeadlineExceeded and
PeerProtocol for what happened on the way.  What may help is tried again (holdfast/retry.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, Self, overload
from urllib.parse import urlsplit

from holdfast.download import EmptyReader, blob_path, open_blob, read_stat, refuse_span
from holdfast.gateway_link import GatewayLink
from holdfast.retry import RetryPolicy
from holdfast.tree import read_source
from holdfast.upload import (
    BytesSource,
    FileSource,
    Sending,
    Source,
    StreamSource,
    file_bytes,
)
from node.host import HostRandomness
from ring.announced import AnnouncedPieces
from ring.digest import Algorithm, Buffer, Digest
from ring.errors import BadRequest, NotFound, PeerProtocol, RangeNotSatisfiable
from ring.limits import CHUNK_BYTES, LIST_ENTRIES_MAX, MIB
from ring.seams import BlobReader, BlobStat, Randomness, Stored

DEFAULT_URL: Final = "http://127.0.0.1:7070"
_CREATED: Final = 201
# A short stream is collected before it is sent, so that it can be sent again.
_COLLECTED_BYTES_MAX: Final = 1 * MIB


class Client:
    """A connection pool to a gateway; `async with` opens and closes it.

    url: http or https, host and port, and nothing behind: below a path that some other service
    owns, its 404 could be taken for an absence.  token: sent as a bearer token.  Raises BadRequest
    for a URL or token that cannot be sent.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        *,
        retries: RetryPolicy | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        self.url = _checked_url(url)
        if token is not None and not (token.isascii() and token.isprintable() and token):
            raise BadRequest("a token consists of printable ASCII characters")
        self._token = token
        self._retries = RetryPolicy() if retries is None else retries
        self._randomness = HostRandomness() if randomness is None else randomness
        self._opened: GatewayLink | None = None

    async def __aenter__(self) -> Self:
        assert self._opened is None, "a client is opened once at a time"
        self._opened = GatewayLink(self.url, self._token, self._retries, self._randomness)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        link, self._opened = self._link, None
        await link.close()

    @overload
    async def put(self, digest: Digest | str, data: Buffer) -> Stored: ...
    @overload
    async def put(self, digest: Buffer) -> Digest: ...

    async def put(
        self, digest: Digest | str | Buffer, data: Buffer | None = None
    ) -> Stored | Digest:
        """Store bytes: `put(data)` answers their BLAKE3 digest, `put(digest, data)` a Stored.

        Durable on a quorum of nodes when it returns.  Raises DigestMismatch when the bytes do not
        hash to the digest; nothing is stored then.
        """
        if data is None:
            if not isinstance(digest, Buffer):
                raise BadRequest("put needs bytes: put(data) or put(digest, data)")
            return (await self._put(BytesSource(digest), Digest.of(digest))).digest
        if isinstance(digest, Buffer):
            raise BadRequest("put takes the digest first: put(digest, data)")
        return await self._put(BytesSource(data), _digest(digest))

    async def add(self, data: Buffer, algorithm: Algorithm = Algorithm.BLAKE3) -> Stored:
        """Store bytes under the digest that they have."""
        return await self._put(BytesSource(data), Digest.of(data, algorithm))

    async def put_stream(
        self,
        pieces: AsyncIterator[Buffer],
        *,
        digest: Digest | str | None = None,
        algorithm: Algorithm = Algorithm.BLAKE3,
        size_bytes: int | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Stored:
        """Store what the pieces add up to.

        A stream longer than 1 MiB cannot be sent twice, so an error in the middle is final.
        size_bytes: how long it will be, where that is known; raises BadRequest when it is not so.
        on_bytes: told how many bytes of the current attempt are on their way.
        """
        named = None if digest is None else _digest(digest)
        start = bytearray()
        if size_bytes is not None:
            pieces = AnnouncedPieces(pieces, size_bytes)
        async for piece in pieces:
            start += piece
            if len(start) > _COLLECTED_BYTES_MAX:
                source = StreamSource(_chained(bytes(start), pieces), size_bytes)
                return await self._put(source, named, algorithm, on_bytes)
        if named is None:
            named = Digest.of(start, algorithm)
        return await self._put(BytesSource(start), named, algorithm, on_bytes)

    async def put_file(
        self,
        path: str,
        *,
        digest: Digest | str | None = None,
        algorithm: Algorithm = Algorithm.BLAKE3,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Stored:
        """Store a regular file's content; raises LocalFault when it cannot be read.

        Read once for each attempt, so a file that changes meanwhile is stored as it was read, or
        not at all when `digest` says what it should be.
        """
        named = None if digest is None else _digest(digest)
        start = bytearray()
        async for piece in read_source(path):
            start += piece
            if len(start) > CHUNK_BYTES:
                source = FileSource(path, file_bytes(path))
                return await self._put(source, named, algorithm, on_bytes)
        if named is None:
            named = Digest.of(start, algorithm)
        return await self._put(BytesSource(start), named, algorithm, on_bytes)

    async def get(self, digest: Digest | str) -> bytes:
        """The whole blob, verified; raises NotFound, or Corrupt when only wrong bytes came."""
        asked = _digest(digest)

        async def once() -> bytes:
            reader = await open_blob(self._link, asked)
            try:
                return b"".join([piece async for piece in reader])
            finally:
                await reader.close()

        return await self._link.retry(once)

    async def open(
        self, digest: Digest | str, start: int = 0, stop: int | None = None
    ) -> BlobReader:
        """Read bytes [start, stop) piece by piece (holdfast/download.py says what is verified).

        Raises NotFound, or RangeNotSatisfiable when there is no byte at `start` (but 0 is always
        a place to begin).
        """
        asked = _digest(digest)
        refuse_span(start, stop)
        # HTTP has no way to ask for nothing, and of an empty blob no range is satisfiable.
        if stop is None or stop > start:
            try:
                return await open_blob(self._link, asked, start, stop)
            except RangeNotSatisfiable:
                if start:
                    raise
        stat = await self.stat(asked)
        if start and start >= stat.size_bytes:
            raise RangeNotSatisfiable(
                f"{asked} has {stat.size_bytes} bytes", size_bytes=stat.size_bytes
            )
        return EmptyReader(stat)

    async def stat(self, digest: Digest | str) -> BlobStat:
        """Size and generation; raises NotFound."""
        asked = _digest(digest)
        try:
            answered = await self._link.ask("HEAD", blob_path(asked))
        except NotFound as error:
            raise NotFound(f"blob not found: {asked}") from error  # no body, hence no words
        length = answered.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise PeerProtocol(f"{asked}: the answer has no Content-Length")
        return read_stat(answered.headers, int(length))

    async def contains(self, digest: Digest | str) -> bool:
        """Whether a get would find it; doubt raises Unavailable."""
        try:
            await self.stat(digest)
        except NotFound:
            return False
        return True

    async def delete(self, digest: Digest | str, *, skip_trash: bool = False) -> None:
        """Forget a blob; absent is fine.  It can be had back for a while, unless `skip_trash`."""
        params = {"now": "1"} if skip_trash else None
        await self._link.ask("DELETE", blob_path(_digest(digest)), params=params)

    async def undelete(self, digest: Digest | str) -> Stored:
        """Have a deleted blob back; `created` is false for one that is there.

        Raises NotFound when nothing of it is left.
        """
        asked = _digest(digest)
        answered = await self._link.ask("POST", f"/v1/admin/undelete/{asked}")
        size_bytes = answered.json().get("size")
        if not isinstance(size_bytes, int):
            raise PeerProtocol(f"{asked}: the answer has no size")
        return Stored(asked, size_bytes, answered.status == _CREATED)

    async def list_page(
        self, after: Digest | str | None = None, limit: int = LIST_ENTRIES_MAX
    ) -> tuple[list[tuple[Digest, int]], Digest | None]:
        """At most `limit` pairs of digest and size in bytes, and where to go on (None: the end).

        In the order of the wire form.  A page may be empty although there are more.
        """
        params = {"limit": str(limit)}
        if after is not None:
            params["after"] = str(_digest(after))
        answered = await self._link.ask("GET", "/v1/blobs", params=params)
        return _read_page(answered.json())

    async def iterate(
        self, after: Digest | str | None = None
    ) -> AsyncIterator[tuple[Digest, int]]:
        """Every blob after `after`, page by page."""
        position = None if after is None else _digest(after)
        while True:
            page, position = await self.list_page(position)
            for entry in page:
                yield entry
            if position is None:
                return

    async def status(self) -> dict[str, object]:
        """How the cluster is (docs/PROTOCOL.md, GET /v1/status)."""
        return (await self._link.ask("GET", "/v1/status")).json()

    async def where(self, digest: Digest | str) -> dict[str, object]:
        """Which nodes should have copies of a blob, and which have (GET /v1/admin/where)."""
        path = f"/v1/admin/where/{_digest(digest)}"
        return (await self._link.ask("GET", path)).json()

    async def garbage(self, *, begin: bool = False) -> dict[str, object]:
        """What of each node is on its way out, and why (docs/PROTOCOL.md, /v1/admin/gc).

        begin: nodes also look through everything at once, instead of when it is time.
        """
        return (await self._link.ask("POST" if begin else "GET", "/v1/admin/gc")).json()

    async def why(self, digest: Digest | str) -> dict[str, object]:
        """What is the matter with a blob or chunk, in words (GET /v1/admin/why)."""
        path = f"/v1/admin/why/{_digest(digest)}"
        return (await self._link.ask("GET", path)).json()

    async def care(self) -> dict[str, object]:
        """How far repair and scrub are (GET /v1/admin/repair)."""
        return (await self._link.ask("GET", "/v1/admin/repair")).json()

    async def begin_repair(self) -> dict[str, object]:
        """Have every node compare at once; answers as `care`, with tickets."""
        return (await self._link.ask("POST", "/v1/admin/repair")).json()

    async def begin_scrub(self) -> dict[str, object]:
        """Have every node read all its copies again; answers as `care`, with tickets."""
        return (await self._link.ask("POST", "/v1/admin/scrub")).json()

    @property
    def _link(self) -> GatewayLink:
        assert self._opened is not None, "use the client inside `async with`"
        return self._opened

    async def _put(
        self,
        source: Source,
        digest: Digest | None,
        algorithm: Algorithm = Algorithm.BLAKE3,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Stored:
        """PUT what has a name, POST what gets one, and compare it with what was sent."""

        async def once() -> Stored:
            if digest is not None:
                sending = Sending(source, digest.algorithm, on_bytes)
                answered = await self._link.upload("PUT", blob_path(digest), sending)
                return Stored(digest, sending.sent_bytes, answered.status == _CREATED)
            sending = Sending(source, algorithm, on_bytes)
            answered = await self._link.upload(
                "POST", "/v1/blobs", sending, params={"algo": algorithm.label}
            )
            answer = answered.json()
            if answer.get("digest") != str(sending.digest):
                stored = answer.get("digest")
                raise PeerProtocol(f"sent {sending.digest}, the gateway stored {stored}")
            created = answer.get("created", True) is not False
            return Stored(sending.digest, sending.sent_bytes, created)

        return await self._link.retry(once, repeatable=lambda: source.repeatable)


def _digest(value: Digest | str) -> Digest:
    return value if isinstance(value, Digest) else Digest.parse(value)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.path.strip("/") or parts.query or parts.fragment or not url.isascii():
        raise BadRequest(f"{url!r} is not the URL of a gateway, such as {DEFAULT_URL}")
    return f"{parts.scheme}://{parts.netloc}"


def _read_page(
    answer: dict[str, object],
) -> tuple[list[tuple[Digest, int]], Digest | None]:
    blobs, position = answer.get("blobs"), answer.get("next")
    if not isinstance(blobs, list) or not isinstance(position, str | None):
        raise PeerProtocol("the answer is no page of a list")
    entries = []
    for blob in blobs:
        match blob:
            case {"digest": str(text), "size": int(size_bytes)}:
                entries.append((Digest.parse(text), size_bytes))
            case _:
                raise PeerProtocol("an entry of the list has no digest and size")
    return entries, None if position is None else Digest.parse(position)


async def _chained(start: bytes, rest: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
    yield start
    async for piece in rest:
        yield piece
