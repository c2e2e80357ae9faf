"""Making files and rows agree at the start of a file store.

Rules:
1.  Files that were still growing are removed: nobody was told of them.
2.  A file whose row does not say held is removed: its put was never acknowledged, or its tombstone
    was durable and only the removal was lost.
3.  A row that says held but whose file is gone or has another length is corrected; such a file goes
    into quarantine.
4.  Where there is no state at all, what is there is adopted: another implementation wrote it, or
    the state was lost.  Every file becomes a record with a live root of generation 1; it was not
    hashed and says so (verified-at 0).
5.  What is none of ours stays untouched: other names, directories, files longer than any record.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import structlog

from node.file_paths import (
    PREFIXES,
    is_shard,
    key_of,
    temporary_directory,
    tree_directory,
)
from node.record_change import RecordChange
from node.record_row import pack_row
from node.record_table import RecordTable
from node.value_check import value_bytes
from node.values import Values
from ring.digest import Algorithm, Digest
from ring.errors import Corrupt
from ring.limits import CHUNK_BYTES
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind, RecordState, Space, live, without_value
from ring.seams import Disk

log = structlog.get_logger()


@runtime_checkable
class SizesDisk(Protocol):
    """What a disk may offer beyond `ring.seams.Disk`: one call for a whole directory."""

    async def list_sizes(self, path: str) -> list[tuple[str, int]]:
        """Names and lengths in bytes of the regular files, in order; absent has none."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be a value."""

    key: RecordKey
    kind: RecordKind
    size_bytes: int


class FileSweep:
    """Walks the files of a store once."""

    def __init__(self, disk: Disk, values: Values, table: RecordTable) -> None:
        self._disk = disk
        self._values = values
        self._table = table

    async def remove_unfinished(self) -> None:
        """Rule 1."""
        for algorithm in Algorithm:
            directory = temporary_directory(algorithm)
            for name in await self._disk.list_directory(directory):
                if name.endswith(".tmp"):
                    await self._disk.unlink(f"{directory}/{name}")

    async def corrections(self) -> RecordChange:
        """Rules 2 and 3: removes files that nobody knows; the rows that have to change."""
        change = RecordChange()
        for algorithm in Algorithm:
            for shard in await self._shards(algorithm):
                here = await self._intact(algorithm, shard)
                for key in self._table.order.bucket(_prefix(algorithm, shard)):
                    state = self._table.state(key)
                    if state.held and key not in here:
                        digest = str(RecordKey.from_raw(key).digest)
                        log.warning("a copy is missing or has a wrong length", digest=digest)
                        change.rows[key] = pack_row(without_value(state))
        return change

    async def adopt(self) -> int:
        """Rule 4: fill the table from the files; how many records there are."""
        recipes: list[tuple[RecordKey, Recipe]] = []
        async for found in self._files():
            size_bytes = found.size_bytes
            if found.kind is RecordKind.RECIPE:
                try:
                    value = await self._values.read(found.key, found.kind)
                    recipe = Recipe.decode(found.key.digest, value)
                except Corrupt as error:
                    log.warning("a recipe was not adopted", reason=error.detail)
                    await self._values.quarantine(found.key, found.kind)
                    continue
                recipes.append((found.key, recipe))
                size_bytes = recipe.size_bytes
            state = RecordState(found.kind, size_bytes, live(1), held=True)
            self._table.apply(RecordChange(rows={found.key.raw: pack_row(state)}))
        for key, recipe in recipes:
            self._claim(key.digest, recipe)
        return self._table.records

    def _claim(self, blob: Digest, recipe: Recipe) -> None:
        change = RecordChange()
        for chunk in recipe.chunks:
            key = RecordKey(chunk).raw
            state = self._table.state(key)
            if state.held:
                change.claims.append((key, blob.key))
                claimed = RecordState(
                    state.kind, state.size_bytes, state.root, held=True, claimed=True
                )
                change.rows[key] = pack_row(claimed)
        self._table.apply(change)

    async def _intact(self, algorithm: Algorithm, shard: str) -> set[bytes]:
        """The keys whose files are as their rows say; the other files of a shard are put away."""
        here: set[bytes] = set()
        for kind in PREFIXES:
            async for found in self._shard(kind, algorithm, shard):
                state = self._table.state(found.key.raw)
                if not state.held or state.kind is not kind:
                    log.info("a file that no row knows is removed", digest=str(found.key.digest))
                    await self._values.remove(found.key, kind)
                elif found.size_bytes != value_bytes(kind, state.size_bytes):
                    await self._values.quarantine(found.key, kind)
                else:
                    here.add(found.key.raw)
        return here

    async def _shards(self, algorithm: Algorithm) -> list[str]:
        """The shards that have files or rows, in order."""
        names = [
            name
            for kind in PREFIXES
            for name in await self._disk.list_directory(tree_directory(kind, algorithm))
            if is_shard(name)
        ]
        prefixes = [prefix for prefix in self._table.order.prefixes() if prefix[1] == algorithm]
        return sorted({*names, *(prefix[2:].hex() for prefix in prefixes)})

    async def _files(self) -> AsyncIterator[Found]:
        """Every file that may be a value of ours."""
        for algorithm in Algorithm:
            for shard in await self._shards(algorithm):
                for kind in PREFIXES:
                    async for found in self._shard(kind, algorithm, shard):
                        yield found

    async def _shard(
        self, kind: RecordKind, algorithm: Algorithm, shard: str
    ) -> AsyncIterator[Found]:
        for name, size_bytes in await self._sizes(f"{tree_directory(kind, algorithm)}/{shard}"):
            key = key_of(algorithm, shard, name)
            if key is not None and size_bytes <= CHUNK_BYTES:
                yield Found(key, kind, size_bytes)

    async def _sizes(self, directory: str) -> list[tuple[str, int]]:
        if isinstance(self._disk, SizesDisk):
            return await self._disk.list_sizes(directory)
        sizes: list[tuple[str, int]] = []
        for name in await self._disk.list_directory(directory):
            info = await self._disk.info(f"{directory}/{name}")
            if info is not None and not info.is_directory:
                sizes.append((name, info.size_bytes))
        return sizes


def _prefix(algorithm: Algorithm, shard: str) -> bytes:
    """What the keys of a shard begin with: node/record_order.py files them by the same."""
    return bytes((Space.BLOBS, algorithm)) + bytes.fromhex(shard)
