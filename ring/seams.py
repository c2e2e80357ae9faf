"""The only ways out of the machines: network, disk, wall clock, randomness, and the two stores.

Each protocol has a production implementation and a simulated twin, and one conformance suite that
both pass.  Elapsed time needs no seam: it is the event loop's, and the simulator brings its own
loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from ring.admission import PutAnswer
from ring.digest import Algorithm, Buffer, Digest
from ring.life import NodeId
from ring.messages import Answer, CopyVerdict, Request
from ring.record import RecordEntry, RecordKey, RecordKind, RecordState

BLOCK_BYTES: Final = 4096
"""What direct writes are made of, and what a disk is taken to write whole or not at all."""


class Clock(Protocol):
    """Wall-clock time, for people and for ages; no promise rests on it."""

    def now_s(self) -> float:
        """Seconds since 1970."""


class Randomness(Protocol):
    """Unpredictable in production, seeded in the simulator."""

    def octets(self, count: int) -> bytes:
        """`count` random bytes."""


class Transport(Protocol):
    """Calls to nodes."""

    def call(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        epochs: tuple[int, ...],
        timeout_s: float,
        background: bool = False,
        bulk: bool = False,
    ) -> Awaitable[Answer]:
        """Ask a node.

        Raises the node's own error, Unreachable, DeadlineExceeded (the work may or may not have
        been done), Busy (un-acknowledged bytes to that node are at their bound) or PeerProtocol.
        `payload` must not change until the call is over.  `background` travels on a connection of
        its own, so that client traffic never waits behind it.  `bulk` says that the answer may be a
        value of more than PAYLOAD_SMALL_BYTES_MAX: it comes on the connection that such payloads
        take, so that small questions never wait behind it.
        """


class FileInfo(Struct, frozen=True):
    """What a directory entry is."""

    size_bytes: int
    is_directory: bool


class File(Protocol):
    """An open file.  Offsets and sizes in bytes."""

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Up to `size_bytes`; shorter only at the end of the file.  Raises StorageFault."""

    def read_now(self, offset: int, size_bytes: int) -> bytes | None:
        """As `read` when that needs no waiting, else None.  Never blocks."""

    async def write(self, offset: int, *pieces: Buffer) -> None:
        """All of them in a row; not durable before `sync`.  Raises DiskFull or StorageFault.

        A file opened `direct` takes whole blocks at multiples of BLOCK_BYTES.
        """

    async def write_durably(self, offset: int, *pieces: Buffer) -> None:
        """`write`, then `sync`, with less waiting between the two; raises what they raise."""

    async def sync(self) -> None:
        """Make what was written durable (fdatasync).

        Raises StorageFault; after that the content is unknown and the file must not be trusted or
        synced again.
        """

    async def size_bytes(self) -> int:
        """Length now."""

    async def truncate(self, size_bytes: int) -> None:
        """Cut or extend."""

    async def allocate(self, size_bytes: int) -> None:
        """Extend to this length with zeros that have their room; not durable before `sync`.

        Writing there meets no full disk.  Raises DiskFull or StorageFault.
        """

    async def close(self) -> None:
        """Let go; idempotent."""


class Disk(Protocol):
    """One directory tree.  Paths are relative, `/`-separated, and stay below its root.

    Absent files raise FileNotFoundError - the one OS error that has a meaning here; everything else
    arrives as DiskFull or StorageFault.
    """

    async def open(self, path: str, *, create: bool = False, direct: bool = False) -> File:
        """Open for reading and writing; `create` makes an absent file (not its directories).

        direct: what is written passes by the system's cache, where the file system knows how.
        """

    async def read(self, path: str) -> bytes:
        """The whole file."""

    def read_now(self, path: str) -> bytes | None:
        """As `read` when the file is small and that needs no waiting, else None.  Never blocks."""

    async def publish(self, temporary: str, path: str, data: Buffer) -> None:
        """Create `temporary` (must be new), write, fsync it, rename it to `path`.

        Not durable before `sync_directory` of the parent.  On any error nothing is at `path` that
        was not there before, and `temporary` is gone or will be swept.
        """

    async def rename(self, source: str, target: str) -> None:
        """Replace `target`; durable after `sync_directory` of both parents."""

    async def unlink(self, path: str) -> None:
        """Remove a file; absent is fine."""

    async def sync_directory(self, path: str) -> None:
        """Make the entries of a directory durable."""

    async def make_directories(self, path: str) -> None:
        """Create a directory and its parents, durably."""

    async def list_directory(self, path: str) -> list[str]:
        """Names in order; an absent directory has none."""

    async def info(self, path: str) -> FileInfo | None:
        """What is at `path`, symbolic links not followed; None for nothing."""

    async def free_bytes(self) -> int:
        """Room left for more data."""


class RecordStore(Protocol):
    """Records of one node.  Every answer that says something is stored says it is durable.

    put_root, put_chunk: the value is hashed first; DigestMismatch (or Corrupt for a recipe) stores
        nothing.  A good copy that is here already is verified, a bad one replaced.
    get: state and value; `value` is None unless the state says held.  The value is not hashed
        here: whoever reads it verifies.  Never raises NotFound: absence is `ABSENT`.
    Faults of the disk raise StorageFault or DiskFull, never an answer.
    """

    async def put_root(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> PutAnswer:
        """A client's put at `generation`; may be refused (ring/admission.py)."""

    async def put_chunk(self, key: RecordKey, claimant: Digest | None, value: Buffer) -> PutAnswer:
        """Keep a chunk, with a claim when the claimant is known."""

    async def get(self, key: RecordKey) -> tuple[RecordState, Buffer | None]:
        """State and, when held, the value."""

    async def stat(self, keys: Sequence[RecordKey]) -> list[RecordState]:
        """States in order."""

    async def confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[bool]:
        """Claim each chunk that is here; false for those that are not."""

    async def bury(
        self, key: RecordKey, generation: int, *, keep_value: bool = False
    ) -> RecordState:
        """Hold a tombstone at `generation` at least; the state afterwards.

        keep_value: bytes that no recipe claims wait in the trash, or else they go now.
        """

    async def verify(self, key: RecordKey) -> CopyVerdict:
        """Hash the copy; quarantine it when it is bad."""

    async def page(
        self, after: RecordKey | None, limit: int, *, roots_only: bool
    ) -> tuple[list[RecordEntry], bool]:
        """At most `limit` entries after `after` in key order, and whether that was all.

        roots_only: without records that no client put or deleted, and without settled tombstones:
        whatever they deleted is gone everywhere.
        """

    async def claims(
        self, key: RecordKey, after: Digest | None, limit: int
    ) -> tuple[list[Digest], bool]:
        """At most `limit` claimants after `after` in order, and whether that was all."""

    async def floors(self) -> dict[int, int]:
        """Floors above 0 by partition."""


class BlobStat(Struct, frozen=True):
    """What is known of a blob without its bytes.

    confirmed: W nodes, one an owner, answered; otherwise a delete may have been missed.
    """

    size_bytes: int
    generation: int
    confirmed: bool = True


class Stored(Struct, frozen=True):
    """The outcome of a put."""

    digest: Digest
    size_bytes: int
    created: bool


class BlobReader(Protocol):
    """An opened blob; iterating yields verified pieces, in order."""

    stat: BlobStat

    def __aiter__(self) -> AsyncIterator[Buffer]:
        """Pieces of the span asked for; raises Unavailable or Corrupt before a wrong byte."""

    async def close(self) -> None:
        """Stop early; idempotent."""


class BlobStore(Protocol):
    """Immutable blobs by digest: what people want (the ferro-blob-store contract, and more).

    put: DigestMismatch stores nothing; putting again is no error; durable before it returns.
    get: the exact bytes, or NotFound, or another error; never wrong bytes.
    contains: False only for what is known to be absent; doubt raises Unavailable.
    delete: absent is fine.
    """

    async def put(self, digest: Digest, data: Buffer) -> Stored:
        """Store `data`, which must hash to `digest`."""

    async def add(self, data: Buffer, algorithm: Algorithm = Algorithm.BLAKE3) -> Stored:
        """Store `data` under the digest that it has."""

    async def put_stream(
        self,
        pieces: AsyncIterator[Buffer],
        *,
        digest: Digest | None = None,
        algorithm: Algorithm = Algorithm.BLAKE3,
        size_bytes: int | None = None,
    ) -> Stored:
        """Store what the pieces add up to, in bounded memory; `digest` is computed when absent.

        size_bytes: how long it will be, where that is known; then a small blob is no large upload.
        """

    async def get(self, digest: Digest) -> bytes:
        """The whole blob."""

    async def open(self, digest: Digest, start: int = 0, stop: int | None = None) -> BlobReader:
        """Read bytes [start, stop) in verified pieces; RangeNotSatisfiable when start is beyond."""

    async def stat(self, digest: Digest) -> BlobStat:
        """Size and generation; raises NotFound."""

    async def contains(self, digest: Digest) -> bool:
        """Whether a get would find it."""

    async def delete(self, digest: Digest, *, skip_trash: bool = False) -> None:
        """Forget it; its bytes wait in the trash for a while, unless that is skipped."""

    async def undelete(self, digest: Digest) -> Stored:
        """Put what was deleted again from the trash; `created` is false for what is there.

        Raises NotFound when nothing is left.
        """

    async def list_page(
        self, after: Digest | None, limit: int
    ) -> tuple[list[tuple[Digest, int]], Digest | None]:
        """At most `limit` pairs of digest and size in bytes, in wire order, and where to go on."""
