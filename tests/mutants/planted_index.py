"""Planted bugs of the page store's index; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

TABLE: Final = ("tests/node/index/test_indexed_table.py",)
DAMAGE: Final = ("tests/node/index/test_index_damage.py",)
LMDB: Final = ("tests/node/index/test_lmdb_index.py",)
INDEX: Final = ("tests/node/index/test_index.py",)
FORMS: Final = ("tests/node/index/test_index_formats.py",)
GUARD: Final = ("tests/node/test_posix_guard.py",)

INDEX_MUTANTS: Final = (
    Mutant(
        "index: the newer overlay is asked after the older",
        "node/index/indexed_table.py",
        "        for layer in self._layers:\n"
        "            known = layer.rows.get(",
        "        for layer in reversed(self._layers):\n"
        "            known = layer.rows.get(",
        TABLE,
    ),
    Mutant(
        "index: the index is asked before the overlays",
        "node/index/indexed_table.py",
        "        for layer in self._layers:\n"
        "            known = layer.rows.get(key, MISSING)\n",
        "        stored = self._index.get(row_key(key))\n"
        "        if stored is not None:\n"
        "            return self._reader.unseal(row_key(key), stored)\n"
        "        for layer in self._layers:\n"
        "            known = layer.rows.get(key, MISSING)\n",
        TABLE,
    ),
    Mutant(
        "index: what was looked up is remembered over a checkpoint",
        "node/index/indexed_table.py",
        "        self._looked_up.clear()\n        self._layers[:] = [self._fresh]\n",
        "        self._layers[:] = [self._fresh]\n",
        TABLE,
    ),
    Mutant(
        "index: an order forgets what was dropped",
        "node/index/layered_order.py",
        "            found += sorted(one for one in lives if lives[one] and one <= key)",
        "            found += sorted(one for one in lives if one <= key)",
        TABLE,
    ),
    Mutant(
        "index: an order forgets what was dropped (last page)",
        "node/index/layered_order.py",
        "                found += sorted(one for one in lives if lives[one])\n",
        "                found += sorted(lives)\n",
        TABLE,
    ),
    Mutant(
        "index: an order goes beyond a full page",
        "node/index/layered_order.py",
        "            key = min(ends)\n",
        "            key = max(ends)\n",
        TABLE,
    ),
    Mutant(
        "index: a checkpoint covers what came while it ran",
        "node/index/indexed_table.py",
        "        self._covered = frozen.position\n",
        "        self._covered = self._position\n",
        TABLE,
    ),
    Mutant(
        "index: a transaction covers more than it holds",
        "node/index/merge.py",
        "    summary.ahead = Ahead(overlay.position, last_row, last_chunk)\n",
        "    summary.ahead = Ahead(overlay.position, last_row, last_chunk)\n"
        "    summary.covered = overlay.position\n",
        TABLE,
    ),
    Mutant(
        "index: the position is committed before the data",
        "node/index/merge.py",
        "    after: bytes | None = None\n"
        "    while keys",
        "    yield partial(_cover, overlay)\n"
        "    after: bytes | None = None\n"
        "    while keys",
        TABLE,
    ),
    Mutant(
        "index: an unfinished checkpoint is forgotten",
        "node/index/merge.py",
        "    summary.ahead = Ahead(overlay.position, last_row, last_chunk)\n",
        "",
        TABLE,
    ),
    Mutant(
        "index: a repeated checkpoint forgets how far the first came",
        "node/index/merge.py",
        "    if before is not None and before.position == overlay.position:\n",
        "    if before is not None and before.position is None:\n",
        TABLE,
    ),
    Mutant(
        "index: a replayed checkpoint is merged with what came later",
        "node/index/indexed_table.py",
        "            self._freeze().position = ahead.position\n",
        "            pass\n",
        TABLE,
    ),
    Mutant(
        "index: a replay touches keys that the index has already",
        "node/index/indexed_table.py",
        "            located = {key: place for key, place in located.items()"
        " if key > ahead.last_row}\n",
        "",
        TABLE,
    ),
    Mutant(
        "index: a replay repeats drops of claims",
        "node/index/indexed_table.py",
        "            unclaimed = [chunk for chunk in unclaimed if chunk > ahead.last_chunk]\n",
        "",
        TABLE,
    ),
    Mutant(
        "index: a failed checkpoint drops its overlay",
        "node/index/indexed_table.py",
        "        try:\n"
        "            for transaction in transactions(",
        "        self._frozen = None\n"
        "        self._layers[:] = [self._fresh]\n"
        "        try:\n"
        "            for transaction in transactions(",
        TABLE,
    ),
    Mutant(
        "index: dropped claims show through from below",
        "node/index/layered_claims.py",
        "            if chunk in layer.unclaimed:\n"
        "                break\n",
        "            if chunk in layer.unclaimed and False:\n"
        "                break\n",
        TABLE,
    ),
    Mutant(
        "index: claims of a dropped chunk stay in the index",
        "node/index/merge.py",
        "        if chunk in overlay.unclaimed:\n"
        "            _delete_claims(writer, chunk, found)\n",
        "",
        TABLE,
    ),
    Mutant(
        "index: a value may be filed under another key",
        "node/index/sealed_value.py",
        "    return payload + blake3(key + payload).digest(SEAL_BYTES)",
        "    return payload + blake3(payload).digest(SEAL_BYTES)",
        FORMS,
    ),
    Mutant(
        "index: reads do not check the seal",
        "node/index/sealed_value.py",
        "    if blake3(key + payload).digest(SEAL_BYTES) != value[-SEAL_BYTES:]:",
        "    if len(value) < SEAL_BYTES:",
        DAMAGE,
    ),
    Mutant(
        "index: a row that holds nothing keeps its place",
        "node/index/located_row.py",
        "    if payload is None or bytes_held(row) is None:\n"
        "        return packed\n",
        "    if payload is None:\n"
        "        return packed\n",
        FORMS,
    ),
    Mutant(
        "index: sums are not kept of what is replaced",
        "node/index/merge.py",
        "            found.add_row(before, -1)\n",
        "            found.rows -= 1\n",
        TABLE,
    ),
    Mutant(
        "index: LMDB does not sync",
        "node/index/lmdb_index.py",
        "            sync=True,\n",
        "            sync=False,\n",
        LMDB,
    ),
    Mutant(
        "index: LMDB does not sync its last page",
        "node/index/lmdb_index.py",
        "            metasync=True,\n",
        "            metasync=False,\n",
        LMDB,
    ),
    Mutant(
        "index: a new index has no name after a power cut",
        "node/index/lmdb_index.py",
        "            environment = await self._map(threads, guard)\n"
        "        await self._disk.sync_directory(self._directory)\n",
        "            environment = await self._map(threads, guard)\n",
        LMDB,
    ),
    Mutant(
        "index: a full map is an error",
        "node/index/lmdb_index.py",
        "                self._grows = True\n",
        "                raise\n",
        INDEX,
    ),
    Mutant(
        "index: a map at its bound stays full for ever",
        "node/index/lmdb_index.py",
        "        if self._grows:\n"
        "            self._grows = False\n",
        "        if self._grows:\n",
        INDEX,
    ),
    Mutant(
        "index: deaths inside the index are not marked (thread)",
        "node/index/lmdb_index.py",
        "    def _look(self, work: Callable[[IndexReader], T]) -> T:\n"
        "        self._marks[THREAD] = 1\n",
        "    def _look(self, work: Callable[[IndexReader], T]) -> T:\n",
        LMDB,
    ),
    Mutant(
        "index: deaths inside the index are not marked (loop)",
        "node/index/lmdb_index.py",
        "    def get(self, key: bytes) -> bytes | None:\n"
        "        self._require_open()\n"
        "        self._marks[LOOP] = 1\n",
        "    def get(self, key: bytes) -> bytes | None:\n"
        "        self._require_open()\n",
        LMDB,
    ),
    Mutant(
        "index: deaths never end their count",
        "node/posix_guard.py",
        "count if any(died) else 0",
        "count",
        GUARD,
    ),
    Mutant(
        "index: an index that killed twice is opened again",
        "node/index/lmdb_index.py",
        "        elif guard.deaths > DEATHS_MAX:",
        "        elif guard.deaths > 100:",
        LMDB,
    ),
    Mutant(
        "index: an index without a summary is taken for new",
        "node/index/indexed_table.py",
        '        if summary is None and index.after(b"", 1, below=b"\\xff"):',
        "        if summary is None and not index:",
        DAMAGE,
    ),
    Mutant(
        "index: a change is half applied when a row is damaged",
        "node/index/indexed_table.py",
        "        payload_of = self._payload\n",
        "        self._totals.records += len(rows)\n"
        "        payload_of = self._payload\n",
        DAMAGE,
    ),
    Mutant(
        "index: what is not found is not looked for twice",
        "node/index/lmdb_index.py",
        "    if not is_gap:\n",
        "    if not key:\n",
        LMDB,
    ),
)
