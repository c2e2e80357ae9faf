"""Planted bugs of the page record store; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

RECORD_LOG_MUTANTS: Final = (
    Mutant(
        "log: ack before the data sync",
        "node/recordlog/log_tail.py",
        "            await self._file.write_durably(self.end.offset, blocks)\n"
        "        except DiskFull:",
        "            await self._file.write(self.end.offset, blocks)\n        except DiskFull:",
        ("tests/node/recordlog/test_crash_states.py",),
    ),
    Mutant(
        "log: no sync of a new segment's directory entry",
        "node/recordlog/segment_files.py",
        "            await self.disk.rename(temporary, path)\n"
        "            await self.disk.sync_directory(DIRECTORIES[kind])\n",
        "            await self.disk.rename(temporary, path)\n",
        ("tests/node/recordlog/test_crash_states.py",),
    ),
    Mutant(
        "log: a start takes names for durable that a dead process left",
        "node/recordlog/page_store.py",
        "        await files.sync_names()\n",
        "",
        ("tests/node/recordlog/test_log_recovery.py", "tests/node/recordlog/test_faults.py"),
    ),
    Mutant(
        "log: an index has what the log may lose: the last batch is not written anew",
        "node/recordlog/page_store.py",
        "                await self.tail.rewrite(replay.last)\n",
        "                pass\n",
        ("tests/node/recordlog/test_faults.py",),
    ),
    Mutant(
        "log: a checkpoint before the sync",
        "node/recordlog/record_log.py",
        "        stored = await self.tail.append(batch.encode(), essential=essential)\n"
        "        self._sealed = not (batch.change or batch.values or batch.places)\n"
        "        self._unapplied = stored\n"
        "        self.last = Position(stored.end.segment, stored.start)\n"
        "        places = batch.places_in(stored)\n"
        "        self._table.apply(batch.change, places, stored.end.position)\n",
        "        from node.recordlog.batch import seal\n"
        "        _, stored = seal(self.tail._files.store_id, self.tail.end, batch.encode())\n"
        "        self._table.apply(*stored.contents(), stored.end.position)\n"
        "        stored = await self.tail.append(batch.encode(), essential=essential)\n",
        ("tests/node/recordlog/test_crash_states.py", "tests/node/recordlog/test_faults.py"),
    ),
    Mutant(
        "log: retry of a failed sync",
        "node/recordlog/log_tail.py",
        "        except StorageFault as error:\n"
        '            log.warning("a segment of the log is not trusted any more"'
        ", error=error.detail)\n"
        "            raise\n",
        "        except StorageFault as error:\n"
        '            log.warning("tried again", error=error.detail)\n'
        "            file = await self._files.disk.open(self._files.path(self.end.segment))\n"
        "            await file.sync()\n",
        ("tests/node/recordlog/test_faults.py",),
    ),
    Mutant(
        "log: a failed segment is gone on with",
        "node/recordlog/log_tail.py",
        '            log.warning("a segment of the log is not trusted any more"'
        ", error=error.detail)\n"
        "            raise\n",
        "            self._failed = False\n"
        "            raise\n",
        ("tests/node/recordlog/test_log_recovery.py", "tests/node/recordlog/test_faults.py"),
    ),
    Mutant(
        "log: a checksum that is not tied to the address",
        "node/recordlog/batch.py",
        "    hasher.update(_ADDRESS.pack(segment, offset))\n",
        "",
        ("tests/node/recordlog/test_formats.py",),
    ),
    Mutant(
        "log: a batch of another turn is accepted",
        "node/recordlog/batch_reader.py",
        "        if batch is None or not batch.follows(self.end):\n",
        "        if batch is None or batch.end.sequence != self.end.sequence + 1:\n",
        ("tests/node/recordlog/test_formats.py",),
    ),
    Mutant(
        "log: a torn last batch counts",
        "node/recordlog/batch_reader.py",
        "        if batch is None or batch.is_whole or batch.end.offset <= self._known_bytes:\n",
        "        if batch is not None:\n",
        ("tests/node/recordlog/test_formats.py", "tests/node/recordlog/test_crash_states.py"),
    ),
    Mutant(
        "log: nothing is put behind the last batch",
        "node/recordlog/record_log.py",
        "        if not self._sealed and not self._pending and not self._closed:\n",
        "        if False:\n",
        ("tests/node/recordlog/test_log_recovery.py",),
    ),
    Mutant(
        "log: what follows damage is taken to follow what came before it",
        "node/recordlog/batch.py",
        "        return LogEnd(end.segment, self.start, end.sequence - 1, self.previous)\n",
        "        return LogEnd(end.segment, self.start - 4096, end.sequence - 1, self.previous)\n",
        ("tests/node/recordlog/test_log_recovery.py",),
    ),
    Mutant(
        "log: a rotten value ends a segment that was not the last",
        "node/recordlog/log_recovery.py",
        "        return _WHOLE_SEGMENT\n",
        "        return 0\n",
        ("tests/node/recordlog/test_log_recovery.py",),
    ),
    Mutant(
        "log: a rotten value ends the log",
        "node/recordlog/batch_reader.py",
        "        return batch if after is not None and after.follows(batch.end) else None\n",
        "        return None\n",
        (
            "tests/node/recordlog/test_formats.py",
            "tests/node/recordlog/test_log_recovery.py",
        ),
    ),
    Mutant(
        "log: a log segment is removed before the checkpoint",
        "node/recordlog/compaction.py",
        "        if covered is None or covered.segment <= number:\n"
        "            covered = await self._table.checkpoint()\n"
        "        if covered is None or covered.segment <= number:\n"
        "            return False\n",
        "",
        ("tests/node/recordlog/test_compaction.py",),
    ),
    Mutant(
        "log: compaction forgets keys that were dropped",
        "node/recordlog/key_mover.py",
        "                    if state.exists or forget:\n"
        "                        change.dropped.append(key)\n",
        "                    if state.exists:\n"
        "                        change.dropped.append(key)\n",
        ("tests/node/recordlog/test_compaction.py",),
    ),
    Mutant(
        "log: compaction does not begin with forgetting",
        "node/recordlog/key_mover.py",
        "                    if state.exists or forget:\n"
        "                        change.dropped.append(key)\n",
        "                    if not state.exists and forget:\n"
        "                        change.dropped.append(key)\n",
        ("tests/node/recordlog/test_compaction.py",),
    ),
    Mutant(
        "log: compaction takes damage for the end of a segment",
        "node/recordlog/segment_scan.py",
        '            spoken.damage = f"{files.path(number)} is damaged at byte {spoken.end}"\n',
        "            pass\n",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: a damaged last batch is not noticed",
        "node/recordlog/segment_scan.py",
        "    if at < size_bytes and any(await file.read(at, min(BLOCK_BYTES, size_bytes - at))):\n",
        "    if False:\n",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: what a damaged segment dropped comes back",
        "node/recordlog/compaction.py",
        "            await self._mover.move(spoken.keys, number, forget=True)\n",
        "            await self._mover.move(spoken.keys, number, forget=False)\n",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: rows that a damaged segment raised fall back",
        "node/recordlog/compaction.py",
        "            await self._mover.move(spoken.keys, number, forget=True)\n",
        "            pass\n",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: tombstones of a damaged segment are forgotten",
        "node/recordlog/compaction.py",
        "        if at is None or at.segment == number or self._mover.has_claims(key):\n",
        "        if at is None:\n"
        "            return False\n"
        "        if at.segment == number or self._mover.has_claims(key):\n",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: claims of a damaged segment are forgotten",
        "node/recordlog/compaction.py",
        "        if at is None or at.segment == number or self._mover.has_claims(key):\n",
        "        if at is None or at.segment == number:\n",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: places in bulk segments of a damaged segment are forgotten",
        "node/recordlog/compaction.py",
        "        return self._files.kinds.get(at.segment) is not SegmentKind.LOG\n",
        "        return False\n",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: floors of a damaged segment are forgotten",
        "node/recordlog/compaction.py",
        "        await self._write_floors(self._table.floors())\n",
        "",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: of damaged segments any goes first",
        "node/recordlog/compaction.py",
        "            if (await self.look_at_log(older)).damage is not None:\n",
        "            if False:\n",
        ("tests/node/recordlog/test_compaction_damage.py",),
    ),
    Mutant(
        "log: a full table is not brought into the index",
        "node/recordlog/upkeep.py",
        "        is_much = applied >= self._checkpoint_at_bytes or is_full\n",
        "        is_much = applied >= self._checkpoint_at_bytes\n",
        ("tests/node/recordlog/test_upkeep.py",),
    ),
    Mutant(
        "log: what is not worth freeing is looked at again and again",
        "node/recordlog/victim_choice.py",
        "        until_bytes = applied_bytes + factor * one.used_bytes\n",
        "        until_bytes = applied_bytes\n",
        ("tests/node/recordlog/test_victim_choice.py",),
    ),
    Mutant(
        "log: extents are not synced before the log names them",
        "node/recordlog/bulk_writer.py",
        "            await segment.sync.wait()\n",
        "",
        ("tests/node/recordlog/test_crash_states.py",),
    ),
    Mutant(
        "log: a value that waits for its commit does not keep its segment",
        "node/recordlog/compaction.py",
        "        return any(isinstance(at, Location) and at.segment == number for at in staged)\n",
        "        return False\n",
        ("tests/node/recordlog/test_compaction.py",),
    ),
    Mutant(
        "log: a bad copy is moved as if it were good",
        "node/recordlog/key_mover.py",
        "        if await self._check.is_good(key, state.kind, state.size_bytes, value):\n",
        "        if True:\n",
        ("tests/node/recordlog/test_compaction.py",),
    ),
    Mutant(
        "log: where a failed segment ended is not remembered",
        "node/recordlog/log_recovery.py",
        "            ends[follows.segment] = follows.offset\n"
        "        return ends\n",
        "            ends[follows.segment] = follows.offset\n"
        "        return {}\n",
        ("tests/node/recordlog/test_log_recovery.py",),
    ),
    Mutant(
        "log: where a failed segment ended is forgotten with its successor",
        "node/recordlog/log_tail.py",
        "        return (*self.cuts, self.end.position)[-CUTS_MAX:]\n",
        "        return self.cuts\n",
        ("tests/node/recordlog/test_log_recovery.py",),
    ),
    Mutant(
        "log: a lone log segment that is damaged is cut off like a torn one",
        "node/recordlog/log_recovery.py",
        "        if end is None and self.is_certain and await reader.is_followed():\n",
        "        if False:\n",
        ("tests/node/recordlog/test_log_recovery.py", "tests/node/recordlog/test_inspection.py"),
    ),
    Mutant(
        "log: a reserve is replaced under the one who uses it",
        "node/recordlog/segment_files.py",
        "        file = await self._opened(RESERVES[kind], direct=kind is SegmentKind.BULK)\n",
        "        self.reserves[kind] = False\n"
        "        file = await self._opened(RESERVES[kind], direct=kind is SegmentKind.BULK)\n",
        ("tests/node/recordlog/test_faults.py",),
    ),
    Mutant(
        "log: an extent is not where its head says",
        "node/recordlog/bulk_writer.py",
        "            segment.offset += size_bytes\n"
        "            segment.writers += 1\n",
        "            segment.offset += size_bytes - BLOCK_BYTES\n"
        "            segment.writers += 1\n",
        ("tests/node/recordlog/test_compaction.py",),
    ),
    Mutant(
        "log: no row is committed for a value that replaces a bad copy",
        "node/record_keeper.py",
        "        changes = wrote or after != before\n",
        "        changes = after != before\n",
        ("tests/conformance/test_record_store.py", "tests/node/recordlog/test_compaction.py"),
    ),
)
