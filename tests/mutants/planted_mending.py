"""Planted bugs of a node that mends its index, or has lost its log; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

DAMAGE: Final = ("tests/node/index/test_index_damage.py",)
GUARD: Final = ("tests/node/test_posix_guard.py",)
LMDB_MENDING: Final = ("tests/node/index/test_lmdb_mending.py",)
MENDING: Final = ("tests/node/recordlog/test_mending.py",)
LOST_LOG: Final = ("tests/node/recordlog/test_lost_log.py",)

MENDING_MUTANTS: Final = (
    Mutant(
        "index: what the index finds wrong by itself is forgotten",
        "node/index/watched_reader.py",
        "            return self._index.get(key)\n"
        "        except Corrupt as error:\n"
        "            self._found(error.detail)\n",
        "            return self._index.get(key)\n"
        "        except Corrupt:\n",
        DAMAGE,
    ),
    Mutant(
        "index: damage is forgotten with the process that found it",
        "node/index/lmdb_index.py",
        "            self._guard.condemn()\n",
        "            pass\n",
        LMDB_MENDING,
    ),
    Mutant(
        "index: a good end forgets damage",
        "node/posix_guard.py",
        "        self.marks[:_CONDEMNED] = bytes(_CONDEMNED)\n",
        "        self.replaced()\n",
        GUARD,
    ),
    Mutant(
        "index: a condemned index is discarded at every start",
        "node/index/lmdb_index.py",
        "            guard.replaced()\n",
        "",
        LMDB_MENDING,
    ),
    Mutant(
        "index: a checkpoint goes into a damaged index",
        "node/index/indexed_table.py",
        "            if self.damage is not None:\n"
        "                raise Corrupt(self.damage)\n",
        "",
        DAMAGE,
    ),
    Mutant(
        "index: a damaged index is answered from while it is mended",
        "node/store_holder.py",
        "        store, self.store = self.store, None\n",
        "        store = self.store\n",
        MENDING,
    ),
    Mutant(
        "index: a store is opened again under those who use the last one",
        "node/store_holder.py",
        "                await self._unused.wait()\n",
        "                pass\n",
        MENDING,
    ),
    Mutant(
        "index: it is made anew for ever",
        "node/store_holder.py",
        "        if self._tries > TRIES_MAX:\n",
        "        if self._tries > 1000:\n",
        MENDING,
    ),
    Mutant(
        "index: damage of long ago counts for ever",
        "node/store_holder.py",
        "        if now_s - self._mended_at_s > CALM_S:\n",
        "        if self._tries < 0:\n",
        MENDING,
    ),
    Mutant(
        "index: a disk that is full for a while ends the mending",
        "node/store_holder.py",
        "            except (DiskFull, StorageFault) as error:\n",
        "            except DiskFull as error:\n",
        MENDING,
    ),
    Mutant(
        "index: nobody looks for damage",
        "node/index/index_patrol.py",
        "            wrong = await self._table.verify_partition(partition)\n",
        "            wrong = None\n",
        MENDING,
    ),
    Mutant(
        "index: nobody looks at the sums of all partitions",
        "node/index/index_patrol.py",
        "            if wrong is None and partition == PARTITIONS - 1:\n",
        "            if False:\n",
        ("tests/node/index/test_index_patrol.py",),
    ),
    Mutant(
        "index: a start that meets damage fails for ever",
        "node/recordlog/page_store.py",
        "            if self.damage is None or not isinstance(error, Corrupt):\n"
        "                raise\n"
        "            return False\n",
        "            raise\n",
        MENDING,
    ),
    Mutant(
        "index: values whose log is gone are freed",
        "node/recordlog/page_store.py",
        "            self._require_no_values()\n",
        "",
        LOST_LOG,
    ),
    Mutant(
        "index: a log begins before its loss is known",
        "node/recordlog/page_store.py",
        "                await self._before_new()\n"
        "            files.store_id = self._randomness.octets(STORE_ID_BYTES)\n"
        "            self.tail = LogTail(files, self.settings.log, LogEnd(), ())\n"
        "            await self.tail.begin()\n",
        "                pass\n"
        "            files.store_id = self._randomness.octets(STORE_ID_BYTES)\n"
        "            self.tail = LogTail(files, self.settings.log, LogEnd(), ())\n"
        "            await self.tail.begin()\n"
        "            if self._before_new is not None:\n"
        "                await self._before_new()\n",
        LOST_LOG,
    ),
    Mutant(
        "index: only its first step is warmed",
        "node/index/lmdb_index.py",
        "        for offset in range(0, CACHED_BYTES_MAX, STEP_BYTES):\n",
        "        for offset in range(0, STEP_BYTES, STEP_BYTES):\n",
        ("tests/node/index/test_warming.py",),
    ),
)
