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

from typing import Protocol, runtime_checkable

import structlog

from node.file_paths import (
    PREFIXES,
    is_shard,
    rest_of_key,
    temporary_directory,
    tree_directory,
)
from node.record_change import RecordChange
from node.record_row import pack_row
from node.record_table import RecordTable
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
                here: set[bytes] = set()
                for kind in PREFIXES:
                    for key, size_bytes in await self._values_in(kind, algorithm, shard):
                        if self._table.value_bytes(key, kind) == size_bytes:
                            here.add(key)
                        else:
                            await self._put_away(RecordKey.from_raw(key), kind)
                for key in self._table.order.bucket(_prefix(algorithm, shard)):
                    if key not in here and (state := self._table.state(key)).held:
                        digest = str(RecordKey.from_raw(key).digest)
                        log.warning("a copy is missing or has a wrong length", digest=digest)
                        change.rows[key] = pack_row(without_value(state))
        return change

    async def adopt(self) -> int:
        """Rule 4: fill the table from the files; how many records there are."""
        recipes: list[tuple[Digest, Recipe]] = []
        for algorithm in Algorithm:
            for shard in await self._shards(algorithm):
                change = RecordChange()
                for raw, size_bytes in await self._values_in(RecordKind.DATA, algorithm, shard):
                    change.rows[raw] = _adopted(RecordKind.DATA, size_bytes)
                for raw, _ in await self._values_in(RecordKind.RECIPE, algorithm, shard):
                    key = RecordKey.from_raw(raw)
                    recipe = await self._recipe(key)
                    if recipe is not None and raw not in change.rows:
                        change.rows[raw] = _adopted(RecordKind.RECIPE, recipe.size_bytes)
                        recipes.append((key.digest, recipe))
                self._table.apply(change)
        for blob, recipe in recipes:
            self._claim(blob, recipe)
        return self._table.records

    async def _recipe(self, key: RecordKey) -> Recipe | None:
        """The recipe in a file, None for a bad one, which goes into quarantine."""
        try:
            return Recipe.decode(
                key.digest, await self._values.read(key, RecordKind.RECIPE)
            )
        except Corrupt as error:
            log.warning("a recipe was not adopted", reason=error.detail)
            await self._values.quarantine(key, RecordKind.RECIPE)
            return None

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

    async def _put_away(self, key: RecordKey, kind: RecordKind) -> None:
        """A file that is not what its row says."""
        if self._table.value_bytes(key.raw, kind) is None:
            log.info("a file that no row knows is removed", digest=str(key.digest))
            await self._values.remove(key, kind)
        else:
            await self._values.quarantine(key, kind)

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

    async def _values_in(
        self, kind: RecordKind, algorithm: Algorithm, shard: str
    ) -> list[tuple[bytes, int]]:
        """Keys and lengths of the files in a shard that may be values of ours."""
        found: list[tuple[bytes, int]] = []
        prefix = _prefix(algorithm, shard)
        for name, size_bytes in await self._sizes(f"{tree_directory(kind, algorithm)}/{shard}"):
            rest = rest_of_key(algorithm, name)
            if rest is not None and size_bytes <= CHUNK_BYTES:
                found.append((prefix + rest, size_bytes))
        return found

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


def _adopted(kind: RecordKind, size_bytes: int) -> int:
    return pack_row(RecordState(kind, size_bytes, live(1), held=True))
