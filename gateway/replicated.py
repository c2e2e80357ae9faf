"""`Records` over many nodes: the writer, the reader and the lister behind one face."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.calls import CallSettings
from gateway.cluster import Cluster
from gateway.hashing import Hashing
from gateway.record_lister import RecordLister
from gateway.record_reader import RecordReader
from gateway.record_writer import RecordWriter
from gateway.records import Found, WhenLong, whatever
from gateway.stragglers import Stragglers
from gateway.trash_reader import TrashReader
from ring.digest import Buffer, Digest
from ring.record import RecordEntry, RecordKind


class ReplicatedRecords:
    """See Records; N, W and the nodes are the layout's."""

    def __init__(self, cluster: Cluster, settings: CallSettings, hashing: Hashing) -> None:
        self.stragglers = Stragglers(settings.stragglers_max, settings.straggler_patience_s)
        cluster.vigil.when_suspect = self.stragglers.give_up_in_doubt
        self.reader = RecordReader(cluster, settings, hashing, self.stragglers)
        self._writer = RecordWriter(cluster, settings, self.stragglers)
        self._lister = RecordLister(cluster, settings)
        self._trash = TrashReader(cluster, settings, self.reader)

    async def put_root(
        self, digest: Digest, kind: RecordKind, size_bytes: int, value: Buffer
    ) -> bool:
        """See Records."""
        return await self._writer.put_root(digest, kind, size_bytes, value)

    async def put_chunk(
        self,
        chunk: Digest,
        claimant: Digest | None,
        value: Buffer,
        when_over: Callable[[], None],
    ) -> None:
        """See Records."""
        try:
            fanout = await self._writer.put_chunk(chunk, claimant, value)
        except BaseException:
            when_over()
            raise
        self.stragglers.adopt(fanout, when_over)

    async def confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[Digest]:
        """See Records."""
        return await self._writer.confirm(claimant, chunks)

    async def read(self, digest: Digest, when_long: WhenLong = whatever) -> Found:
        """See Records."""
        return await self.reader.read(digest, when_long)

    async def head(self, digest: Digest) -> Found:
        """See Records."""
        return await self.reader.head(digest)

    async def read_chunk(self, chunk: Digest) -> Buffer:
        """See Records."""
        return await self.reader.read_chunk(chunk)

    async def bury(self, digest: Digest, *, skip_trash: bool = False) -> None:
        """See Records."""
        await self._writer.bury(digest, skip_trash=skip_trash)

    async def deleted(self, digest: Digest) -> Found:
        """See Records."""
        return await self._trash.find(digest)

    async def page(
        self, after: Digest | None, limit: int
    ) -> tuple[list[RecordEntry], Digest | None]:
        """See Records."""
        return await self._lister.page(after, limit)

    def close(self) -> None:
        """Cancel what goes on in the background."""
        self.stragglers.close()
