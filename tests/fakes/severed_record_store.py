"""A RecordStore whose disk can be pulled out: from then on every call is a StorageFault."""

from __future__ import annotations

from collections.abc import Sequence

from ring.admission import PutAnswer
from ring.digest import Buffer, Digest
from ring.errors import StorageFault
from ring.messages import CopyVerdict
from ring.record import RecordEntry, RecordKey, RecordKind, RecordState
from ring.seams import RecordStore


class SeveredRecordStore:
    """See RecordStore; works like the store behind it until `sever`."""

    def __init__(self, store: RecordStore) -> None:
        self._behind = store
        self._is_severed = False

    def sever(self) -> None:
        """Pull the disk out."""
        self._is_severed = True

    @property
    def _store(self) -> RecordStore:
        if self._is_severed:
            raise StorageFault("the disk was pulled out")
        return self._behind

    async def put_root(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> PutAnswer:
        return await self._store.put_root(key, kind, size_bytes, generation, value)

    async def put_chunk(self, key: RecordKey, claimant: Digest | None, value: Buffer) -> PutAnswer:
        return await self._store.put_chunk(key, claimant, value)

    async def get(self, key: RecordKey) -> tuple[RecordState, Buffer | None]:
        return await self._store.get(key)

    async def stat(self, keys: Sequence[RecordKey]) -> list[RecordState]:
        return await self._store.stat(keys)

    async def confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[bool]:
        return await self._store.confirm(claimant, chunks)

    async def bury(
        self, key: RecordKey, generation: int, *, keep_value: bool = False
    ) -> RecordState:
        return await self._store.bury(key, generation, keep_value=keep_value)

    async def verify(self, key: RecordKey) -> CopyVerdict:
        return await self._store.verify(key)

    async def page(
        self, after: RecordKey | None, limit: int, *, roots_only: bool
    ) -> tuple[list[RecordEntry], bool]:
        return await self._store.page(after, limit, roots_only=roots_only)

    async def claims(
        self, key: RecordKey, after: Digest | None, limit: int
    ) -> tuple[list[Digest], bool]:
        return await self._store.claims(key, after, limit)

    async def floors(self) -> dict[int, int]:
        return await self._store.floors()
